"""A tree packed behind its prompt is read as if every docID had a row of its own."""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoConfig

from arrbench_rankers.arr.lm_config import longest_row
from arrbench_rankers.arr.packing import (
    Edges,
    Row,
    collate,
    edge_log_probs,
    visible,
)
from arrbench_rankers.arr.stoical import edge_targets, item_weights, stoical_loss
from arrbench_rankers.arr.trie import PrefixTree

END = 2
FAMILIES = (
    "falcon",
    "gemma",
    "gpt2",
    "gpt_neox",
    "granite",
    "llama",
    "mistral",
    "olmo2",
    "opt",
    "phi3",
    "qwen2",
)
WINDOWED = ("gemma2", "gemma3_text", "gpt_oss", "llama4_text", "mistral-windowed", "qwen3")
LISTS = [
    ([1, 7, 8, 9, 3], [(10, 11, END), (10, END), (12, 13, 14, END), (10, 11, 15, END), (16, END)]),
    ([1, 3], [(20, END)]),
    ([1, 5, 6, 7, 8, 9, 30, 31, 3], [(11, 10, END), (10, 11, END)]),
]
ranked_lists = st.lists(
    st.lists(st.integers(10, 15), min_size=1, max_size=4).map(lambda tokens: (*tokens, END)),
    unique=True,
    min_size=1,
    max_size=8,
)
prompts = st.lists(st.integers(3, 39), min_size=1, max_size=8)
asked = st.lists(st.tuples(prompts, ranked_lists), min_size=1, max_size=6)
widths = st.sampled_from([0, 20, 50, 200])


def packed(model, lists, item="fractional", alpha=1.0, beta=None, width=50):
    """The loss over rows that share lines, edges of weight 0 left out."""
    rows, targets = [], []
    for prompt, docids in lists:
        tree = PrefixTree.build(docids)
        found = edge_targets(tree, item_weights(len(docids), item, alpha), beta)
        nodes = np.flatnonzero(found)
        rows.append(Row(prompt, tree, Edges(tree.parent[nodes], tree.token[nodes])))
        targets.append(torch.from_numpy(found[nodes]))
    log_probs = edge_log_probs(model, collate(rows, pad=0, width=width))
    return stoical_loss(log_probs, torch.cat(targets).float(), len(rows))


def a_row_a_docid(model, lists, item="fractional", alpha=1.0, beta=None):
    """The naive twin: every docID alone behind its prompt, without mask, positions or tree."""
    losses = []
    for prompt, docids in lists:
        loss = 0.0
        for docid, weight in zip(docids, item_weights(len(docids), item, alpha), strict=True):
            log_probs = model(torch.tensor([[*prompt, *docid]])).logits[0].log_softmax(-1)
            for t, token in enumerate(docid):
                target = {token: 1.0}
                if beta is not None:
                    through = [(r, d[t]) for r, d in enumerate(docids, 1) if d[:t] == docid[:t]]
                    mass = sum(r**-beta for r, _ in through)
                    target = {v: sum(r**-beta for r, w in through if w == v) / mass for _, v in through}
                at = log_probs[len(prompt) - 1 + t]
                loss = loss - weight * sum(share * at[v] for v, share in target.items())
        losses.append(loss)
    return torch.stack(losses).mean()


def gradient(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def assert_equal_with_gradients(model, ours, naive):
    assert ours.item() == pytest.approx(naive.item(), rel=1e-4)
    one, other = gradient(model, ours), gradient(model, naive)
    assert other.norm() > 0
    assert (one - other).norm() <= 1e-4 * other.norm()


@pytest.mark.parametrize("attention", [None, "eager"])
@pytest.mark.parametrize("family", FAMILIES + WINDOWED)
def test_loss_and_gradient_equal_a_row_a_docid_in_every_family(small_lm, family, attention):
    model = small_lm(family, attention)
    assert_equal_with_gradients(model, packed(model, LISTS), a_row_a_docid(model, LISTS))


@settings(max_examples=30, deadline=None)
@given(
    asked,
    st.sampled_from(["fractional", "stepwise", "top1"]),
    st.floats(0, 4),
    st.none() | st.floats(0, 4),
    widths,
)
def test_loss_and_gradient_equal_the_paper_s_sum_over_items_and_tokens(
    llama, lists, item, alpha, beta, width
):
    ours = packed(llama, lists, item, alpha, beta, width)
    assert_equal_with_gradients(llama, ours, a_row_a_docid(llama, lists, item, alpha, beta))


@pytest.fixture(scope="module")
def llama(small_lm):
    return small_lm("llama")


def seen(batch, line):
    return visible(batch["stops"])[line].int().tolist()


def test_rows_of_a_line_by_hand():
    # nodes, depth first: 10, 11 | 12
    rows = [
        Row([7, 3], PrefixTree.build([(10, 11, END), (10, END)])),
        Row([3], PrefixTree.build([(12, END)])),
    ]
    batch = collate(rows, pad=0, width=7)
    assert batch["input_ids"].tolist() == [[7, 3, 10, 11, 3, 12]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 0, 1]]
    assert seen(batch, 0) == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]
    assert batch["read"].tolist() == [1, 2, 3, 4, 5]
    assert batch["parents"].tolist() == [0, 1, 1, 2, 3, 4]
    assert batch["tokens"].tolist() == [10, END, 11, END, 12, END]
    assert batch["counts"].tolist() == [4, 2]


