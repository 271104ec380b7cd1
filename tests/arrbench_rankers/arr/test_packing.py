"""A tree packed behind its prompt is read as if every docID had a row of its own."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from arrbench_rankers.arr.packing import Row, collate, edge_log_probs, longest_row
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


def packed(model):
    rows = [Row(prompt, PrefixTree.build(docids)) for prompt, docids in LISTS]
    batch = collate(rows, pad=0)
    targets = torch.zeros(batch["parents"].shape)
    for i, row in enumerate(rows):
        found = edge_targets(row.tree, item_weights(len(row.tree.paths), "fractional", 1), None)
        targets[i, : len(found) - 1] = torch.from_numpy(found[1:])
    return stoical_loss(edge_log_probs(model, batch), targets)


def a_row_a_docid(model):
    """The naive twin: every docID alone behind its prompt, without mask, positions or tree."""
    losses = []
    for prompt, docids in LISTS:
        loss = 0.0
        for docid, weight in zip(docids, item_weights(len(docids), "fractional", 1), strict=True):
            log_probs = model(torch.tensor([[*prompt, *docid]])).logits[0].log_softmax(-1)
            at = torch.arange(len(prompt) - 1, len(prompt) + len(docid) - 1)
            loss = loss - weight * log_probs[at, torch.tensor(docid)].sum()
        losses.append(loss)
    return torch.stack(losses).mean()


def gradient(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("attention", [None, "eager"])
@pytest.mark.parametrize("family", FAMILIES + WINDOWED)
def test_loss_and_gradient_equal_a_row_a_docid(small_lm, family, attention):
    model = small_lm(family, attention)
    ours, naive = packed(model), a_row_a_docid(model)
    assert ours.item() == pytest.approx(naive.item(), rel=1e-4)
    one, other = gradient(model, packed(model)), gradient(model, naive)
    assert other.norm() > 0
    assert (one - other).norm() <= 1e-4 * other.norm()


def test_a_row_by_hand():
    prompt, tree = [1, 7, 3], PrefixTree.build([(10, END), (10, 11, END)])
    batch = collate([Row(prompt, tree), Row([1, 8, 9, 3], PrefixTree.build([(12, END)]))], pad=0)
    assert batch["input_ids"].tolist() == [[0, 1, 7, 3, 10, 11], [1, 8, 9, 3, 12, 0]]
    assert batch["position_ids"].tolist() == [[0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 0]]
    assert batch["visible"][0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 1, 1, 1, 1, 1],
    ]
    assert batch["keep"].tolist() == [3, 4, 5]
    assert batch["parents"].tolist() == [[0, 1, 1, 2], [0, 1, 0, 0]]
    assert batch["tokens"].tolist() == [[10, END, 11, END], [12, END, 0, 0]]


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
