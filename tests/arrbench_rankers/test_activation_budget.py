"""What a training step keeps in memory: bounded, with the gradients of keeping everything, and estimated."""

from dataclasses import replace

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import nn
from transformers import AutoConfig, AutoModel, BertConfig, BertModel

from arrbench.errors import UsageError
from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers import (
    activation_budget,
    embedding_model,
    encoder_memory,
    pair_encoder,
    pair_training,
    token_batches,
    untrained_encoder,
)
from arrbench_rankers.activation_budget import ActivationBudget
from arrbench_rankers.cross_encoder import CrossEncoder
from arrbench_rankers.dual_encoder import DualEncoder
from arrbench_rankers.embedding_model import CorpusSoftmax
from arrbench_rankers.losses import position_weighted_softmax
from arrbench_rankers.training_memory import GIB, Need

WORDS = ["red", "blue", "green", "old", "new", "big", "small", "round", "flat", "wide"]
TEXTS = [" ".join(WORDS[i % 10 : i % 10 + 1 + i % 5]) + f" {WORDS[i // 10]}" for i in range(60)]
CORPUS = Corpus(Document(f"d{i}", "", text) for i, text in enumerate(TEXTS))
QUERIES = tuple(Query(f"q{i}", TEXTS[7 * i]) for i in range(4))
SPLIT = Split(QUERIES, Judgments({f"q{i}": {f"d{7 * i}": 2, f"d{i}": 1} for i in range(4)}), CORPUS)
ROWS = torch.arange(4)
PLENTY, NOTHING = 1.0, 1e-9


def bert(**given) -> BertConfig:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    return BertConfig(**{"vocab_size": 40, "max_position_embeddings": 300, **shape, **given})


@pytest.fixture
def model() -> SentenceTransformer:
    """The pipeline of `tiny` around a BERT, which drops out a tenth of everything, attention included."""
    made = embedding_model.pipeline("tiny", None, SPLIT, Context())
    torch.manual_seed(0)
    made[0].model = BertModel(bert())
    made[1] = Pooling(32)
    return made.train()


def step(model: SentenceTransformer, gib: float | None, **options) -> tuple[CorpusSoftmax, dict]:
    """The loss of one step under a budget, and the gradients by name."""
    model.zero_grad()
    budget = None if gib is None else ActivationBudget(model[0].model.config, gib, torch.float32)
    loss = CorpusSoftmax(model, SPLIT, DualEncoder.Options(**options), 0, budget)
    torch.manual_seed(5)
    value = loss(ROWS)["loss"]
    value.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return loss, {"loss": value.detach(), "after": torch.rand(1), **gradients}


def assert_equal(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


def test_gradients_are_those_of_keeping_everything_with_dropout_on(
    model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passes that run again draw what they drew, and leave the random generator as it was."""
    monkeypatch.setattr(token_batches, "CPU_TOKENS", 60)  # passes of the same texts under every budget
    monkeypatch.setattr(activation_budget, "PASS_SHARE", 1e-9)
    _, whole = step(model, None)
    kept, plenty = step(model, PLENTY)
    half, some = step(model, 0.0009)
    none, nothing = step(model, NOTHING)
    assert kept.budget.run_again == 0 < half.budget.run_again < none.budget.run_again
    assert half.budget.spent <= half.budget.bytes
    for found in (plenty, some, nothing):
        assert_equal(found, whole)
    torch.manual_seed(6)  # another draw is another gradient: dropout is on
    model.zero_grad()
    other = none(ROWS)["loss"]
    assert not torch.allclose(other, whole["loss"])


def test_gradients_are_those_of_one_text_after_another(model) -> None:
    """Without dropout, against the loss written down: no batches, no budget."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    loss, found = step(model, NOTHING, documents=20)
    assert loss.budget.run_again > 10  # one text a pass, where nothing may be kept
    model.zero_grad()
    twin = CorpusSoftmax(model, SPLIT, DualEncoder.Options(documents=20), 0)
    documents = twin._documents(ROWS.tolist())

    def alone(text: str) -> torch.Tensor:
        ids = torch.tensor([model.tokenizer(text).input_ids])
        return model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})["sentence_embedding"][0]

    queries = torch.stack([alone(q.text) for q in QUERIES])
    embedded = torch.stack([alone(TEXTS[d]) for d in documents])
    ranks = twin._ranks(ROWS.tolist(), documents)
    position_weighted_softmax(32**-0.5 * queries @ embedded.T, ranks, 2.0).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_mixed_precision_runs_again_in_its_precision(model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_batches, "CPU_TOKENS", 60)
    monkeypatch.setattr(activation_budget, "PASS_SHARE", 1e-9)
    with torch.autocast("cpu", torch.bfloat16):
        _, whole = step(model, PLENTY)
        loss, found = step(model, 0.0009)
    assert loss.budget.run_again
    assert_equal(found, whole)


