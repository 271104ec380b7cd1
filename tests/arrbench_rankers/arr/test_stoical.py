"""The SToICaL loss: by hand, against its definition item by item, and at its limits."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig

from arrbench_rankers.arr.packing import Row, collate, edge_log_probs
from arrbench_rankers.arr.stoical import edge_targets, item_weights, stoical_loss
from arrbench_rankers.arr.trie import PrefixTree

END = 4
ranked_lists = st.lists(
    st.lists(st.integers(0, 3), max_size=3).map(lambda tokens: (*tokens, END)),
    unique=True,
    min_size=1,
    max_size=7,
)
items = st.sampled_from(["fractional", "stepwise", "top1"])
exponents = st.floats(0, 5)
betas = st.none() | exponents


def by_definition(docids, item, alpha, beta, log_p):
    """Σ_r λ(r) Σ_t CE(y(r, t), p), token by token; log_p(prefix) -> [vocabulary]."""
    n, loss = len(docids), 0.0
    for r, docid in enumerate(docids, 1):
        weight = {"fractional": r**-alpha, "stepwise": (n - r + 1) / n, "top1": float(r == 1)}[item]
        for t, token in enumerate(docid):
            prefix = docid[:t]
            if beta is None:
                y = {token: 1.0}
            else:
                mass = {}
                for rank, other in enumerate(docids, 1):
                    if other[:t] == prefix:
                        mass[other[t]] = mass.get(other[t], 0.0) + rank**-beta
                y = {v: m / sum(mass.values()) for v, m in mass.items()}
            loss -= weight * sum(share * log_p(prefix)[v] for v, share in y.items())
    return loss


def by_edges(docids, item, alpha, beta, log_p):
    tree = PrefixTree.build(docids)
    targets = edge_targets(tree, item_weights(len(docids), item, alpha), beta)
    prefix = [()] * len(tree)
    for node in range(1, len(tree)):
        prefix[node] = (*prefix[tree.parent[node]], int(tree.token[node]))
    edges = [log_p(prefix[node][:-1])[prefix[node][-1]] for node in range(1, len(tree))]
    return stoical_loss(torch.tensor(edges), torch.from_numpy(targets[1:]), queries=1).item()


def random_model(seed):
    """A p(· | prefix) drawn once for every prefix."""

    def log_p(prefix):
        return np.log(np.random.default_rng([seed, len(prefix), *prefix]).dirichlet(np.ones(END + 1)))

    return log_p


def test_two_steps_by_hand():
    # ranked: "0 1", then "0 2"; p(0) = 1/2, p(1 | 0) = 1/4, p(2 | 0) = 1/8; the leaf's end is certain
    tables = {(): [0.5, 0.2, 0.2, 0.1], (0,): [0.5, 0.25, 0.125, 0.125]}
    ranked = [(0, 1), (0, 2)]

    def log_p(prefix):
        return np.log(tables[prefix])

    ln2 = math.log(2)
    # α = 1: λ = 1, 1/2. One-hot: 1·(ln2 + 2 ln2) + 1/2·(ln2 + 3 ln2) = 5 ln2
    assert by_edges(ranked, "fractional", 1, None, log_p) == pytest.approx(5 * ln2)
    # β = 1: y(·, 2) = (2/3, 1/3) on tokens 1, 2: 3/2·ln2 + 3/2·(2/3·2 + 1/3·3) ln2 = 5 ln2
    assert by_edges(ranked, "fractional", 1, 1.0, log_p) == pytest.approx(1.5 * ln2 + 1.5 * (4 / 3 + 1) * ln2)
    # top-1 item with β = 1: ln2 + (2/3·2 + 1/3·3) ln2
    assert by_edges(ranked, "top1", 1, 1.0, log_p) == pytest.approx(ln2 + (4 / 3 + 1) * ln2)
    # stepwise: λ = 1, 1/2 as well for n = 2
    assert by_edges(ranked, "stepwise", 0, None, log_p) == pytest.approx(5 * ln2)
    # NTP: the top document alone
    assert by_edges(ranked, "top1", 0, None, log_p) == pytest.approx(3 * ln2)


@pytest.mark.parametrize(
    ("item", "alpha", "weights"),
    [
        ("fractional", 1, [1, 1 / 2, 1 / 3, 1 / 4]),
        ("fractional", 2, [1, 1 / 4, 1 / 9, 1 / 16]),
        ("fractional", 0, [1, 1, 1, 1]),
        ("stepwise", 2, [1, 3 / 4, 2 / 4, 1 / 4]),
        ("top1", 2, [1, 0, 0, 0]),
    ],
)
def test_item_weights(item, alpha, weights):
    assert item_weights(4, item, alpha) == pytest.approx(weights)
    assert item_weights(4, item, alpha, top=3) == pytest.approx([3 * weights[0], *weights[1:]])


@given(ranked_lists, items, exponents, betas, st.integers(0, 9))
def test_the_sum_over_edges_is_the_paper_s_sum_over_items_and_tokens(docids, item, alpha, beta, seed):
    log_p = random_model(seed)
    expected = by_definition(docids, item, alpha, beta, log_p)
    assert by_edges(docids, item, alpha, beta, log_p) == pytest.approx(expected)


@given(ranked_lists, st.integers(0, 9))
def test_alpha_to_infinity_with_one_hot_targets_is_ntp_on_the_top_document(docids, seed):
    log_p = random_model(seed)
    ntp = -sum(log_p(docids[0][:t])[token] for t, token in enumerate(docids[0]))
    assert by_edges(docids, "fractional", 1e4, None, log_p) == pytest.approx(ntp, rel=1e-12)
    assert by_edges(docids, "top1", 0, None, log_p) == pytest.approx(ntp, rel=1e-12)


@given(ranked_lists, exponents, st.sampled_from([2e3, 1e6]))
def test_beta_to_infinity_puts_all_mass_on_the_best_ranked_docid_through_the_prefix(docids, alpha, beta):
    tree = PrefixTree.build(docids)
    weights = item_weights(len(docids), "fractional", alpha)
    targets = edge_targets(tree, weights, beta)
    reaching = edge_targets(tree, weights, None)
    reaching[0] = weights.sum()
    for u in np.flatnonzero(np.diff(tree.first_child)):
        children = np.arange(tree.first_child[u], tree.first_child[u + 1])
        through = tree.paths if u == 0 else tree.paths[(tree.paths == u).any(1)]
        (best,) = set(through[0]) & set(children)
        assert targets[best] == pytest.approx(reaching[u])
        assert targets[children].sum() == pytest.approx(reaching[u])


@given(ranked_lists, items, exponents, exponents)
def test_every_prefix_s_targets_sum_to_the_weight_of_the_items_through_it(docids, item, alpha, beta):
    tree = PrefixTree.build(docids)
    weights = item_weights(len(docids), item, alpha)
    targets = edge_targets(tree, weights, beta)
    assert targets[0] == 0
    for u in np.flatnonzero(np.diff(tree.first_child)):
        reaching = weights.sum() if u == 0 else weights[(tree.paths == u).any(1)].sum()
        assert targets[tree.first_child[u] : tree.first_child[u + 1]].sum() == pytest.approx(reaching)


@pytest.mark.parametrize("beta", [None, 0.0, 3.0])
def test_one_docid_has_one_hot_targets_whatever_beta(beta):
    tree = PrefixTree.build([(0, 1, END)])
    assert edge_targets(tree, item_weights(1, "fractional", 2), beta).tolist() == [0, 1, 1, 1]


def test_docids_that_begin_one_another_share_the_mass_at_the_fork():
    tree = PrefixTree.build([(0, END), (0, 1, END)])  # "dog", then "dog house"
    targets = edge_targets(tree, item_weights(2, "fractional", 0), 1.0)
    # both items' 2 come to the fork, where END (rank 1) has mass 1 and token 1 (rank 2) mass 1/2
    assert tree.token.tolist() == [-1, 0, 1, END, END]
    assert targets == pytest.approx([0, 2, 2 / 3, 4 / 3, 1])


@given(ranked_lists, ranked_lists, items, exponents, betas)
def test_documents_that_are_not_ranked_have_no_target_and_change_none(docids, others, item, alpha, beta):
    weights = item_weights(len(docids), item, alpha)
    joined = PrefixTree.build([*docids, *(other for other in others if other not in docids)])
    alone = PrefixTree.build(docids)
    targets = edge_targets(joined, weights, beta)
    shared = joined.paths[: len(docids), : alone.paths.shape[1]]
    np.testing.assert_allclose(targets[shared], edge_targets(alone, weights, beta)[alone.paths])
    assert np.count_nonzero(targets) == np.count_nonzero(edge_targets(alone, weights, beta))


class TableModel(torch.nn.Module):
    """Logits by place of a line, for the gradient to be checked against finite differences."""

    dtype = torch.float64
    config = LlamaConfig()

    def __init__(self, logits):
        super().__init__()
        self.logits, self.head = logits, torch.nn.Identity()

    def get_output_embeddings(self):
        return self.head

    def forward(self, **_):
        return SimpleNamespace(logits=self.head(self.logits))


@pytest.mark.parametrize("beta", [None, 1.0])
def test_the_gradient_of_the_loss(beta):
    torch.manual_seed(0)
    docids = [[(0, END), (0, 1, END), (2, END)], [(3, 3, END)]]
    trees = [PrefixTree.build(ranked) for ranked in docids]
    batch = collate([Row([0], trees[0]), Row([1, 2], trees[1])], pad=0)
    weights = [item_weights(len(tree.paths), "fractional", 1) for tree in trees]
    found = [edge_targets(tree, each, beta)[1:] for tree, each in zip(trees, weights, strict=True)]
    targets = torch.from_numpy(np.concatenate(found))
    logits = torch.randn(*batch["input_ids"].shape, END + 1, dtype=torch.float64, requires_grad=True)

    def loss(values):
        return stoical_loss(edge_log_probs(TableModel(values), batch), targets, queries=2)

    assert torch.autograd.gradcheck(loss, (logits,))


@given(ranked_lists, st.floats(0.0, 5.0))
def test_fractional_weights_with_beta_equal_to_alpha_are_one_hot_targets(docids, alpha):
    tree = PrefixTree.build(docids)
    weights = item_weights(len(docids), "fractional", alpha)
    np.testing.assert_allclose(
        edge_targets(tree, weights, alpha), edge_targets(tree, weights, None), rtol=1e-9
    )
