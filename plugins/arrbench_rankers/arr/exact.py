"""Exact scores: the summed log-probabilities of every docID of a prefix tree, in as few passes as fit.

A tree that fits one row is read together with its prompt, rows of several queries in one forward pass.
A larger one is cut into rows that share one reading of the prompt, held in the model's cache.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from arrbench.errors import UsageError
from arrbench_rankers.arr.attention import attention_mask
from arrbench_rankers.arr.head import columns, narrowed
from arrbench_rankers.arr.lm_config import padding, vocabulary
from arrbench_rankers.arr.packing import Edges, Row, collate, predicting, visible
from arrbench_rankers.arr.pass_size import FLOATS, in_passes, pass_floats
from arrbench_rankers.arr.reading import ONE_BY_ONE, PACKED, Reading
from arrbench_rankers.arr.trie import Ints, PrefixTree

if TYPE_CHECKING:
    from transformers import DynamicCache

UNCUT = 2**62  # nodes
ROW_NODES = 256  # nodes a row is cut to: attention costs their square, a new row the prompt's keys
CHUNK = 64  # predictions whose normalisers are computed together, within a CPU's caches


@dataclass(frozen=True)
class Piece:
    """The edges into some nodes of a query's tree, to be read in one row."""

    query: int
    nodes: Ints
    row: Row


