"""In what order a search reads nodes and keeps documents: by score, or by a seeded draw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch

from arrbench_rankers.arr.tree_tensors import Children, TreeTensors

_MULTIPLIERS = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)  # splitmix64's, as signed 64-bit integers
_STEP = -0x61C8864680B583EB


class Order(Protocol):
    """Keys, higher first, that never rise along a path.

    `skips` says whether a key depends on a node's sum alone, so that what lies between may be left out.
    """

    skips: bool

    def keys(
        self, tree: TreeTensors, children: Children, sums: torch.Tensor, parents: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys of documents that end at the children, and bounds of all below them [queries, children].

        `sums` are the children's summed log-probabilities, `parents` the bounds of their parents.
        """

    def keep(self, queries: torch.Tensor) -> Order:
        """The order of those queries alone."""


class ByScore:
    """The highest scores first."""

    skips = True

    def keys(
        self, tree: TreeTensors, children: Children, sums: torch.Tensor, parents: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return tree.scores(sums, tree.document[children.node]), tree.bounds(sums, children.node)

    def keep(self, queries: torch.Tensor) -> ByScore:
        return self


class Drawn:
    """Documents drawn without replacement: the k highest keys are such a sample.

    Gumbel-top-k over the tree (Kool, van Hoof & Welling 2019, Stochastic Beams and Where to Find Them,
    algorithm 1): a node's key is the highest perturbed log-probability below it, so its children's
    draws are shifted to have it as their maximum. `seeds` [queries]: a draw depends on them and the
    node alone, never on the order in which nodes are read or queries asked.
    """

    skips = False

    def __init__(self, seeds: torch.Tensor) -> None:
        self.seeds = seeds

    def keys(
        self, tree: TreeTensors, children: Children, sums: torch.Tensor, parents: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = sums + gumbel(self.seeds, children.node)
        highest = torch.full_like(parents, -torch.inf).scatter_reduce(1, children.parent, drawn, "amax")
        highest, limit = highest.gather(1, children.parent), parents.gather(1, children.parent)
        # equation 23's stable form of -log(exp(-limit) - exp(-highest) + exp(-drawn))
        excess = limit - drawn + torch.log1p(-torch.exp(drawn - highest))
        shifted = limit - excess.clamp(min=0) - torch.log1p(torch.exp(-excess.abs()))
        keys = torch.where(drawn == highest, limit, shifted)
        keys = torch.where(sums > -torch.inf, keys, -torch.inf)
        return keys, keys

    def keep(self, queries: torch.Tensor) -> Drawn:
        return Drawn(self.seeds[queries])


def query_seeds(texts: Sequence[str], seed: int) -> torch.Tensor:
    """A seed a text [queries], the same for one text and `seed` wherever it stands."""
    digests = [hashlib.blake2b(f"{seed}\x00{text}".encode(), digest_size=8).digest() for text in texts]
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests])


def gumbel(seeds: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel noise of each query's nodes [queries, nodes], a hash of seed and node (splitmix64)."""
    mixed = seeds[:, None] + (nodes + 1) * _STEP
    for multiplier, shift in zip(_MULTIPLIERS, (30, 27), strict=True):
        mixed = (mixed ^ _shifted(mixed, shift)) * multiplier
    mixed = mixed ^ _shifted(mixed, 31)
    uniform = (_shifted(mixed, 11).to(torch.float64) + 0.5) * 2.0**-53
    return -torch.log(-torch.log(uniform)).float()


def _shifted(bits: torch.Tensor, by: int) -> torch.Tensor:
    """A logical shift to the right; torch's copies the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)
