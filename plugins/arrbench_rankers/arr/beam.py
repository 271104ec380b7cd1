"""Beam search over docIDs: within a prefix tree, or over every token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from arrbench_rankers.arr.attention import attention_mask
from arrbench_rankers.arr.packing import Row, collate
from arrbench_rankers.arr.trie import Ints, PrefixTree

if TYPE_CHECKING:
    from arrbench_rankers.arr.reading import Reader

FLOATS = 2**26  # what one forward pass may hold in logits: 256 MiB of float32
Allowed = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
Found = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Search:
    """`width` open sequences a step, the best `keep` in the end, at most `tokens` long.

    With `mean` a sequence's score is divided by its tokens.
    """

    width: int
    keep: int
    tokens: int
    mean: bool


class TreeOnDevice:
    """A prefix tree's arrays where the model is, for steps from nodes to children."""

    def __init__(self, tree: PrefixTree, vocabulary: int, device: torch.device) -> None:
        def there(array: Ints) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self.vocabulary = vocabulary
        self.token, self.document = there(tree.token), there(tree.document)
        self.first_child = there(tree.first_child)
        self._edges = there(tree.parent * vocabulary + tree.token)  # ascending from node 1 on

    def child(self, nodes: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The child of each node by that token; -1 where there is none, or the node is -1."""
        wanted = nodes * self.vocabulary + tokens
        found = torch.searchsorted(self._edges[1:], wanted).clamp_(max=len(self._edges) - 2) + 1
        return torch.where((nodes >= 0) & (self._edges[found] == wanted), found, -1)

    def documents(self, nodes: torch.Tensor) -> torch.Tensor:
        """The position of the document that ends at each node; -1 where none does."""
        return torch.where(nodes >= 0, self.document[nodes.clamp(min=0)], -1)

    def children(self, nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """All (beam, token) below nodes [queries, beams], which may be -1, and which are no padding.

        Three tensors [queries, most children of a query].
        """
        first = self.first_child[nodes.clamp(min=0)]
        counts = torch.where(nodes >= 0, self.first_child[nodes.clamp(min=0) + 1] - first, 0)
        stops = counts.cumsum(1)
        total = stops[:, -1:]
        place = torch.arange(int(total.max()), device=nodes.device).expand(len(nodes), -1).contiguous()
        beams = torch.searchsorted(stops, place, right=True).clamp_(max=nodes.shape[1] - 1)
        child = (first - stops + counts).gather(1, beams) + place
        real = place < total
        return beams, self.token[torch.where(real, child, 0)].clamp(min=0), real

    def everything(self, nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """All (beam, token) whatever the tree holds, shaped as `children`."""
        place = torch.arange(nodes.shape[1] * self.vocabulary, device=nodes.device)
        shape = (len(nodes), -1)
        beams = (place // self.vocabulary).expand(shape)
        return (
            beams,
            (place % self.vocabulary).expand(shape),
            torch.ones_like(place, dtype=torch.bool).expand(shape),
        )


class PrefixReader:
    """Reads prompts once, then beams' tokens behind them, each prefix only by its own ancestors.

    All beams of a query share one row of the model's cache: no beam's keys are ever copied.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        from transformers import DynamicCache

        self.model = model
        self.cache = DynamicCache()
        nothing = PrefixTree.build([])
        inputs = collate([Row(prompt, nothing) for prompt in prompts], model.config.pad_token_id or 0)
        ids, self.positions, visible = (
            inputs[name].to(model.device) for name in ("input_ids", "position_ids", "visible")
        )
        self.lengths = torch.tensor([[len(prompt)] for prompt in prompts], device=model.device)
        self.first = self._forward(ids, self.positions, visible, keep=1)
        self.visible = visible[:, -1:]  # [queries, 1, prompt]

    def read(self, tokens: torch.Tensor, slots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Next-token log-probabilities behind new tokens [queries, beams] -> [queries, beams, vocabulary].

        `slots` [queries, beams, depth - 1] are the cache places of each beam's tokens before; they
        come back with the new token's place added.
        """
        queries, beams = tokens.shape
        read = self.cache.get_seq_length()
        own = torch.arange(read, read + beams, device=tokens.device).expand(queries, -1)[..., None]
        slots = torch.cat([slots, own], -1)
        visible = torch.zeros(queries, beams, read + beams, dtype=torch.bool, device=tokens.device)
        visible[..., : self.visible.shape[-1]] = self.visible
        visible.scatter_(2, slots, True)
        positions = (self.lengths + slots.shape[-1] - 1).expand(-1, beams)
        self.positions = torch.cat([self.positions, positions], 1)
        return self._forward(tokens, positions, visible, keep=beams), slots

    def _forward(
        self, ids: torch.Tensor, positions: torch.Tensor, visible: torch.Tensor, keep: int
    ) -> torch.Tensor:
        config, dtype = self.model.config, self.model.dtype
        logits = self.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=attention_mask(visible, positions, self.positions, config, dtype),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
        log_probs: torch.Tensor = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        return log_probs


@torch.inference_mode()
def beam_search(
    model: Any,
    prompts: Sequence[Sequence[int]],
    tree: TreeOnDevice,
    allowed: Allowed,
    end: int,
    search: Search,
    read: Callable[[Any, Sequence[Sequence[int]]], Reader] = PrefixReader,
) -> list[Found]:
    """The best sequences of each prompt: scores and documents, best first, at most `search.keep`.

    `allowed` is `tree.children` (constrained) or `tree.everything`. Sequences that end are kept
    apart and take no place in the beam; those still open after `search.tokens` tokens compete with
    them at the end. Document -1 is a sequence that spells none.
    """
    group = max(1, FLOATS // (4 * search.width * tree.vocabulary))
    found: list[Found] = []
    for start in range(0, len(prompts), group):
        reader = read(model, prompts[start : start + group])
        scores, documents = (t.cpu().numpy() for t in _search(reader, tree, allowed, end, search))
        found += [(s[s > -np.inf], d[s > -np.inf]) for s, d in zip(scores, documents, strict=True)]
    return found


def _search(
    reader: Reader, tree: TreeOnDevice, allowed: Allowed, end: int, search: Search
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (-inf where there is no more) and documents [queries, kept], best first."""
    log_probs = reader.first
    scores = torch.zeros_like(log_probs[..., 0])  # of the open sequences, no token yet
    nodes = torch.zeros_like(scores, dtype=torch.long)
    slots = nodes[..., None][..., :0]
    best, documents = scores[:, :0], nodes[:, :0]
    depth = 0
    while True:
        depth += 1
        beams, tokens, real = allowed(nodes)
        if not beams.shape[1]:
            return best, documents
        steps = log_probs.flatten(1).gather(1, beams * tree.vocabulary + tokens)
        reached = (scores.gather(1, beams) + steps).masked_fill_(~real, -torch.inf)
        ended, chosen = _top(reached.masked_fill(tokens != end, -torch.inf), search.keep)
        spelt = tree.documents(tree.child(nodes.gather(1, beams.gather(1, chosen)), tokens.gather(1, chosen)))
        length = depth if search.mean else 1
        best, documents = _merge(best, documents, ended / length, spelt, search.keep)
        scores, chosen = _top(reached.masked_fill(tokens == end, -torch.inf), search.width)
        if depth == search.tokens:
            return _merge(best, documents, scores / length, torch.full_like(chosen, -1), search.keep)
        # sums only fall, so no open sequence can come in any more; means may rise
        if not search.mean and best.shape[1] == search.keep and (best[:, -1] >= scores[:, 0]).all():
            return best, documents
        beams, tokens = beams.gather(1, chosen), tokens.gather(1, chosen)
        nodes = torch.where(scores > -torch.inf, tree.child(nodes.gather(1, beams), tokens), -1)
        slots = slots.gather(1, beams[..., None].expand(-1, -1, slots.shape[-1]))
        log_probs, slots = reader.read(tokens, slots)


def _top(scores: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    best = scores.topk(min(most, scores.shape[1]))
    return best.values, best.indices


def _merge(
    best: torch.Tensor, documents: torch.Tensor, scores: torch.Tensor, more: torch.Tensor, keep: int
) -> tuple[torch.Tensor, torch.Tensor]:
    kept, chosen = _top(torch.cat([best, scores], 1), keep)
    return kept, torch.cat([documents, more], 1).gather(1, chosen)
