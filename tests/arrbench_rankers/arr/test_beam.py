"""Beam search against exhaustive search in trees and vocabularies small enough for it."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arrbench_rankers.arr.beam import Search, TreeOnDevice, beam_search
from arrbench_rankers.arr.exact import exact_scores, parts
from arrbench_rankers.arr.trie import PrefixTree

END = 2
PROMPTS = [[1, 7, 8, 3], [1, 3], [1, 9, 10, 11, 12, 3]]
docid_lists = st.lists(
    st.lists(st.integers(10, 16), min_size=1, max_size=4).map(lambda tokens: (*tokens, END)),
    unique=True,
    min_size=1,
    max_size=15,
)


@pytest.fixture(scope="module")
def model(small_lm):
    return small_lm("llama")


def constrained(model, docids, width, keep, mean=False, prompts=PROMPTS):
    tree = PrefixTree.build(docids)
    there = TreeOnDevice(tree, model.config.vocab_size, model.device)
    search = Search(width, keep, int(tree.depth.max()), mean)
    return beam_search(model, prompts, there, there.children, END, search)


@settings(max_examples=15, deadline=None)
@given(docid_lists, st.booleans())
def test_as_wide_as_the_tree_it_is_exhaustive(model, docids, mean):
    expected = exact_scores(model, PROMPTS, [parts(docids, 40)] * 3, mean)
    for (scores, documents), exact in zip(constrained(model, docids, 15, 15, mean), expected, strict=True):
        assert sorted(documents) == list(range(len(docids)))
        assert scores == pytest.approx(exact[documents], abs=1e-4)
        assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize(
    "family",
    ["falcon", "gemma3_text", "gpt2", "gpt_neox", "llama", "llama4_text", "mistral-windowed", "opt", "qwen3"],
)
def test_every_family_reads_beams_behind_its_cache_as_it_reads_rows(small_lm, family):
    model = small_lm(family)
    docids = [(10, 11, END), (10, END), (12, 13, 14, END), (10, 11, 15, END), (16, END)]
    expected = exact_scores(model, PROMPTS, [parts(docids, 40)] * 3, mean=False)
    for (scores, documents), exact in zip(constrained(model, docids, 5, 5), expected, strict=True):
        assert scores == pytest.approx(exact[documents], rel=1e-4, abs=1e-4)


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


@settings(max_examples=15, deadline=None)
@given(docid_lists, st.integers(1, 4), st.integers(1, 6))
def test_a_narrow_beam_finds_what_a_naive_one_does(model, docids, width, keep):
    for prompt, (scores, documents) in zip(PROMPTS, constrained(model, docids, width, keep), strict=True):
        expected = naive_beam(model, prompt, docids, width)[:keep]
        assert documents.tolist() == [document for _, document in expected]
        assert scores == pytest.approx([score for score, _ in expected], abs=1e-4)


@settings(max_examples=10, deadline=None)
@given(docid_lists, st.integers(2, 5))
def test_a_query_s_result_does_not_depend_on_its_batch(model, docids, width):
    together = constrained(model, docids, width, 5)
    for prompt, (scores, documents) in zip(PROMPTS, together, strict=True):
        ((alone, the_same),) = constrained(model, docids, width, 5, prompts=[prompt])
        assert documents.tolist() == the_same.tolist()
        assert scores == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("tokens", [1, 2])
def test_without_a_tree_it_is_exhaustive_over_the_vocabulary(small_lm, tokens):
    model = small_lm("llama", vocab_size=13)
    docids = [(10, END), (11, END), (11, 12, END)]
    there = TreeOnDevice(PrefixTree.build(docids), 13, model.device)
    found = beam_search(model, PROMPTS, there, there.everything, END, Search(13, 8, tokens, False))
    open_or_ended = [
        sequence
        for n in range(1, tokens + 1)
        for sequence in itertools.product(range(13), repeat=n)
        if END not in sequence[:-1] and (sequence[-1] == END or n == tokens)
    ]
    for prompt, (scores, documents) in zip(PROMPTS, found, strict=True):
        exact = exact_scores(model, [prompt], [parts(open_or_ended, 13)], mean=False)[0]
        best = np.argsort(-exact)[:8]
        assert scores == pytest.approx(exact[best], abs=1e-4)
        spelt = [docids.index(s) if s in docids else -1 for s in (open_or_ended[i] for i in best)]
        assert documents.tolist() == spelt


def test_steps_from_nodes_to_children():
    tree = PrefixTree.build([(10, END), (10, 11, END), (12, END)])
    there = TreeOnDevice(tree, 40, torch.device("cpu"))
    nodes = torch.tensor([[0, 1, -1], [2, -1, -1]])  # root, 10, none; 12, none, none
    beams, tokens, real = there.children(nodes)
    allowed = [
        [(b, t) for b, t, r in zip(*row, strict=True) if r]
        for row in zip(beams.tolist(), tokens.tolist(), real.tolist(), strict=True)
    ]
    assert allowed == [[(0, 10), (0, 12), (1, END), (1, 11)], [(0, END)]]
    assert there.child(torch.tensor([0, 0, 1, -1, 0]), torch.tensor([10, 11, 11, 10, 39])).tolist() == [
        1,
        -1,
        4,
        -1,
        -1,
    ]
    assert there.documents(torch.tensor([3, 4, -1])).tolist() == [0, -1, -1]
