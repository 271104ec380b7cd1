"""Reads prompts once, then nodes of a tree behind them, each only by its own ancestors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from arrbench_rankers.arr.attention import attention_mask
from arrbench_rankers.arr.lm_config import padding

PROMPT = -1  # the cache place of what stands right behind the prompt


class NodeReader:
    """Prompts in a model's cache, and behind them the nodes read so far.

    All nodes of a query share one row of the cache: no key is ever copied for another path. A node
    attends to the prompt, to its ancestors' places and to itself, at position prompt length + depth - 1.
    `first` [queries, 1, vocabulary] are the logits behind the prompts.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], depth: int) -> None:
        """Read the prompts; nodes to come stand at most `depth` tokens behind them."""
        from transformers import DynamicCache

        self.model = model
        self._cache = DynamicCache()  # keeps every key: windows are the mask's
        width, device = max(map(len, prompts)), model.device
        ids = torch.full((len(prompts), width), padding(model.config))
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
        ids = ids.to(device)
        self._lengths = torch.tensor([[len(prompt)] for prompt in prompts], device=device)
        places = torch.arange(width, device=device) - (width - self._lengths)  # negative: padding
        self._visible = (places >= 0)[:, None]  # [queries, 1, prompt]
        self._positions = places.clamp(min=0)  # of the keys, [queries, prompt + nodes]
        # [queries, nodes, depth]: the places on each node's path, filled up with some of them again
        self._paths = torch.zeros(len(prompts), 0, max(1, depth), dtype=torch.long, device=device)
        self._depths = torch.zeros(len(prompts), 0, dtype=torch.long, device=device)
        causal = torch.ones(width, width, dtype=torch.bool, device=device).tril_()
        alone = torch.eye(width, dtype=torch.bool, device=device)  # keeps padding's softmax finite
        self.first = self._forward(ids, self._positions, (causal & self._visible) | alone, keep=1)

    @property
    def nodes(self) -> int:
        """How many nodes of a query are read: the place of the next one."""
        return self._paths.shape[1]

    def read(
        self, tokens: torch.Tensor, parents: torch.Tensor, generations: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [queries, block, vocabulary] behind new nodes, and the nodes' places [queries, block].

        `tokens` [queries, block] are the nodes' own, `parents` the places of their parents, PROMPT for a
        token right behind the prompt. A parent may stand in the block itself, which then holds up to
        `generations` nodes of a path. What fills a block up may be any token.
        """
        queries, block = tokens.shape
        read = self.nodes
        places = torch.arange(read, read + block, device=tokens.device).expand(queries, -1)
        own = places[..., None].expand(-1, -1, self._paths.shape[2])
        behind, above = parents == PROMPT, parents.clamp(min=0)
        depths, paths = torch.ones_like(places), own
        for _ in range(generations):  # one more generation of the block is right after each
            known = torch.cat([self._depths, depths], 1), torch.cat([self._paths, paths], 1)
            depths = torch.where(behind, 1, known[0].gather(1, above) + 1)
            passed = known[1].gather(1, above[..., None].expand_as(own))
            paths = torch.where(behind[..., None], own, passed)
            paths = paths.scatter(2, (depths[..., None] - 1).clamp(max=own.shape[2] - 1), places[..., None])
        self._paths = torch.cat([self._paths, paths], 1)
        self._depths = torch.cat([self._depths, depths], 1)
        positions = self._lengths + depths - 1
        self._positions = torch.cat([self._positions, positions], 1)
        seen = torch.zeros(queries, block, read + block, dtype=torch.bool, device=tokens.device)
        seen.scatter_(2, paths, True)
        visible = torch.cat([self._visible.expand(-1, block, -1), seen], -1)
        return self._forward(tokens, positions, visible, keep=block), places

    def keep(self, queries: torch.Tensor) -> None:
        """Forget all but those queries (their places, ascending)."""
        self._cache.batch_select_indices(queries)
        self._lengths, self._visible = self._lengths[queries], self._visible[queries]
        self._positions, self._depths = self._positions[queries], self._depths[queries]
        self._paths = self._paths[queries]

    def _forward(
        self, ids: torch.Tensor, positions: torch.Tensor, visible: torch.Tensor, keep: int
    ) -> torch.Tensor:
        model = self.model
        logits: torch.Tensor = model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=attention_mask(visible, positions, self._positions, model.config, model.dtype),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
        return logits