def kept_bytes(loss: CorpusSoftmax) -> int:
    """Bytes that autograd holds between a step's forward and its backward pass."""
    own = {p.untyped_storage().data_ptr() for p in loss.parameters()}
    seen: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(ROWS)
    return sum(seen.values())


@pytest.mark.slow
def test_memory_is_bounded_however_many_documents_a_step_has(model) -> None:
    corpus = Corpus(Document(f"d{i}", "", TEXTS[i % 60] + " new" * 20) for i in range(500))
    split = replace(SPLIT, corpus=corpus)
    held = {}
    for documents in (60, 500):
        for mib in (2, 1000):
            budget = ActivationBudget(model[0].model.config, mib / 1024, torch.float32)
            options = DualEncoder.Options(documents=documents)
            held[documents, mib] = kept_bytes(CorpusSoftmax(model, split, options, 0, budget)) / 2**20
    assert held[500, 1000] > 5 * held[60, 1000] > 15
    assert held[60, 2] < 4
    assert held[500, 2] < 4


def test_the_default_training_keeps_everything(mammals) -> None:
    """`de` on wordnet is one piece: no text is read twice."""
    split = mammals.split("train")
    options = DualEncoder.Options()
    model = untrained_encoder.untrained(options, None, split, Context(threads=2))
    budget = ActivationBudget(model[0].model.config, options.activations_gib, torch.float32)
    judged = embedding_model.with_answers(split)
    loss = CorpusSoftmax(model, judged, options, 0, budget)
    rows = sorted(range(len(judged.queries)), key=lambda row: -len(loss.queries[row]))[: options.batch]
    assert loss(torch.tensor(rows))["loss"].isfinite()
    assert (budget.run_again, budget.spent > 0) == (0, True)


LLAMA = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "bert": bert(hidden_size=96, intermediate_size=384, num_attention_heads=6),
    "bert without dropout": bert(attention_probs_dropout_prob=0.0),
    "llama": AutoConfig.for_model("llama", vocab_size=40, **LLAMA),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("width", [16, 256])
def test_the_estimate_of_a_pass_is_near_what_autograd_keeps(name, width) -> None:
    body = AutoModel.from_config(CONFIGS[name]).train()
    own = {p.untyped_storage().data_ptr() for p in body.parameters()}
    seen: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    ids, mask = torch.ones(4, width, dtype=torch.long), torch.ones(4, width, dtype=torch.long)
    mask[0, -1] = 0
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        body(input_ids=ids, attention_mask=mask)[0].sum()
    kept = sum(seen.values())
    assert 0.5 * kept < ActivationBudget(CONFIGS[name], 1, torch.float32).cost(4, width) < 2 * kept


def pair_loss(gib: float) -> pair_training.RankedPairs:
    """ListNet over a cross encoder that drops out, which reads at least 20 pairs a query."""
    options = CrossEncoder.Options(negatives=20, activations_gib=gib)
    start = embedding_model.pipeline("tiny", 8, SPLIT, Context())
    model = pair_encoder.started_from(start, options, Context())
    torch.manual_seed(0)
    model[0].model = BertModel(bert(hidden_size=128, num_labels=1))
    return pair_training.RankedPairs(model, start, SPLIT, options, 0).train()


def pair_gradients(loss: pair_training.RankedPairs) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    value = loss(ROWS)["loss"]
    value.backward()
    return {"loss": value.detach(), **{n: p.grad for n, p in loss.named_parameters() if p.grad is not None}}


