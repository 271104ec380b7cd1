"""How a trained model's next-token distributions fit the corpus's prefix tree and the loss's targets.

At a prefix u of docIDs, with p the model's distribution and C(u) the tokens that the corpus's tree allows
there:

- invalid mass: 1 - Σ_(v in C(u)) p(v), what an unconstrained model would spend on no docID at all. It is
  measured at the prefixes of listed documents, which training showed, and at those of the documents that
  the model itself ranks first, which decoding meets;
- calibration: ½ Σ_(v in C(u)) |p(v) / Σ_C p - y(v)|, the total variation distance (0..1) of the model
  within the tree from the target y of the loss, at the prefixes of listed documents.

Depth t is the step that predicts token t. A depth's figure is a mean over its prefixes, each weighed by
the loss's weight there (listed), or by how many of the model's own documents pass it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from arrbench_rankers.arr.continuations import Continuations, continuations, in_corpus
from arrbench_rankers.arr.index import DocIdIndex
from arrbench_rankers.arr.lm_config import padding
from arrbench_rankers.arr.options import ArrOptions
from arrbench_rankers.arr.packing import Row
from arrbench_rankers.arr.reading import PACKED, Reading
from arrbench_rankers.arr.stoical import Floats, edge_targets, item_weights
from arrbench_rankers.arr.trie import Ints, PrefixTree

QUERIES = 100  # of a dev split that are measured
OWN = 10  # documents that the model ranks first
BATCH = 8  # queries in a forward pass
DEPTHS = 8  # steps that are reported


@dataclass(frozen=True)
class Asked:
    """A query's prompt, and the positions in the index of its listed and of the model's own documents."""

    prompt: Sequence[int]
    listed: Sequence[int]
    own: Sequence[int]


@dataclass(frozen=True)
class Prefixes:
    """Prefixes of listed and own documents, how much each counts, and what may follow.

    `depth` (of the token to come), `listed` and `own` (weights) are [prefixes]; `target` is y
    [edges of `allowed`].
    """

    row: Row
    allowed: Continuations
    depth: Ints
    listed: Floats
    own: Floats
    target: Floats


def facts(
    model: Any, index: DocIdIndex, asked: Sequence[Asked], options: ArrOptions, reading: Reading = PACKED
) -> dict[str, float]:
    """`invalid_mass_depth_t`, `invalid_mass_own_depth_t` and `calibration_depth_t` for the first depths.

    A depth that no prefix reaches is left out.
    """
    measured = list(_measured(model, index, asked, options, reading))
    if not measured:
        return {}
    depth, listed, own, invalid, apart = (np.concatenate(values) for values in zip(*measured, strict=True))
    return {
        **_means("invalid_mass", depth, listed, invalid),
        **_means("invalid_mass_own", depth, own, invalid),
        **_means("calibration", depth, listed, apart),
    }


def _prefixes(asked: Asked, index: DocIdIndex, options: ArrOptions) -> Prefixes:
    documents = list(dict.fromkeys([*asked.listed, *asked.own]))
    n = len(asked.listed)
    tree = PrefixTree.build(index.subset([index.ids[position] for position in documents]))
    weights = edge_targets(tree, item_weights(n, options.item, options.alpha, options.top), options.beta)
    reached = np.bincount(tree.parent[1:], weights[1:], len(tree)).astype(np.float64)
    ranked = tree.paths[np.isin(documents, list(asked.own))]
    through = np.bincount(ranked[:, :-1][ranked[:, 1:] > 0], minlength=len(tree)).astype(float)
    through[0] = len(ranked)
    nodes = np.flatnonzero(np.diff(tree.first_child))
    there = in_corpus(tree, index.tree, np.array(documents))
    allowed = continuations(nodes, there, index.tree)
    share = np.zeros(len(index.tree))
    share[there[1:]] = weights[1:]
    total = reached[nodes][allowed.prefix]
    target = np.divide(share[allowed.child], total, out=np.zeros(len(total)), where=total > 0)
    row = Row(asked.prompt, tree, allowed.edges)
    return Prefixes(row, allowed, tree.depth[nodes] + 1, reached[nodes], through[nodes], target)


@torch.inference_mode()
def _measured(
    model: Any, index: DocIdIndex, asked: Sequence[Asked], options: ArrOptions, reading: Reading
) -> Iterator[tuple[Ints, Floats, Floats, Floats, Floats]]:
    """Each query's prefixes: depth, weights (listed, own), invalid mass and distance [prefixes]."""
    pad = padding(model.config)
    for start in range(0, len(asked), BATCH):  # a root may have as many children as the corpus documents
        batch = [_prefixes(one, index, options) for one in asked[start : start + BATCH]]
        inputs = reading.collate([one.row for one in batch], pad)
        inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
        found = reading.edge_log_probs(model, inputs).double().exp().cpu().numpy()
        for one, p in zip(batch, np.split(found, np.cumsum(inputs["counts"].cpu())[:-1]), strict=True):
            prefix = one.allowed.prefix
            valid = np.bincount(prefix, p, len(one.depth))
            apart = np.bincount(prefix, np.abs(p / valid[prefix] - one.target), len(one.depth)) / 2
            yield one.depth, one.listed, one.own, np.maximum(0, 1 - valid), apart


def _means(name: str, depth: Ints, weights: Floats, values: Floats) -> Mapping[str, float]:
    total = np.bincount(depth, weights, DEPTHS + 1)
    sums = np.bincount(depth, weights * values, DEPTHS + 1)
    return {f"{name}_depth_{t}": float(sums[t] / total[t]) for t in range(1, DEPTHS + 1) if total[t] > 0}
