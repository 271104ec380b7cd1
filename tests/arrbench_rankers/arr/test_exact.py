"""Exact scores against one forward pass a candidate."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arrbench.errors import UsageError
from arrbench.ranker import Query
from arrbench_rankers.arr import exact, pass_size
from arrbench_rankers.arr.exact import among_siblings, exact_scores, pieces
from arrbench_rankers.arr.trie import PrefixTree

END = 2
docid_lists = st.lists(  # without a closing token of their own: some begin others
    st.lists(st.integers(10, 14), min_size=1, max_size=5).map(tuple), unique=True, min_size=1, max_size=15
)
prompts = st.lists(st.lists(st.integers(3, 39), min_size=1, max_size=8), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def model(small_lm):
    return small_lm("llama")


def one_forward_a_candidate(model, prompt, docids, mean=False, renormalised=False):
    """The naive twin: each docID alone behind its prompt, without mask, positions, tree or cache."""
    scores = []
    for docid in docids:
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *docid]])).logits[0, len(prompt) - 1 :]
        total = 0.0
        for t, token in enumerate(docid):
            allowed = sorted({d[t] for d in docids if d[:t] == docid[:t] and len(d) > t})
            over = logits[t, allowed] if renormalised else logits[t]
            total += (logits[t, token] - over.logsumexp(-1)).item()
        scores.append(total / len(docid) if mean else total)
    return scores


@settings(max_examples=25, deadline=None)
@given(docid_lists, prompts, st.booleans(), st.booleans())
def test_scores_equal_one_forward_a_candidate(model, docids, prompts, mean, renormalised):
    trees = [PrefixTree.build(docids)] * len(prompts)
    found = exact_scores(model, prompts, trees, mean, renormalised)
    for prompt, scores in zip(prompts, found, strict=True):
        expected = one_forward_a_candidate(model, prompt, docids, mean, renormalised)
        assert scores == pytest.approx(expected, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(docid_lists, prompts, st.integers(1, 6), st.integers(1, 3000), st.booleans())
def test_trees_cut_into_rows_behind_one_prompt_score_alike(
    model, docids, prompts, most, floats, renormalised
):
    trees = [PrefixTree.build(docids)] * len(prompts)
    whole = exact_scores(model, prompts, trees, False, renormalised)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "ROW_NODES", most)
        patch.setattr(pass_size, "CPU_FLOATS", floats)
        cut = exact_scores(model, prompts, trees, False, renormalised)
    for one, other in zip(whole, cut, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(docid_lists, st.integers(1, 8))
def test_every_edge_is_read_once_and_rows_are_bounded(docids, most):
    tree = PrefixTree.build(docids)
    cut = pieces(tree, most)
    assert sorted(np.concatenate(cut)) == list(range(1, len(tree)))
    opened = [np.isin(nodes, tree.inner).sum() for nodes in cut]
    assert max(opened) <= most + int(tree.depth.max())


def test_a_mean_is_over_the_docid_s_tokens_end_included(model):
    tree = PrefixTree.build([(10, END), (10, 11, 12, END)])
    (sums,) = exact_scores(model, [[5, 3]], [tree], mean=False)
    (means,) = exact_scores(model, [[5, 3]], [tree], mean=True)
    assert means == pytest.approx(sums / [2, 4])


def test_each_query_may_have_documents_of_its_own_or_none(model):
    lists = [[(10, END)], [(11, END), (12, 13, END)], []]
    asked = [[5, 3], [6, 7, 3], [3]]
    found = exact_scores(model, asked, [PrefixTree.build(docids) for docids in lists], mean=False)
    assert [len(scores) for scores in found] == [1, 2, 0]
    for prompt, docids, scores in zip(asked, lists, found, strict=True):
        assert scores == pytest.approx(one_forward_a_candidate(model, prompt, docids), abs=1e-4)


def test_a_sole_document_is_certain_among_itself(model):
    (scores,) = exact_scores(model, [[5, 3]], [PrefixTree.build([(10, 11, END)])], False, renormalised=True)
    assert scores == pytest.approx([0.0], abs=1e-6)


def test_siblings_share_a_normaliser():
    tree = PrefixTree.build([(10, END), (10, 11), (12, END)])  # nodes: root, 10, 12, 10 END, 10 11, 12 END
    logits = np.log([1, 2, 6, 3, 1, 5])
    assert np.exp(among_siblings(tree, logits)) == pytest.approx([1, 8, 8, 4, 4, 5])


@pytest.mark.parametrize(
    ("family", "config"),
    [("granite", {"logits_scaling": 4.0}), ("gemma", {}), ("gpt2", {}), ("gpt_neox", {}), ("opt", {})],
)
def test_a_narrowed_head_gives_the_scores_of_the_whole(small_lm, family, config):
    model = small_lm(family, **config)
    docids = [(10, END), (10, 11, END), (20, 12, END)]
    head = model.get_output_embeddings()
    (scores,) = exact_scores(model, [[5, 3]], [PrefixTree.build(docids)], False, renormalised=True)
    expected = one_forward_a_candidate(model, [5, 3], docids, renormalised=True)
    assert scores == pytest.approx(expected, abs=1e-4)
    assert model.get_output_embeddings() is head


class Cramped(torch.nn.Module):
    """A model whose device holds so many rows at a time."""

    def __init__(self, model, rows):
        super().__init__()
        self.inner, self.rows, self.seen = model, rows, []
        self.config, self.device, self.dtype = model.config, model.device, model.dtype
        self.get_output_embeddings = model.get_output_embeddings

    def forward(self, input_ids, **inputs):
        self.seen.append(len(input_ids))
        if len(input_ids) > self.rows:
            raise torch.OutOfMemoryError("out of memory")
        return self.inner(input_ids, **inputs)


def test_a_device_out_of_memory_gets_fewer_rows(model):
    trees = [PrefixTree.build([(10 + i, 11 + j, END) for i in range(9) for j in range(9)])] * 8
    asked = [[i, 5, 3] for i in range(3, 11)]
    times = []
    cramped = Cramped(model, 2)
    found = exact_scores(cramped, asked, trees, False, on_halved=lambda: times.append(1))
    assert len(times) == 2
    assert cramped.seen == [8, 4, 2, 2, 2, 2]
    for one, other in zip(found, exact_scores(model, asked, trees, False), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_a_row_too_large_for_the_device_is_said(model):
    with pytest.raises(UsageError, match="no memory left to score a row of 2 tokens"):
        exact_scores(Cramped(model, 0), [[3]], [PrefixTree.build([(10, END)])], False)


def test_damaged_weights_are_said(small_lm):
    model = small_lm("llama")
    model.lm_head.weight.data[10] = math.nan
    with pytest.raises(UsageError, match="aren't finite"):
        exact_scores(model, [[5, 3]], [PrefixTree.build([(10, END)])], False)


def test_candidates_shown_in_the_prompt_and_named_twice_are_ranked_once_each(trained):
    query = Query("q", "a dog", ("dog", "cat fish", "dog", "animal"))
    prompter = replace(trained._prompter, style="candidates")
    prompts = prompter.write([query], trained._index.name)
    ((ids, scores),) = trained._decoder.rank([query], prompts, 10)
    assert sorted(ids) == ["animal", "cat fish", "dog"]
    docids = trained._index.subset(ids)
    assert scores == pytest.approx(one_forward_a_candidate(trained._model, prompts[0], docids), abs=1e-4)
