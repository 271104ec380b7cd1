"""Exact scores against one forward pass a candidate."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arrbench_rankers.arr import exact
from arrbench_rankers.arr.exact import exact_scores, parts

END = 2
docid_lists = st.lists(
    st.lists(st.integers(10, 16), min_size=1, max_size=4).map(lambda tokens: (*tokens, END)),
    unique=True,
    min_size=1,
    max_size=15,
)
prompts = st.lists(st.lists(st.integers(3, 39), min_size=1, max_size=8), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def model(small_lm):
    return small_lm("llama")


def one_forward_a_candidate(model, prompt, docid):
    with torch.no_grad():
        log_probs = model(torch.tensor([[*prompt, *docid]])).logits[0].log_softmax(-1)
    return sum(log_probs[len(prompt) - 1 + t, token].item() for t, token in enumerate(docid))


@settings(max_examples=15, deadline=None)
@given(docid_lists, prompts)
def test_scores_equal_one_forward_a_candidate(model, docids, prompts):
    found = exact_scores(model, prompts, [parts(docids, 40)] * len(prompts), mean=False)
    for prompt, scores in zip(prompts, found, strict=True):
        expected = [one_forward_a_candidate(model, prompt, docid) for docid in docids]
        assert scores == pytest.approx(expected, abs=1e-4)


def test_a_mean_is_over_the_docid_s_tokens_end_included(model):
    docids = [(10, END), (10, 11, 12, END)]
    (sums,) = exact_scores(model, [[5, 3]], [parts(docids, 40)], mean=False)
    (means,) = exact_scores(model, [[5, 3]], [parts(docids, 40)], mean=True)
    assert means == pytest.approx(sums / [2, 4])


def test_each_query_may_have_documents_of_its_own(model):
    lists = [[(10, END)], [(11, END), (12, 13, END)], []]
    found = exact_scores(model, [[5, 3], [6, 7, 3], [3]], [parts(docids, 40) for docids in lists], mean=False)
    assert [len(scores) for scores in found] == [1, 2, 0]
    assert found[1][1] == pytest.approx(one_forward_a_candidate(model, [6, 7, 3], (12, 13, END)), abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(docid_lists, prompts, st.integers(40, 2000))
def test_a_small_memory_budget_cuts_the_work_and_changes_no_score(model, docids, prompts, floats):
    whole = exact_scores(model, prompts, [parts(docids, 40)] * len(prompts), mean=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "FLOATS", floats)
        cut = parts(docids, 40)
        assert sorted(np.concatenate([part.documents for part in cut])) == list(range(len(docids)))
        most = max(1, floats // 40)
        assert all(len(part.tree.inner) <= max(most, part.tree.lengths.max() - 1) for part in cut)
        found = exact_scores(model, prompts, [cut] * len(prompts), mean=False)
    for one, other in zip(whole, found, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
