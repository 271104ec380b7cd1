"""Best-first and beam search against exhaustive and naive ones in trees small enough for them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arrbench.errors import UsageError
from arrbench_rankers.arr.best_first import beam, best_first, search
from arrbench_rankers.arr.search_order import ByScore
from arrbench_rankers.arr.tree_tensors import TreeTensors
from arrbench_rankers.arr.trie import PrefixTree

END = 2
FAMILIES = ("falcon", "gemma", "gpt2", "gpt_neox", "granite", "llama", "mistral", "olmo2", "opt", "phi3")
WINDOWED = ("gemma3_text", "llama4_text", "mistral-windowed", "qwen3")
PROMPTS = [[1, 7, 8, 3], [1, 3], [1, 9, 10, 11, 12, 3]]
docid_lists = st.lists(
    st.lists(st.integers(10, 16), min_size=1, max_size=4).map(lambda tokens: (*tokens, END)),
    unique=True,
    min_size=1,
    max_size=15,
)
open_ = st.lists(  # without an end token, so that some begin others
    st.lists(st.integers(10, 13), min_size=1, max_size=4).map(tuple), unique=True, min_size=1, max_size=15
)


@pytest.fixture(scope="module")
def model(small_lm):
    return small_lm("llama")


def found(model, docids, limits, normalise="vocabulary", mean=False, prompts=PROMPTS):
    tree = PrefixTree.build(docids)
    vocabulary = model.config.vocab_size
    there = TreeTensors(tree, vocabulary, model.device, normalise == "tree", mean)
    return search(model, prompts, there, ByScore(), limits)


def naive_scores(model, prompt, docids, normalise="vocabulary", mean=False):
    """One forward pass a docID; with normalise=tree, tokens compete with their siblings alone."""
    scores = []
    for docid in docids:
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *docid[:-1]]])).logits[0, len(prompt) - 1 :]
        total = 0.0
        for t, token in enumerate(docid):
            siblings = sorted({d[t] for d in docids if d[:t] == docid[:t] and len(d) > t})
            against = logits[t, siblings] if normalise == "tree" else logits[t]
            total += (logits[t, token] - against.logsumexp(0)).item()
        scores.append(total / len(docid) if mean else total)
    return np.array(scores)


@settings(max_examples=40, deadline=None)
@given(
    docid_lists | open_,
    st.integers(1, 16),
    st.integers(1, 24),
    st.sampled_from(["vocabulary", "tree"]),
    st.booleans(),
)
def test_the_best_are_those_of_an_exhaustive_search_and_proved(model, docids, k, block, normalise, mean):
    for prompt, one in zip(
        PROMPTS, found(model, docids, best_first(k, block, 2000), normalise, mean), strict=True
    ):
        exact = naive_scores(model, prompt, docids, normalise, mean)
        assert one.exact
        assert one.gap == 0
        assert one.certified == len(one.documents) == min(k, len(docids))
        assert one.scores == pytest.approx(-np.sort(-exact)[:k], abs=1e-4)
        assert one.scores == pytest.approx(exact[one.documents], abs=1e-4)
        assert len(set(one.documents)) == len(one.documents)


@settings(max_examples=40, deadline=None)
@given(docid_lists | open_, st.integers(1, 8), st.integers(1, 20), st.integers(0, 12), st.booleans())
def test_with_its_budget_spent_it_certifies_true_places_alone(model, docids, k, block, budget, mean):
    for prompt, one in zip(
        PROMPTS, found(model, docids, best_first(k, block, budget), mean=mean), strict=True
    ):
        exact = naive_scores(model, prompt, docids, mean=mean)
        best = -np.sort(-exact)
        assert one.scores[: one.certified] == pytest.approx(best[: one.certified], abs=1e-4)
        assert one.scores == pytest.approx(exact[one.documents], abs=1e-4)
        assert len(one.documents) == min(k, len(docids))
        assert one.exact == (one.certified == len(one.documents)) == (one.gap == 0)
        if not one.exact:  # no docID can be better than the best open bound
            missed = np.delete(exact, one.documents)
            assert max(missed, default=-np.inf) <= one.scores[-1] + one.gap + 1e-4


def test_what_is_read_grows_with_what_is_asked_for(model):
    docids = [(10 + a, 10 + b, 10 + c, END) for a in range(6) for b in range(6) for c in range(6)]
    nodes = [found(model, docids, best_first(k, 4, 2000))[0].nodes for k in (1, 10, 216)]
    assert nodes == sorted(nodes)
    assert nodes[0] < 100
    assert nodes[-1] == 6 + 36 + 216
    spent = found(model, docids, best_first(50, 4, 30))[0]
    assert not spent.exact


def test_where_a_budget_finishes_too_few_a_beam_finishes_the_others(model):
    docids = [(10 + a, 10 + b, 10 + c, END) for a in range(6) for b in range(6) for c in range(6)]
    for one in found(model, docids, best_first(20, 4, 6)):
        assert len(one.documents) == 20
        assert 6 < one.nodes <= 6 + 3 * 20


@pytest.mark.parametrize("family", FAMILIES + WINDOWED)
def test_every_family_reads_nodes_behind_its_cache_as_it_reads_rows(small_lm, family):
    model = small_lm(family)
    docids = [(10, 11, END), (10, END), (12, 13, 14, END), (10, 11, 15, END), (16, END)]
    for prompt, one in zip(PROMPTS, found(model, docids, best_first(5, 2, 100)), strict=True):
        exact = naive_scores(model, prompt, docids)
        assert one.scores == pytest.approx(-np.sort(-exact), rel=1e-4, abs=1e-4)


def naive_beam(model, prompt, docids, width):
    """One prefix and one forward pass at a time; what ends is kept apart."""
    beams, ended = [((), 0.0)], []
    while beams:
        longer = []
        for prefix, score in beams:
            with torch.no_grad():
                log_probs = model(torch.tensor([[*prompt, *prefix]])).logits[0, -1].log_softmax(-1)
            below = {docid[: len(prefix) + 1] for docid in docids if docid[: len(prefix)] == prefix}
            longer += [(child, score + log_probs[child[-1]].item()) for child in below if child != prefix]
        ended += [(score, docids.index(child)) for child, score in longer if child in docids]
        beams = sorted((b for b in longer if b[0] not in docids), key=lambda b: -b[1])[:width]
    return sorted(ended, reverse=True)


@settings(max_examples=20, deadline=None)
@given(docid_lists, st.integers(1, 4), st.integers(1, 6))
def test_a_beam_finds_what_a_naive_one_does(model, docids, width, keep):
    for prompt, one in zip(PROMPTS, found(model, docids, beam(keep, width)), strict=True):
        expected = naive_beam(model, prompt, docids, width)[:keep]
        assert one.documents.tolist() == [document for _, document in expected]
        assert one.scores == pytest.approx([score for score, _ in expected], abs=1e-4)
        best = -np.sort(-naive_scores(model, prompt, docids))
        assert one.scores[: one.certified] == pytest.approx(best[: one.certified], abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(docid_lists, st.integers(1, 16), st.sampled_from([2, 2000]))
def test_a_query_s_result_does_not_depend_on_its_batch(model, docids, block, budget):
    limits = best_first(5, block, budget)
    prompts = PROMPTS * 2
    for prompt, one in zip(prompts, found(model, docids, limits, prompts=prompts), strict=True):
        (alone,) = found(model, docids, limits, prompts=[prompt])
        assert one.documents.tolist() == alone.documents.tolist()
        assert one.scores == pytest.approx(alone.scores, abs=1e-4)
        assert (one.certified, one.exact, one.nodes, one.forwards) == (
            alone.certified,
            alone.exact,
            alone.nodes,
            alone.forwards,
        )


def test_predictions_that_are_no_numbers_are_refused(small_lm):
    model = small_lm("llama")
    model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(UsageError, match="not finite"):
        found(model, [(10, END), (11, 12, END)], best_first(2, 4, 100))


def test_nothing_to_find(model):
    (nothing,) = found(model, [], best_first(5, 4, 100), prompts=[[1]])
    assert nothing.exact
    assert not len(nothing.documents)
    (none_wanted,) = found(model, [(10, END)], best_first(0, 4, 100), prompts=[[1]])
    assert none_wanted.exact
    assert not len(none_wanted.documents)
