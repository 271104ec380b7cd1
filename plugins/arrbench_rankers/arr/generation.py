"""A plain beam search over every token, which may write what is no docID: for constraint violations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from arrbench_rankers.arr.reader import PROMPT
from arrbench_rankers.arr.reading import PACKED, Reading
from arrbench_rankers.arr.tree_tensors import TreeTensors


@torch.inference_mode()
def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    tree: TreeTensors,
    end: int | None,
    width: int,
    tokens: int,
    reading: Reading = PACKED,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best `width` sequences of each prompt: log-probabilities and documents [queries, width].

    Best first; document -1 is a sequence that spells none. A sequence is finished with the end token, or
    with a docID that no other one continues. Finished ones are kept apart and take no place in the
    beam; those still open after `tokens` tokens compete with them and spell nothing.
    """
    reader = reading.reader(model, prompts, tokens)
    logits = reader.first
    scores = torch.zeros(len(prompts), 1, device=logits.device)
    nodes = torch.zeros_like(scores, dtype=torch.long)
    places = torch.full_like(nodes, PROMPT)
    best, documents = scores[:, :0], nodes[:, :0]
    for depth in range(1, tokens + 1):
        vocabulary = logits.shape[-1]
        log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        reached = scores[..., None] + log_probs
        ends = _ends(tree, nodes, end, reached)
        ended, chosen = _top(reached.masked_fill(~ends, -torch.inf).flatten(1), width)
        spelt = _spelt(tree, nodes.gather(1, chosen // vocabulary), chosen % vocabulary, end)
        best, documents = _merge(best, documents, ended, spelt, width)
        scores, chosen = _top(reached.masked_fill_(ends, -torch.inf).flatten(1), width)
        if depth == tokens:
            best, documents = _merge(best, documents, scores, torch.full_like(chosen, -1), width)
        elif bool((best[:, -1] < scores[:, 0]).any()) or best.shape[1] < width:
            parents, written = chosen // vocabulary, chosen % vocabulary
            nodes = tree.child(nodes.gather(1, parents), written)
            logits, places = reader.read(written, places.gather(1, parents))
        else:
            break  # sums only fall: no open sequence can come in any more
    return best, documents


def _ends(tree: TreeTensors, nodes: torch.Tensor, end: int | None, reached: torch.Tensor) -> torch.Tensor:
    """Which next tokens finish a sequence [queries, beams, vocabulary]."""
    ends = torch.zeros_like(reached, dtype=torch.bool)
    if end is not None:
        ends[..., end] = True
    parent, child = tree.children(nodes, None)
    leaf = (child >= 0) & ~tree.open(child.clamp(min=0))
    queries, places = leaf.nonzero(as_tuple=True)
    ends[queries, parent[queries, places], tree.token[child[queries, places]].long()] = True
    return ends


def _spelt(tree: TreeTensors, nodes: torch.Tensor, tokens: torch.Tensor, end: int | None) -> torch.Tensor:
    """Documents of sequences at nodes followed by a finishing token; -1 for none.

    An end token behind a docID that has none of its own spells that document.
    """
    child = tree.child(nodes, tokens)
    node = torch.where((child < 0) & (tokens == end), nodes, child) if end is not None else child
    return torch.where(node >= 0, tree.document[node.clamp(min=0)], -1)


def _top(scores: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    best = scores.topk(min(most, scores.shape[1]))
    return best.values, best.indices


def _merge(
    best: torch.Tensor, documents: torch.Tensor, scores: torch.Tensor, more: torch.Tensor, keep: int
) -> tuple[torch.Tensor, torch.Tensor]:
    kept, chosen = _top(torch.cat([best, scores], 1), keep)
    return kept, torch.cat([documents, more], 1).gather(1, chosen)
