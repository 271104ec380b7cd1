"""The cross encoder at the contract: it learns, scores what it is asked to, and comes back from disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from arrbench.errors import UsageError
from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers import cross_encoder, embedding_model, pair_encoder
from arrbench_rankers.cross_encoder import CrossEncoder
from arrbench_rankers.negatives import draw_negatives, hardest
from arrbench_rankers.pair_training import RankedPairs

ANIMALS = ["dog", "cat", "bear", "whale", "canine", "feline", "carnivore", "animal"]
PATHS = {"dog": ["canine", "carnivore", "animal"], "cat": ["feline", "carnivore", "animal"]}
OPTIONS = CrossEncoder.Options(epochs=30, batch=4, start_epochs=20, learning_rate=1e-3, length=32)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def split() -> Split:
    corpus = Corpus(Document(f"d-{name}", name, name) for name in ANIMALS)
    texts = {f"q{i}-{name}": name for name in PATHS for i in range(4)}
    queries = tuple(
        Query(q, f"{name}: number {q[1]} of its kind", excluded=frozenset({f"d-{name}"}))
        for q, name in texts.items()
    )
    grades = {q: {f"d-{d}": 3 - r for r, d in enumerate(PATHS[name])} for q, name in texts.items()}
    return Split(queries, Judgments(grades), corpus)


@pytest.fixture(scope="module")
def told() -> list[tuple[int, int, dict[str, float]]]:
    return []


@pytest.fixture(scope="module")
def ranker(split, told) -> CrossEncoder:
    def report(phase: str, done: int, total: int, /, **figures: float) -> None:
        assert phase == "fit"
        told.append((done, total, figures))

    ranker = CrossEncoder(OPTIONS, Context(report=report))
    ranker.fit(split, split)
    ranker.index(split.corpus)
    return ranker


def scores_of(ranking) -> dict[str, float]:
    return dict(zip(ranking.ids, ranking.scores, strict=True))


def test_it_learns_the_order_of_a_list(ranker, split) -> None:
    for query, ranking in zip(split.queries, ranker.rank(split.queries, 4), strict=True):
        name = query.id.split("-")[1]
        kept = [d for d in ranking.ids if d not in query.excluded][:3]
        assert kept == [f"d-{d}" for d in PATHS[name]]


def test_the_start_counts_in_the_reported_steps(ranker, told) -> None:
    steps = [done for done, _, _ in told]
    assert steps == sorted(steps)
    assert {total for _, total, _ in told} == {20 + 60}
    assert steps[-1] == 80
    assert any("dev_ndcg" in figures and done <= 20 for done, _, figures in told)
    assert [f["dev_ndcg"] for _, _, f in told if "dev_ndcg" in f][-1] == pytest.approx(1.0)


def test_scores_are_those_of_predict(ranker, split) -> None:
    query = split.queries[0]
    pairs = [(query.text, d.text) for d in split.corpus]
    expected = dict(zip(split.corpus.ids, ranker._model.predict(pairs), strict=True))
    assert scores_of(ranker.rank([query], 8)[0]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_pairs_are_put_together_as_the_tokenizer_does(ranker) -> None:
    pairs = ranker._model[0]
    texts = [("dog: number 1", "carnivore"), ("", "cat"), ("bear", "")]
    ours = pairs.preprocess(texts)
    queries, documents = zip(*texts, strict=True)
    own = ranker._model.tokenizer(queries, documents, padding=True, return_tensors="pt")
    assert torch.equal(ours["input_ids"], own.input_ids)
    assert torch.equal(ours["owners"] > 0, own.attention_mask > 0)
    assert ours["owners"].tolist()[1] == [1, 2, 2, 0, 0, 0, 0]


def test_attention_between_the_texts_is_weaker_and_none_goes_to_padding(ranker) -> None:
    pairs = ranker._model[0]
    attention = pairs.attention(pairs.preprocess([("dog dog", "cat"), ("", "cat")])["owners"])
    assert attention.shape == (2, 1, 5, 5)
    assert attention[0, 0, 0].tolist() == [0, 0, 0, -4, -4]
    assert attention[0, 0, 4].tolist() == [-4, -4, -4, 0, 0]
    assert attention[1, 0, 0, :3].tolist() == [0, -4, -4]
    assert (attention[1, 0, :, 3:] < -1e30).all()


def test_without_attention_between_the_texts_it_starts_as_the_dual_encoder(split) -> None:
    start = embedding_model.pipeline("tiny", 16, split, Context())
    apart = OPTIONS.model_copy(update={"cross_penalty": 1e4})
    model = pair_encoder.started_from(start, apart, Context())
    pairs = [(q.text, d.text) for q in split.queries[:2] for d in split.corpus]
    queries, documents = (start.encode(list(texts)) for texts in zip(*pairs, strict=True))
    np.testing.assert_allclose(model.predict(pairs), (queries * documents).sum(1), rtol=1e-4, atol=1e-5)


def test_a_template_with_type_ids_and_a_closing_token() -> None:
    """A pair as BERT's tokenizers write it: [CLS] a [SEP] b [SEP], types 0 and 1."""
    core = Tokenizer(WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "x": 3, "y": 4}, unk_token="[UNK]"))
    core.pre_tokenizer = Whitespace()
    core.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]")
    template = pair_encoder.PairTemplate.of(tokenizer)
    encoding = core.encode("x x", "y")
    assert template.input_ids([3, 3], [4]) == encoding.ids
    assert template.type_ids(2, 1) == encoding.type_ids
    assert template.owners(2, 1) == [1, 1, 1, 2, 2, 2]
    assert template.specials == 3