@torch.inference_mode()
def exact_scores(
    model: Any,
    prompts: Sequence[Sequence[int]],
    trees: Sequence[PrefixTree],
    mean: bool,
    renormalised: bool = False,
    on_halved: Callable[[], None] = lambda: None,
    reading: Reading = PACKED,
) -> list[NDArray[np.float32]]:
    """score(d) = Σ_t log p(d_t | q̄, d_<t) of every document of a prompt's tree: [documents] a prompt.

    The paper's score (arXiv 2601.05588), divided by the docID's tokens with `mean`. p is over the
    vocabulary, or, `renormalised`, over the tokens that the tree allows behind a prefix. Where a device
    runs out of memory the number of rows in a pass is halved and `on_halved` called. Raises UsageError
    where a single row is too much, and where a prediction isn't a finite number.
    """
    most = max(1, min(ROW_NODES, FLOATS // vocabulary(model.config))) if reading.packed else UNCUT
    steps = [np.zeros(len(tree)) for tree in trees]  # what the edge into a node adds to a sum; 0 at the root
    rows: list[Piece] = []
    for query, (prompt, tree) in enumerate(zip(prompts, trees, strict=True)):
        cut = pieces(tree, most)
        if len(cut) == 1:
            rows.append(Piece(query, cut[0], Row(prompt, tree)))
        elif cut:
            past, last = _read_prompt(model, prompt), prompt[-1:]
            edges = [Edges(tree.parent[nodes], tree.token[nodes]) for nodes in cut]
            behind = [Piece(query, n, Row(last, tree, e)) for n, e in zip(cut, edges, strict=True)]
            _fill(steps, model, behind, partial(_edges, past=past, renormalised=renormalised), on_halved)
    read = partial(_edges, past=None, renormalised=renormalised) if reading.packed else _edges_one_by_one
    _fill(steps, model, rows, read, on_halved)
    return [_scores(tree, found, mean, renormalised) for tree, found in zip(trees, steps, strict=True)]


def pieces(tree: PrefixTree, most: int) -> list[Ints]:
    """The tree's nodes but the root, cut where a row would open more than `most` inner ones.

    Cut between documents in the order of their docIDs, so that what two rows both read is one path.
    """
    if len(tree.inner) <= most:
        return [np.arange(1, len(tree))] if len(tree) > 1 else []
    paths = tree.paths[np.lexsort(tree.paths.T[::-1])]
    opened = np.ones(paths.shape, bool)
    opened[1:] = paths[1:] != paths[:-1]
    opened &= paths > 0
    inner = np.diff(tree.first_child) > 0
    row = (np.cumsum((opened & inner[paths]).sum(1)) - 1).clip(0) // most
    cut = [np.sort(paths[row == i][opened[row == i]]) for i in range(int(row[-1]) + 1)]
    return [nodes for nodes in cut if len(nodes)]


def _read_prompt(model: Any, prompt: Sequence[int]) -> DynamicCache:
    """The keys and values of all but the prompt's last token, which stands in every row behind it."""
    from transformers import DynamicCache

    past = DynamicCache()
    if len(prompt) > 1:
        ids = torch.tensor([prompt[:-1]], device=model.device)
        model(input_ids=ids, past_key_values=past, use_cache=True, logits_to_keep=1)
    return past


def _shared(past: DynamicCache, lines: int) -> DynamicCache:
    """A cache of its own for that many lines, all behind the same prompt."""
    cache = copy.deepcopy(past)
    cache.batch_repeat_interleave(lines)
    return cache


def _fill(
    steps: list[NDArray[np.float64]],
    model: Any,
    rows: Sequence[Piece],
    read: Callable[[Any, Sequence[Row]], NDArray[np.float64]],
    on_halved: Callable[[], None],
) -> None:
    """Read rows, the longest first, as many a pass as fit, and write down what their edges add."""

    def values(some: Sequence[Piece]) -> list[NDArray[np.float64]]:
        stops = np.cumsum([len(piece.nodes) for piece in some])
        return np.split(read(model, [piece.row for piece in some]), stops[:-1])

    def refusal(piece: Piece) -> str:
        return (
            f"{model.device} has no memory left to score a row of {piece.row.width} tokens; "
            "give fewer candidates, a smaller backbone or a half-precision dtype"
        )

    longest_first = sorted(rows, key=lambda piece: -piece.row.width)
    found = in_passes(longest_first, lambda piece: _fitting(piece, model), values, refusal, on_halved)
    for piece, added in zip(longest_first, found, strict=True):
        steps[piece.query][piece.nodes] = added


def _fitting(longest: Piece, model: Any) -> int:
    """How many rows no longer than this one fit one forward pass; at least one."""
    predictions = len(longest.row.block.read) * vocabulary(model.config)
    return max(1, pass_floats(model.device) // (longest.row.width**2 + predictions))


def _edges(
    model: Any, rows: Sequence[Row], past: DynamicCache | None, renormalised: bool
) -> NDArray[np.float64]:
    """log p of each row's edges [edges], row after row; their bare logits where p is `renormalised` later."""
    pad = padding(model.config)
    collated = collate(rows, pad, width=0)  # alike in length: nothing to share
    emitted = np.unique(collated["tokens"].numpy()) if renormalised else None
    batch = {name: tensor.to(model.device) for name, tensor in collated.items()}
    seen, cache = visible(batch["stops"]), None
    keys = positions = batch["position_ids"]
    if past is not None:
        before = past.get_seq_length()
        seen, cache = torch.nn.functional.pad(seen, (before, 0), value=True), _shared(past, len(seen))
        positions = positions + before
        prompt = torch.arange(before, device=positions.device).expand(len(positions), -1)
        keys = torch.cat([prompt, positions], 1)
    head = nullcontext() if emitted is None else narrowed(model, emitted)
    with head, predicting(model, batch["read"]):
        logits = model(
            input_ids=batch["input_ids"],
            position_ids=positions,
            attention_mask=attention_mask(seen, positions, keys, model.config, model.dtype),
            past_key_values=cache,
            use_cache=past is not None,
        ).logits[0]
    kind = torch.promote_types(logits.dtype, torch.float32)
    if emitted is not None:
        found = logits[batch["parents"], columns(logits, batch["tokens"], emitted)].to(kind)
    else:
        found = logits[batch["parents"], batch["tokens"]].to(kind)
        normalisers = torch.cat([_logsumexp_(part.to(kind)) for part in logits.split(CHUNK)])
        found -= normalisers[batch["parents"]]
    values: NDArray[np.float64] = found.double().cpu().numpy()
    return values


def _edges_one_by_one(model: Any, rows: Sequence[Row]) -> NDArray[np.float64]:
    """log p of each row's edges [edges], row after row, for a model that can't read a packed tree."""
    pad = padding(model.config)
    batch = {name: tensor.to(model.device) for name, tensor in ONE_BY_ONE.collate(rows, pad).items()}
    values: NDArray[np.float64] = ONE_BY_ONE.edge_log_probs(model, batch).double().cpu().numpy()
    return values


def _logsumexp_(logits: torch.Tensor) -> torch.Tensor:
    """log Σ exp over the last axis; overwrites `logits`, for another tensor of their size costs more."""
    highest = logits.amax(-1, keepdim=True)
    return logits.sub_(highest).exp_().sum(-1).log_().add_(highest[..., 0])


def _scores(
    tree: PrefixTree, steps: NDArray[np.float64], mean: bool, renormalised: bool
) -> NDArray[np.float32]:
    if not np.isfinite(steps).all():
        raise UsageError(
            "the model's predictions hold numbers that aren't finite, so it can't rank; "
            "its weights may be damaged, or too large for the dtype it runs in"
        )
    if renormalised and len(tree) > 1:
        steps = steps - among_siblings(tree, steps)
    sums = steps[tree.paths].sum(-1)
    return (sums / tree.lengths if mean else sums).astype(np.float32)


def among_siblings(tree: PrefixTree, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """log Σ exp of the logits [nodes] of a node and its siblings [nodes]; 0 at the root."""
    parents = np.flatnonzero(np.diff(tree.first_child))
    sums = np.logaddexp.reduceat(logits, tree.first_child[parents])
    return np.append(0.0, np.repeat(sums, np.diff(tree.first_child)[parents]))
