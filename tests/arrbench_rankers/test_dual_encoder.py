"""The dual encoder at the contract: it learns, ranks what it is asked to, and comes back from disk."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from arrbench.errors import UsageError
from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers import embedding_model
from arrbench_rankers.dev_measure import bounded
from arrbench_rankers.dual_encoder import DualEncoder
from arrbench_rankers.token_batches import by_length, padded, token_ids

ANIMALS = ["dog", "cat", "bear", "whale", "canine", "feline", "carnivore", "animal"]
PATHS = {"dog": ["canine", "carnivore", "animal"], "cat": ["feline", "carnivore", "animal"]}
OPTIONS = DualEncoder.Options(dim=16, epochs=30, batch=4, length=16)


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
def ranker(split, told) -> DualEncoder:
    def report(phase: str, done: int, total: int, /, **figures: float) -> None:
        if phase == "fit":
            told.append((done, total, figures))

    ranker = DualEncoder(OPTIONS, Context(report=report))
    ranker.fit(split, split)
    ranker.index(split.corpus)
    return ranker


def test_it_learns_the_order_of_a_list(ranker, split) -> None:
    for query, ranking in zip(split.queries, ranker.rank(split.queries, 4), strict=True):
        name = query.id.split("-")[1]
        kept = [d for d in ranking.ids if d not in query.excluded][:3]
        assert kept == [f"d-{d}" for d in PATHS[name]]


def test_training_reports_losses_and_dev_measures(ranker, told) -> None:
    steps = [done for done, _, _ in told]
    assert steps == sorted(steps)
    assert {total for _, total, _ in told} == {60}
    assert steps[-1] == 60
    losses = [f["loss"] for _, _, f in told if "loss" in f]
    assert losses[-1] < losses[0]
    assert [f["dev_ndcg"] for _, _, f in told if "dev_ndcg" in f][-1] == pytest.approx(1.0)


def test_embeddings_are_those_of_encode(ranker, split) -> None:
    texts = [q.text for q in split.queries] + ["", "dog", "an unknown, unseen word"]
    model = ranker._model
    np.testing.assert_allclose(
        embedding_model.embeddings(model, texts, OPTIONS.length), model.encode(texts), rtol=1e-4, atol=1e-5
    )


def test_scores_are_inner_products_and_the_k_best(ranker, split) -> None:
    query = split.queries[0]
    documents = embedding_model.embeddings(ranker._model, [d.text for d in split.corpus], OPTIONS.length)
    asked = embedding_model.embeddings(ranker._model, [query.text], OPTIONS.length)[0]
    expected = dict(zip(split.corpus.ids, documents @ asked, strict=True))
    ranking = ranker.rank([query], 3)[0]
    assert list(ranking.ids) == sorted(expected, key=lambda d: -expected[d])[:3]
    assert ranking.scores == pytest.approx([expected[d] for d in ranking.ids], rel=1e-4)


def test_a_query_ranks_the_same_alone_and_among_others(ranker, split) -> None:
    queries = [*split.queries, Query("long", "dog " * 40), Query("empty", "")]
    together = ranker.rank(queries, 8)
    for query, ranking in zip(queries, together, strict=True):
        alone = ranker.rank([query], 8)[0]
        assert dict(zip(alone.ids, alone.scores, strict=True)) == pytest.approx(
            dict(zip(ranking.ids, ranking.scores, strict=True)), rel=1e-4, abs=1e-5
        )


def test_only_candidates_are_reranked_with_the_same_scores(ranker, split) -> None:
    candidates = ("d-bear", "d-canine", "d-dog")
    query = split.queries[0]
    everything = ranker.rank([query], 8)[0]
    scores = dict(zip(everything.ids, everything.scores, strict=True))
    mixed = ranker.rank([query, replace(query, candidates=candidates, excluded=frozenset())], 8)
    assert list(mixed[0].ids) == list(everything.ids)
    assert sorted(mixed[1].ids) == sorted(candidates)
    assert mixed[1].scores == pytest.approx([scores[d] for d in mixed[1].ids], rel=1e-4)
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
    loaded = DualEncoder.load(tmp_path, Context())
    assert loaded.rank(split.queries, 8) == ranker.rank(split.queries, 8)
    assert (loaded.parameters, loaded.index_bytes) == (ranker.parameters, ranker.index_bytes)
    assert ranker.index_bytes == len(ANIMALS) * 16 * 4


def test_one_seed_gives_one_model_and_another_another(split) -> None:
    short = OPTIONS.model_copy(update={"epochs": 2, "documents": 6})

    def weights(seed: int) -> dict[str, torch.Tensor]:
        fitted = DualEncoder(short, Context(seed=seed))
        fitted.fit(split, split)
        return fitted._model.state_dict()

    first, second, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_sample_of_the_corpus_always_holds_the_ranked_documents(split) -> None:
    context = Context()
    model = embedding_model.pipeline("tiny", 8, split, context)
    loss = embedding_model.CorpusSoftmax(model, split, OPTIONS.model_copy(update={"documents": 5}), seed=0)
    drawn = [loss._documents([0, 5]) for _ in range(20)]
    needed = {split.corpus.positions[f"d-{d}"] for name in PATHS for d in PATHS[name]}
    assert all(needed <= set(documents) and len(documents) == 5 for documents in drawn)
    assert len({tuple(documents) for documents in drawn}) > 1
    ranks = loss._ranks([0], list(range(len(ANIMALS))))[0].tolist()
    assert ranks == [-1, 0, 0, 0, 1, 0, 2, 3]


def test_a_step_over_a_sample_reads_no_other_document(split, monkeypatch) -> None:
    model = embedding_model.pipeline("tiny", 8, split, Context())
    few = OPTIONS.model_copy(update={"documents": 5})
    read: list[list[str]] = []
    original = embedding_model.token_ids
    monkeypatch.setattr(
        embedding_model, "token_ids", lambda t, texts, n: read.append(list(texts)) or original(t, texts, n)
    )
    loss = embedding_model.CorpusSoftmax(model, split, few, seed=0)
    assert len(read) == 1  # the queries
    assert loss(torch.tensor([0, 5]))["loss"].isfinite()
    assert len(read[1]) == 5


def test_the_dev_corpus_is_bounded_but_holds_what_is_judged(split) -> None:
    assert bounded(split, 0, documents=len(ANIMALS)) is split
    part = bounded(split, 0, documents=6)
    judged = {d for grades in split.judgments.grades.values() for d in grades}
    assert len(part.corpus) == 6
    assert judged <= set(part.corpus.ids)
    assert part.queries == split.queries
    assert bounded(split, 0, documents=6).corpus.ids == part.corpus.ids
    assert set(bounded(split, 0, documents=1).corpus.ids) == judged
    reranked = replace(split, queries=(replace(split.queries[0], candidates=("d-whale",)),))
    assert "d-whale" in bounded(reranked, 0, documents=1).corpus.ids
    assert len({bounded(split, seed, documents=5).corpus.ids for seed in range(9)}) > 1


def approximate(ranker: DualEncoder, split: Split, **options: object) -> DualEncoder:
    """The trained model over another kind of index."""
    other = DualEncoder(OPTIONS.model_copy(update=options), Context())
    other._use(ranker._model)
    other.index(split.corpus)
    return other


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_another_index_ranks_reranks_and_tells_its_recall(kind, ranker, split, tmp_path: Path) -> None:
    other = approximate(ranker, split, index=kind)
    queries = [*split.queries, replace(split.queries[0], candidates=("d-bear", "d-dog"))]
    assert other.rank(queries, 4) == ranker.rank(queries, 4)
    assert other.audit(queries, 4) == {"recall_against_flat@4": 1.0}
    assert ranker.audit(queries, 4) == {}
    assert other.audit(queries[-1:], 4) == {}
    other.save(tmp_path)
    loaded = DualEncoder.load(tmp_path, Context())
    assert loaded.rank(queries, 4) == other.rank(queries, 4)
    assert (loaded.index_bytes, loaded.facts) == (other.index_bytes, other.facts)


def test_a_large_corpus_is_embedded_in_blocks(ranker, split, monkeypatch) -> None:
    sizes: list[int] = []
    original = embedding_model.embeddings
    with monkeypatch.context() as patched:
        patched.setattr(
            embedding_model,
            "embeddings",
            lambda m, texts, n: sizes.append(len(texts)) or original(m, texts, n),
        )
        patched.setattr("arrbench_rankers.dual_encoder.BLOCK", 3)
        other = approximate(ranker, split)
    assert sizes == [3, 3, 2]
    for ours, theirs in zip(other.rank(split.queries, 8), ranker.rank(split.queries, 8), strict=True):
        assert ours.ids == theirs.ids
        assert ours.scores == pytest.approx(theirs.scores, rel=1e-4)


def test_what_an_index_does_not_find_is_left_out(ranker, split) -> None:
    class Short:
        def search(self, queries, k):
            return np.array([[2.0, -np.inf], [2.0, 1.0]]), np.array([[3, -1], [1, 0]])

    other = approximate(ranker, split)
    other._index = Short()
    assert [list(r.ids) for r in other.rank(split.queries[:2], 2)] == [["d-whale"], ["d-cat", "d-dog"]]


def test_no_epochs_and_queries_without_an_answer(split) -> None:
    unjudged = replace(split, queries=(*split.queries, Query("none", "nothing")))
    ranker = DualEncoder(OPTIONS.model_copy(update={"epochs": 0}), Context())
    ranker.fit(unjudged, replace(split, queries=()))
    ranker.index(split.corpus)
    assert len(ranker.rank(split.queries[:1], 3)[0].ids) == 3


def test_half_precision_ranks(split) -> None:
    ranker = DualEncoder(OPTIONS.model_copy(update={"epochs": 2}), Context(dtype="bfloat16"))
    ranker.fit(split, split)
    ranker.index(split.corpus)
    assert ranker._model.dtype == torch.bfloat16
    assert np.isfinite(ranker.rank(split.queries, 3)[0].scores).all()


def test_without_faiss_the_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "arrbench_rankers.dual_encoder.find_spec", lambda n: None if n == "faiss" else found(n)
    )
    with pytest.raises(UsageError, match=r"arrbench\[cpu\].*arrbench\[gpu\]"):
        DualEncoder(OPTIONS, Context())


def test_batches_are_of_similar_length_and_cover_everything() -> None:
    lengths = [3, 900, 5, 2000, 4, 900]
    batches = list(by_length(lengths, torch.device("cpu")))
    assert batches[:3] == [[3], [1], [5]]
    assert sorted(i for batch in batches for i in batch) == list(range(6))
    assert padded([[1, 2], [3]], 9, torch.device("cpu")).tolist() == [[1, 2], [3, 9]]


def test_tokens_are_the_tokenizers_own(ranker) -> None:
    tokenizer = ranker._model.tokenizer
    texts = ["dog: number 1", "", "cat"]
    assert token_ids(tokenizer, texts, 99) == tokenizer(texts).input_ids
    assert token_ids(tokenizer, texts[:1], 2) == [tokenizer(texts[0]).input_ids[:2]]