def test_branches_do_not_see_each_other_nor_padding():
    rows = [Row([3], PrefixTree.build([(10, END), (11, END)])), Row([3], PrefixTree.build([(10, END)]))]
    batch = collate(rows, pad=0, width=0)
    assert batch["input_ids"].tolist() == [[3, 10, 11], [3, 10, 0]]
    assert seen(batch, 0) == [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    assert seen(batch, 1) == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert batch["read"].tolist() == [0, 1, 2, 3, 4]


def test_nodes_below_which_nothing_is_asked_for_are_not_read():
    tree = PrefixTree.build([(10, 11, 12, END), (13, 14, END), (10, 15, 16, END)])
    (below,) = np.flatnonzero(tree.token == 15)
    batch = collate([Row([3], tree, Edges(np.array([below]), np.array([16])))], pad=0)
    assert batch["input_ids"].tolist() == [[3, 10, 15]]  # 10 is read for 15, and predicts nothing
    assert batch["read"].tolist() == [0, 2]
    assert (batch["parents"].tolist(), batch["tokens"].tolist()) == ([1], [16])


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 60))
def test_lines_are_as_few_as_asked_and_even(lengths, width):
    rows = [Row([5] * length, PrefixTree.build([])) for length in lengths]
    batch = collate(rows, pad=0, width=width)
    lines, widest = batch["input_ids"].shape
    filled = (batch["input_ids"] == 5).sum(1)
    assert filled.sum() == sum(lengths)
    assert lines == -(-sum(lengths) // max(width, max(lengths)))
    assert widest == filled.max() <= sum(lengths) / lines + max(lengths)


def test_only_asked_for_predictions_are_projected_on_the_vocabulary(llama):
    batch = collate([Row(prompt, PrefixTree.build(docids)) for prompt, docids in LISTS], pad=0)
    projected = []
    handle = llama.lm_head.register_forward_hook(lambda _, inputs, output: projected.append(output.shape))
    try:
        edge_log_probs(llama, batch)
    finally:
        handle.remove()
    assert projected == [(1, len(batch["read"]), 40)]
    assert llama(torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, 40)  # afterwards as before


def adapted(model):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=True))


@contextmanager
def spread(model):
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield DistributedDataParallel(model)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("wrapped", [lambda model: nullcontext(adapted(model)), spread])
def test_a_wrapped_model_reads_what_the_model_itself_does(small_lm, wrapped):
    batch = collate([Row(prompt, PrefixTree.build(docids)) for prompt, docids in LISTS], pad=0)
    expected = edge_log_probs(small_lm("llama"), batch)
    with wrapped(small_lm("llama")) as model:
        found = edge_log_probs(model, batch)
        found.sum().backward()
        assert any(p.grad is not None for p in model.parameters())
    assert torch.allclose(found, expected, atol=1e-5)


def test_half_precision_scores_are_finite(small_lm):
    model = small_lm("llama").to(torch.bfloat16)
    rows = [Row(prompt, PrefixTree.build(docids)) for prompt, docids in LISTS]
    log_probs = edge_log_probs(model, collate(rows, pad=0))
    assert log_probs.dtype == torch.float32
    assert np.isfinite(log_probs.detach().numpy()).all()


@pytest.mark.parametrize(
    ("kind", "config", "longest"),
    [
        ("llama", {"max_position_embeddings": 512}, 512),
        ("mistral", {"max_position_embeddings": 512, "sliding_window": 100}, 512),
        ("gpt2", {"n_positions": 256}, 256),
        ("mamba", {}, 2048),
    ],
)
def test_a_row_stays_within_the_model_s_positions(kind, config, longest):
    assert longest_row(AutoConfig.for_model(kind, **config)) == longest