def test_a_cross_encoder_s_gradients_are_those_of_keeping_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_training, "CPU_PAIRS", 10)
    monkeypatch.setattr(activation_budget, "PASS_SHARE", 1e-9)
    whole, bounded = pair_loss(PLENTY), pair_loss(0.002)
    assert_equal(pair_gradients(bounded), pair_gradients(whole))
    assert whole.budget.run_again == 0 < bounded.budget.run_again
    assert 0 < bounded.budget.spent <= bounded.budget.bytes


def test_a_pass_of_pairs_is_cut_to_its_share() -> None:
    """All pairs of a step at once, as on a GPU, are as many passes as the budget asks for."""
    whole, bounded = pair_loss(PLENTY), pair_loss(0.004)
    for loss in (whole, bounded):
        loss.loss.mini_batch_size = -1
        for module in loss.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    assert_equal(pair_gradients(bounded), pair_gradients(whole))
    assert bounded.budget.run_again > 3


def never(*_: object, **__: object) -> None:
    raise AssertionError("weights were read")


@pytest.mark.parametrize("kind", [DualEncoder, CrossEncoder])
def test_a_training_that_cannot_fit_does_not_start(kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_memory, "available", lambda device: 10**6)
    monkeypatch.setattr(embedding_model, "load_encoder", never)
    with pytest.raises(
        UsageError,
        match=r"training backbone 'tiny' on cpu needs about \d+\.\d GiB \(weights .*, gradients .*, "
        r"optimizer .*, activations .*\) for \d+ texts of up to \d+ tokens a step, and 0\.0 GiB are free; "
        r"what helps: a smaller",
    ):
        kind(kind.Options(), Context()).fit(SPLIT, SPLIT)


def test_the_cross_encoder_s_own_training_is_looked_at_before_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Long documents, many a query: the start, which reads each text once, would fit."""
    corpus = Corpus(Document(f"d{i}", "", "red " * 300) for i in range(60))
    queries = tuple(replace(q, text="red " * 300) for q in QUERIES)
    split = replace(SPLIT, corpus=corpus, queries=queries)
    monkeypatch.setattr(encoder_memory, "available", lambda device: int(1.2 * GIB))
    monkeypatch.setattr(embedding_model, "load_encoder", never)
    options = CrossEncoder.Options(negatives=58, batch=4)
    with pytest.raises(UsageError, match=r"for 239 pairs of up to 512 tokens a step.*activations_gib=0\.9"):
        CrossEncoder(options, Context()).fit(split, split)


def test_documents_of_a_step_s_queries_are_counted_whatever_the_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two queries a step, of 13 and 14 candidates of their own: 2 + 27 texts at documents=5."""
    monkeypatch.setattr(encoder_memory, "available", lambda device: 0)
    first = replace(QUERIES[0], candidates=("d0", *(f"d{i}" for i in range(30, 42))))
    second = replace(QUERIES[1], candidates=("d7", "d1", *(f"d{i}" for i in range(42, 54))))
    split = replace(SPLIT, queries=(first, second, *QUERIES[2:]))
    ranker = DualEncoder(DualEncoder.Options(documents=5, batch=2), Context())
    with pytest.raises(UsageError, match="for 29 texts of up to"):
        ranker.fit(split, SPLIT)


def test_what_is_said_to_help_does(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus(Document(f"d{i}", "", "red " * 300) for i in range(200))
    split = replace(SPLIT, corpus=corpus)
    monkeypatch.setattr(encoder_memory, "available", lambda device: int(0.5 * GIB))
    with pytest.raises(
        UsageError, match=r"204 texts of up to 256 tokens.*what helps: activations_gib=0\.3, "
    ):
        DualEncoder(DualEncoder.Options(epochs=1), Context()).fit(split, split)
    ranker = DualEncoder(DualEncoder.Options(epochs=1, activations_gib=0.3), Context())
    ranker.fit(split, split)
    assert ranker.parameters


def test_a_need_counts_copies_that_autocast_makes() -> None:
    full = Need.of(1000, 0, torch.float32, torch.float32, 5)
    assert (full.weights, full.gradients, full.optimizer, full.activations) == (4000, 4000, 8000, 5)
    assert Need.of(1000, 0, torch.float32, torch.bfloat16, 5).weights == 6000
    assert Need.of(10, 1000, torch.bfloat16, torch.bfloat16, 5).weights == 2000 + 60
    assert Need.of(10, 1000, torch.float32, torch.bfloat16, 5).weights == 6000 + 60
