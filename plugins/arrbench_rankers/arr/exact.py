"""Exact scores: the summed log-probabilities of every docID asked for, in as few passes as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arrbench_rankers.arr.docid import DocId
from arrbench_rankers.arr.packing import Row
from arrbench_rankers.arr.reading import PACKED, Reading
from arrbench_rankers.arr.trie import Ints, PrefixTree

FLOATS = 2**26  # what one forward pass may hold in masks and logits: 256 MiB of float32
ROW_NODES = 512  # inner nodes a row: attention costs their square, a new row only its prompt
CPU_FLOATS = 2**22  # a CPU gains nothing from larger batches: they leave its caches


@dataclass(frozen=True)
class Part:
    """Documents (their positions in a list) whose docIDs are scored in one row, and their tree."""

    documents: Ints
    tree: PrefixTree


def parts(docids: Sequence[DocId], vocabulary: int) -> list[Part]:
    """The docIDs, in order of their tokens, cut where a row would hold too many nodes or logits."""
    most = max(1, min(ROW_NODES, FLOATS // vocabulary))
    cuts: list[list[int]] = [[]]
    inner, last = 0, DocId()
    for position in sorted(range(len(docids)), key=docids.__getitem__):
        docid = docids[position]
        opened = len(docid) - 1 - _shared(docid, last)
        if cuts[-1] and inner + opened > most:
            cuts.append([])
            inner, opened = 0, len(docid) - 1
        cuts[-1].append(position)
        inner, last = inner + opened, docid
    return [Part(np.array(cut), PrefixTree.build([docids[i] for i in cut])) for cut in cuts if cut]


def _shared(one: DocId, other: DocId) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


@torch.inference_mode()
def exact_scores(
    model: Any,
    prompts: Sequence[Sequence[int]],
    cuts: Sequence[Sequence[Part]],
    mean: bool,
    reading: Reading = PACKED,
) -> list[NDArray[np.float32]]:
    """score(d) = Σ_t log p(d_t | q̄, d_<t) of every document in a query's parts, for each prompt.

    The paper's score (arXiv 2601.05588), divided by the docID's tokens with `mean`. One array
    [documents of that query's parts] a prompt. Each part is one row; rows are batched by length.
    """
    scores = [np.empty(sum(len(part.documents) for part in cut), np.float32) for cut in cuts]
    rows = [(q, part, Row(prompts[q], part.tree)) for q, cut in enumerate(cuts) for part in cut]
    rows.sort(key=lambda row: (len(row[1].tree.inner), len(row[2].prompt)))
    while rows:
        batch = _fitting(rows, model)
        inputs = reading.collate([row for _, _, row in batch], model.config.pad_token_id or 0)
        there = {name: tensor.to(model.device) for name, tensor in inputs.items()}
        found = reading.edge_log_probs(model, there)
        edges = torch.nn.functional.pad(found, (1, 0)).cpu().numpy()
        for (q, part, _), edge in zip(batch, edges, strict=True):
            sums = edge[part.tree.paths].sum(-1)
            scores[q][part.documents] = sums / part.tree.lengths if mean else sums
        rows = rows[: -len(batch)]
    return scores


def _fitting(rows: list[tuple[int, Part, Row]], model: Any) -> list[tuple[int, Part, Row]]:
    """The longest rows that fit one forward pass; at least one."""
    floats = min(FLOATS, CPU_FLOATS) if model.device.type == "cpu" else FLOATS
    inner = len(rows[-1][1].tree.inner)
    width = inner + max(len(row.prompt) for _, _, row in rows)
    return rows[-max(1, floats // (width**2 + (1 + inner) * model.config.vocab_size)) :]
