"""Sentence-transformers checkpoints: measured as their authors run them, or refused before any work."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from arrbench import models
from arrbench.errors import UsageError
from arrbench.planning import cache_folder
from arrbench.ranker import Context, Corpus, Document, Query, Ranking
from arrbench.task import Judgments, Split
from arrbench_rankers import backbones, embedding_model
from arrbench_rankers.checkpoint import Checkpoint
from arrbench_rankers.cross_encoder import CrossEncoder
from arrbench_rankers.dev_measure import ndcg_at_10
from arrbench_rankers.dual_encoder import DualEncoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "search", "text", ":", *"abcdefghij"]
TEXTS = ["a b c", "", "d", "e f g h i j a b c d e f", "b b b unknown"]
CORPUS = Corpus(Document(f"d{i}", "", text) for i, text in enumerate(TEXTS))
QUERIES = (Query("q", "a b c"), Query("r", "e f g h i j a b c d e f"), Query("s", ""))
SPLIT = Split(QUERIES, Judgments({"q": {"d0": 1}, "r": {"d3": 2, "d2": 1}}), CORPUS)
NOTHING = Split((), Judgments({}), CORPUS)
PROMPTS = {"query": "search : ", "passage": "text : "}
HIDDEN = 32


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Path:
    """A small random BERT whose tokenizer closes a text with [SEP]."""
    core = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = Whitespace()
    core.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def published(
    backbone: Path, folder: Path, *modules: torch.nn.Module, pooling: Pooling | None = None, **given
) -> str:
    """The path of a checkpoint as its authors would have saved it, of at most 10 tokens a text."""
    body = Transformer(str(backbone))
    body.max_seq_length = 10
    parts = [body, pooling or Pooling(HIDDEN), *modules]
    SentenceTransformer(modules=parts, device="cpu", **given).save(str(folder), create_model_card=False)
    return str(folder)


def change(file: Path, **fields: object) -> None:
    says = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**says, **fields}))


def untrained(path: str, **options) -> DualEncoder:
    ranker = DualEncoder(DualEncoder.Options(backbone=path, epochs=0, **options), Context())
    ranker.fit(NOTHING, NOTHING)
    ranker.index(CORPUS)
    return ranker


def scores(ranker: DualEncoder) -> np.ndarray:
    found = ranker.rank(QUERIES, len(CORPUS))
    return np.array([[dict(zip(r.ids, r.scores, strict=True))[d] for d in CORPUS.ids] for r in found])


MODELS = {
    "mean, normalised": ({}, [Normalize()]),
    "first token": ({"pooling": Pooling(HIDDEN, "cls")}, []),
    "last token and mean": ({"pooling": Pooling(HIDDEN, ("mean", "lasttoken"))}, [Normalize()]),
    "a projection of its own": ({}, [Dense(HIDDEN, 8), Normalize()]),
    "prompts": ({"prompts": PROMPTS}, [Normalize()]),
    "prompts that are not pooled": (
        {"pooling": Pooling(HIDDEN, include_prompt=False), "prompts": PROMPTS},
        [Normalize()],
    ),
}


@pytest.mark.parametrize("model", MODELS)
def test_without_training_embeddings_are_those_of_the_library(model, backbone, tmp_path) -> None:
    """Its pooling, normalisation, prompts and length: what encode, called directly, gives."""
    given, modules = MODELS[model]
    path = published(backbone, tmp_path / "model", *modules, similarity_fn_name="dot", **given)
    library = SentenceTransformer(path, device="cpu", local_files_only=True)
    prompts = given.get("prompts", {})
    queries = library.encode([q.text for q in QUERIES], prompt=prompts.get("query"))
    documents = library.encode(TEXTS, prompt=prompts.get("passage"))
    ranker = untrained(path)
    np.testing.assert_allclose(ranker._index.embeddings(range(len(TEXTS))), documents, atol=1e-5)
    np.testing.assert_allclose(scores(ranker), queries @ documents.T, atol=1e-5)
    assert ranker.parameters == backbones.parameter_count(library)
    ranker.save(tmp_path / "saved")
    np.testing.assert_allclose(scores(DualEncoder.load(tmp_path / "saved", Context())), scores(ranker))


def test_a_long_text_keeps_its_closing_token(backbone, tmp_path) -> None:
    model = SentenceTransformer(published(backbone, tmp_path / "model"), device="cpu")
    ids = embedding_model.tokens(model, ["a " * 30], 10)
    assert ids == model.tokenizer(["a " * 30], truncation=True, max_length=10).input_ids
    assert ids[0][-1] == WORDS.index("[SEP]")


def test_a_length_is_at_most_the_checkpoint_s(backbone, tmp_path) -> None:
    path = published(backbone, tmp_path / "model")
    assert [untrained(path, length=n)._length for n in (None, 6, 500)] == [10, 6, 10]


def test_what_is_compared_by_cosine_is_normalised(backbone, tmp_path) -> None:
    path = published(backbone, tmp_path / "model", similarity_fn_name="cosine")
    library = SentenceTransformer(path, device="cpu", local_files_only=True)
    expected = library.similarity(library.encode([q.text for q in QUERIES]), library.encode(TEXTS))
    np.testing.assert_allclose(scores(untrained(path)), expected, atol=1e-5)


def test_a_projection_is_added_where_dim_asks_for_one_and_is_trained(backbone, tmp_path) -> None:
    path = published(backbone, tmp_path / "model", Normalize())
    kinds = {}
    for dim in (None, HIDDEN, 8):
        ranker = DualEncoder(DualEncoder.Options(backbone=path, epochs=1, dim=dim), Context())
        ranker.fit(SPLIT, SPLIT)
        ranker.index(CORPUS)
        kinds[dim] = [type(module).__name__ for module in ranker._model]
        embedded = ranker._index.embeddings(range(len(CORPUS)))
        assert embedded.shape == (len(CORPUS), dim or HIDDEN)
        np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, rtol=1e-5)
    own = ["Transformer", "Pooling", "Normalize"]
    assert kinds == {None: own, HIDDEN: own, 8: [*own, "Dense", "Normalize"]}


def test_a_backbone_alone_keeps_its_dimension_unless_asked(backbone) -> None:
    dims = {}
    for dim in (None, HIDDEN, 8):
        ranker = DualEncoder(DualEncoder.Options(backbone=str(backbone), epochs=1, dim=dim), Context())
        ranker.fit(SPLIT, SPLIT)
        dims[dim] = embedding_model.dimension(ranker._model), len(ranker._model)
    assert dims == {None: (HIDDEN, 2), HIDDEN: (HIDDEN, 2), 8: (8, 3)}


def test_fine_tuning_cosines_learns(backbone, tmp_path) -> None:
    """Cosines between -1 and 1 are scaled in the loss: a softmax over them as they are hardly learns."""
    path = published(backbone, tmp_path / "model", Normalize())
    told: list[float] = []

    def report(phase: str, done: int, total: int, /, **figures: float) -> None:
        told.extend(value for name, value in figures.items() if name == "loss")

    options = DualEncoder.Options(backbone=path, epochs=30, batch=2, alpha=0)
    ranker = DualEncoder(options, Context(report=report))
    queries = (Query("q", "g h"), Query("r", "i j"))
    judged = replace(SPLIT, queries=queries, judgments=Judgments({"q": {"d2": 1}, "r": {"d0": 1}}))
    ranker.fit(judged, judged)
    assert told[-1] < 0.2 < 1 < told[0]  # at best .43 over five cosines as they are


def refused(ranker, says: str, **options) -> None:
    """Refused when a run is planned, and again by fit."""
    made = ranker.Options(**options)

    def plan() -> None:
        ranker.check(made)
        ranker.weights(made, Context(offline=True))

    with pytest.raises(UsageError, match=says):
        plan()
    with pytest.raises(UsageError, match=says):
        ranker(made, Context(offline=True)).fit(SPLIT, SPLIT)


def test_what_would_be_random_or_a_guess_is_refused(backbone, tmp_path) -> None:
    path = published(backbone, tmp_path / "model", Normalize())
    refused(DualEncoder, r"dim=8 asks for .* 32 numbers .*leave dim out", backbone=path, epochs=0, dim=8)
    refused(DualEncoder, r"no modules.json.*epochs=1 or more", backbone=str(backbone), epochs=0)
    for either in (path, str(backbone)):
        refused(CrossEncoder, "stays random; give either", backbone=either, epochs=0, start_epochs=0)
    code = {"index": "ivfpq", "code_bytes": 5}
    refused(DualEncoder, "code_bytes=5 does not divide dim=32", backbone=path, epochs=0, **code)
    ranker = DualEncoder(DualEncoder.Options(backbone=str(backbone), epochs=1, **code), Context())
    with pytest.raises(UsageError, match="code_bytes=5 does not divide dim=32"):
        ranker.fit(SPLIT, SPLIT)


def test_tiny_is_what_it_was() -> None:
    """Made from scratch, it has nothing to be measured below: 128 numbers, also without training."""
    assert embedding_model.dimension(untrained("tiny")._model) == 128
    assert embedding_model.dimension(untrained("tiny", dim=16)._model) == 16
    assert DualEncoder.weights(DualEncoder.Options(), Context()) == {}


@pytest.mark.parametrize(
    ("file", "fields", "says"),
    [
        ("config_sentence_transformers.json", {"similarity_fn_name": "euclidean"}, "'euclidean'.*cosine"),
        ("config_sentence_transformers.json", {"truncate_dim": 4}, "takes whole ones"),
        ("2_Dense/config.json", {"out_features": None}, "can't be read"),
    ],
)
def test_what_cannot_be_run_here_is_refused(file, fields, says, backbone, tmp_path) -> None:
    path = published(backbone, tmp_path / "model", Dense(HIDDEN, 8))
    change(tmp_path / "model" / file, **fields)
    refused(DualEncoder, says, backbone=path, epochs=0)


def test_modules_of_another_kind_are_refused(backbone, tmp_path) -> None:
    path = published(backbone, tmp_path / "model")
    file = tmp_path / "model" / "modules.json"
    listed = json.loads(file.read_text())
    wrong = [
        ([listed[0]], "has the modules Transformer;"),
        ([listed[0], {**listed[1], "type": "evil.Pooling"}], "'evil.Pooling'.*never run"),
        ([listed[0], {**listed[1], "type": "sentence_transformers.x.Router"}], "Router.*known"),
        ([listed[0], {**listed[1], "path": "../elsewhere"}], "lies outside"),
        ({"no": "list"}, "can't be read"),
    ]
    for content, says in wrong:
        file.write_text(json.dumps(content))
        refused(DualEncoder, says, backbone=path, epochs=0)


def test_pickled_weights_of_a_module_are_refused(backbone, tmp_path) -> None:
    path = published(backbone, tmp_path / "model", Dense(HIDDEN, 8))
    weights = tmp_path / "model" / "2_Dense" / "model.safetensors"
    torch.save({"linear.weight": torch.zeros(8, HIDDEN)}, weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(UsageError, match=r"no 2_Dense/model\.safetensors"):
        untrained(path)


def test_an_id_is_its_snapshot(backbone, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the hub's local cache, without the network: with modules.json, and the same commit without."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--some--model"
    path = published(backbone, tmp_path / "model", Normalize())
    shutil.copytree(path, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    context = Context(offline=True)
    options = DualEncoder.Options(backbone="some/model", epochs=0)
    modules = {"some/model modules": "Transformer, Pooling, Normalize"}
    assert DualEncoder.weights(options, context) == {"some/model": commit, **modules}
    ranker = DualEncoder(options, context)
    ranker.fit(NOTHING, NOTHING)
    ranker.index(CORPUS)
    np.testing.assert_allclose(scores(ranker), scores(untrained(path)))
    (repository / "snapshots" / commit / "modules.json").unlink()
    assert Checkpoint.of("some/model", context) is None
    trained = DualEncoder.Options(backbone="some/model")
    assert DualEncoder.weights(trained, context) == {"some/model": commit}


@pytest.mark.slow
def test_minilm_ranks_wordnet_as_its_authors_run_it(mammals) -> None:
    """all-MiniLM-L6-v2 from `arrbench models fetch minilm-l6`, against the library on the same texts."""
    packaged = next(m for m in models.MODELS if m.name == "minilm-l6")
    path = models.find(packaged, cache_folder())
    if path is None:
        pytest.skip("arrbench models fetch minilm-l6")
    test = mammals.split("test")
    ranker = DualEncoder(DualEncoder.Options(backbone=str(path), epochs=0), Context(threads=2))
    ranker.fit(mammals.split("train"), test)
    ranker.index(test.corpus)
    library = SentenceTransformer(str(path), device="cpu", local_files_only=True)
    documents = library.encode([d.text for d in test.corpus])
    queries = library.encode([q.text for q in test.queries])
    np.testing.assert_allclose(ranker._index.embeddings(range(len(documents))), documents, atol=1e-5)
    expected = [Ranking(test.corpus.ids, row.tolist()) for row in queries @ documents.T]
    figure = ndcg_at_10(ranker.rank(test.queries, len(documents)), test)
    assert figure == pytest.approx(ndcg_at_10(expected, test), abs=1e-3)
    assert figure == pytest.approx(0.458, abs=2e-3)  # behind a random projection: .374