def test_a_long_pair_is_cut_and_keeps_its_document(ranker) -> None:
    pairs = ranker._model[0]
    features = pairs.preprocess([("dog " * 100, "cat " * 100)])
    assert features["input_ids"].shape == (1, OPTIONS.length)
    owners = features["owners"][0].tolist()
    assert owners.count(pair_encoder.QUERY) == OPTIONS.length // 2 + 1
    assert owners.count(pair_encoder.DOCUMENT) == OPTIONS.length // 2 - 1


@torch.inference_mode()
def test_the_document_is_read_in_the_light_of_the_query(ranker) -> None:
    """The embeddings of one document's tokens differ between two queries: it is no dual encoder."""
    pairs = ranker._model[0]
    features = pairs(pairs.preprocess([("dog", "carnivore"), ("cat", "carnivore")]))
    tokens = features["token_embeddings"][features["owners"] == pair_encoder.DOCUMENT]
    assert (tokens[0] - tokens[1]).abs().max() > 1e-2


def test_a_query_ranks_the_same_alone_and_among_others(
    ranker, split, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = [*split.queries, Query("long", "dog " * 40), Query("empty", "")]
    together = ranker.rank(queries, 8)
    monkeypatch.setattr(cross_encoder, "PAIRS", 20)
    for query, ranking, grouped in zip(queries, together, ranker.rank(queries, 8), strict=True):
        alone = scores_of(ranker.rank([query], 8)[0])
        assert alone == pytest.approx(scores_of(ranking), rel=1e-4, abs=1e-5)
        assert alone == pytest.approx(scores_of(grouped), rel=1e-4, abs=1e-5)


def test_only_candidates_are_reranked_with_the_same_scores(ranker, split) -> None:
    candidates = ("d-bear", "d-canine", "d-dog")
    query = split.queries[0]
    everything = scores_of(ranker.rank([query], 8)[0])
    ranking = ranker.rank([query, replace(query, candidates=candidates, excluded=frozenset())], 8)[1]
    assert scores_of(ranking) == pytest.approx({d: everything[d] for d in candidates}, rel=1e-4, abs=1e-5)
    assert len(ranker.rank([replace(query, candidates=candidates)], 2)[0].ids) == 2


def test_odd_requests(ranker) -> None:
    assert ranker.rank([], 5) == []
    ranking = ranker.rank([Query("q", "")], 1000)[0]
    assert sorted(ranking.ids) == sorted(f"d-{name}" for name in ANIMALS)
    assert np.isfinite(ranking.scores).all()


def test_a_saved_ranker_ranks_the_same_and_holds_no_pickle(ranker, split, tmp_path: Path) -> None:
    ranker.save(tmp_path)
    names = {file.suffix for file in tmp_path.rglob("*") if file.is_file()}
    assert not names & {".bin", ".pt", ".pkl", ".npy"}
    loaded = CrossEncoder.load(tmp_path, Context())
    assert loaded.rank(split.queries, 8) == ranker.rank(split.queries, 8)
    assert (loaded.parameters, loaded.index_bytes) == (ranker.parameters, ranker.index_bytes)


def test_one_seed_gives_one_model_and_another_another(split) -> None:
    short = OPTIONS.model_copy(update={"epochs": 2, "start_epochs": 1, "negatives": 3})

    def weights(seed: int) -> dict[str, torch.Tensor]:
        fitted = CrossEncoder(short, Context(seed=seed))
        fitted.fit(split, split)
        return fitted._model.state_dict()

    first, second, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_half_precision_ranks(split) -> None:
    short = OPTIONS.model_copy(update={"epochs": 1, "start_epochs": 1})
    ranker = CrossEncoder(short, Context(dtype="bfloat16"))
    ranker.fit(split, split)
    ranker.index(split.corpus)
    assert ranker._model.dtype == torch.bfloat16
    assert np.isfinite(ranker.rank(split.queries, 3)[0].scores).all()


def test_negatives_are_candidates_where_a_query_has_some(split) -> None:
    """With candidates: all of them that are not relevant; without: 12 or what the corpus has."""
    candidates = ("d-bear", "d-canine", "d-carnivore", "d-animal")
    queries = (replace(split.queries[0], candidates=candidates), *split.queries[1:])
    start = embedding_model.pipeline("tiny", 8, split, Context())
    model = pair_encoder.started_from(start, OPTIONS, Context())
    pairs = RankedPairs(model, start, replace(split, queries=queries), OPTIONS, seed=0)
    at = split.corpus.positions
    assert pairs._negatives(0) == [at["d-bear"]]
    assert set(pairs._negatives(1)) == {at[d] for d in ("d-cat", "d-bear", "d-whale", "d-feline")}


def test_a_large_corpus_is_reranked_from_the_first_stage(
    ranker, split, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With `every document` lowered below this corpus: what BM25 finds is scored, and nothing else."""
    from arrbench_rankers.bm25 import BM25

    monkeypatch.setattr(cross_encoder, "EVERY_DOCUMENT", 4)
    ranker.save(tmp_path / "whole")
    staged = CrossEncoder.load(tmp_path / "whole", Context())
    staged.index(split.corpus)
    first = BM25(BM25.Options(), Context())
    first.index(split.corpus)
    queries = [Query("q", "a dog or a cat"), Query("r", "whale", candidates=("d-bear", "d-whale"))]
    expected = first.rank(queries[:1], staged.options.depth)[0].ids
    everything = scores_of(ranker.rank(queries[:1], 8)[0])
    found = staged.rank(queries, 8)
    assert scores_of(found[0]) == pytest.approx({d: everything[d] for d in expected}, rel=1e-4, abs=1e-5)
    assert sorted(found[1].ids) == ["d-bear", "d-whale"]
    staged.save(tmp_path / "staged")
    assert CrossEncoder.load(tmp_path / "staged", Context()).rank(queries, 8) == found


def test_indexing_before_fitting_says_so(split) -> None:
    with pytest.raises(UsageError, match="fit it or load"):
        CrossEncoder(OPTIONS, Context()).index(split.corpus)


def test_hardest_are_the_best_scored_that_are_not_barred() -> None:
    scores = np.array([0.1, 0.9, 0.5, 0.8, 0.2])
    assert hardest(scores, range(5), {1}) == [3, 2, 4, 0]
    assert hardest(scores[:3], [7, 8, 9], {9}) == [8, 7]


@given(
    documents=st.integers(1, 60),
    barred=st.sets(st.integers(0, 59), max_size=20),
    count=st.integers(1, 15),
    hard_count=st.integers(0, 15),
    seed=st.integers(0, 5),
)
def test_drawn_negatives_are_distinct_allowed_and_hard_as_asked(
    documents: int, barred: set[int], count: int, hard_count: int, seed: int
) -> None:
    pool = range(documents)
    hard_count = min(hard_count, count)
    hard = hardest(np.arange(documents, dtype=float), pool, barred)
    drawn = draw_negatives(np.random.default_rng(seed), hard, hard_count, pool, barred, count)
    assert len(drawn) == len(set(drawn)) == min(count, documents - len(barred & set(pool)))
    assert not set(drawn) & barred
    assert len(set(drawn) & set(hard)) >= min(hard_count, len(hard), len(drawn))


def bert() -> tuple[PreTrainedModel, str]:
    config = BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    return BertModel(config), "[CLS] $A [SEP] $B:1 [SEP]:1"


def roberta() -> tuple[PreTrainedModel, str]:
    config = RobertaConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    return RobertaModel(config), "[CLS] $A [SEP] [SEP] $B [SEP]"


def gpt2() -> tuple[PreTrainedModel, str]:
    return GPT2Model(GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=2, n_positions=64)), "$A $B:1"


@pytest.mark.parametrize("architecture", [bert, roberta, gpt2])
def test_other_architectures_from_a_folder(architecture, split, tmp_path: Path) -> None:
    """Type ids, several separators, no special tokens at all, causal attention: all go through."""
    model, pair = architecture()
    words = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", *ANIMALS, "number", "of", "its", "kind", ":", "0", "1"]
    core = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = Whitespace()
    core.post_processor = TemplateProcessing(
        single=pair.partition(" $B")[0].removesuffix(" [SEP] [SEP]"),
        pair=pair,
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    inputs = ["input_ids", "attention_mask"] + (["token_type_ids"] if architecture is bert else [])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", model_input_names=inputs
    )
    model.save_pretrained(tmp_path / "backbone")
    tokenizer.save_pretrained(tmp_path / "backbone")
    options = OPTIONS.model_copy(
        update={"backbone": str(tmp_path / "backbone"), "epochs": 1, "start_epochs": 1}
    )
    ranker = CrossEncoder(options, Context(offline=True))
    ranker.fit(split, split)
    ranker.index(split.corpus)
    queries = [*split.queries, Query("empty", "")]
    rankings = ranker.rank(queries, 8)
    assert all(np.isfinite(ranking.scores).all() for ranking in rankings)
    assert len(set(rankings[0].scores)) > 1
    ranker.save(tmp_path / "saved")
    assert CrossEncoder.load(tmp_path / "saved", Context()).rank(queries, 8) == rankings
