"""Rankings checked and put in canonical order, and measured against judgments.

ranx computes the measures that it has; the paper's overlap is a set intersection and ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np

from arrbench.errors import TrialError, UsageError
from arrbench.measure import kernels
from arrbench.ranker import Query, Ranking
from arrbench.task import Judgments, counted
from arrbench.ties import tie_hash


@dataclass(frozen=True, slots=True)
class Measure:
    """What a measure is, for everything that prints one. All lie in 0..1."""

    name: str
    sentence: str
    citation: str
    cutoff: Literal["required", "optional"]
    direction: Literal["higher", "lower"] = "higher"


MEASURES: Mapping[str, Measure] = {
    m.name: m
    for m in (
        Measure(
            "ndcg",
            "discounted cumulative gain over the ideal ranking's, with linear gains",
            "Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, TOIS 2002",
            "optional",
        ),
        Measure(
            "overlap",
            "share of the ideal ranking's top k found in the top k, over min(k, length of the ideal ranking)",
            "R@k of arXiv 2601.05588, divided by what can be reached",
            "required",
        ),
        Measure(
            "overlap_paper",
            "share of the ideal ranking's top k found in the top k, over k",
            "R@k of arXiv 2601.05588",
            "required",
        ),
        Measure(
            "recall",
            "share of all relevant documents found in the top k",
            "Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, section 8.4",
            "required",
        ),
        Measure(
            "precision",
            "share of the top k that is relevant",
            "Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, section 8.4",
            "required",
        ),
        Measure(
            "mrr",
            "one over the place of the first relevant document",
            "Voorhees, The TREC-8 question answering track report, 1999",
            "optional",
        ),
    )
}

_RANX: Mapping[str, kernels.Kernel] = {
    "ndcg": "ndcg",
    "recall": "recall",
    "precision": "precision",
    "mrr": "reciprocal_rank",
}


def parse(name: str) -> tuple[Measure, int]:
    """`ndcg@10` -> (Measure, 10); without a cutoff the number is 0.

    Raises UsageError for an unknown measure and for a cutoff that is missing or not positive.
    """
    match = re.fullmatch(r"([a-z_]+)(?:@(\d+))?", name)
    measure = MEASURES.get(match[1]) if match else None
    if match is None or measure is None:
        known = ", ".join(m.name + ("@k" if m.cutoff == "required" else "[@k]") for m in MEASURES.values())
        raise UsageError(f"unknown measure {name!r}; known are {known}")
    cutoff = int(match[2] or 0)
    if cutoff == 0 and (match[2] or measure.cutoff == "required"):
        raise UsageError(f"measure {name!r} needs a cutoff of 1 or more, like {measure.name}@10")
    return measure, cutoff


def validate(query: Query, ranking: Ranking, corpus_ids: Collection[str], k_asked: int) -> None:
    """Check what a ranker returned for one query; a Corpus's `positions` serves as `corpus_ids`.

    Raises TrialError naming the query and the fault: ids and scores of different lengths, more
    documents than asked, an id twice, unknown or not among the candidates, a score not finite.
    """
    ids, scores = ranking.ids, ranking.scores
    where = f"ranking of query {query.id!r}"
    if len(ids) != len(scores):
        raise TrialError(f"{where}: {len(ids)} ids but {len(scores)} scores; each id needs one score")
    if len(ids) > k_asked:
        raise TrialError(f"{where}: {len(ids)} documents, but at most {k_asked} were asked for")
    candidates = None if query.candidates is None else frozenset(query.candidates)
    seen: set[str] = set()
    for document, score in zip(ids, scores, strict=True):
        if document not in corpus_ids:
            raise TrialError(f"{where}: document {document!r} is not in the corpus")
        if candidates is not None and document not in candidates:
            raise TrialError(f"{where}: document {document!r} is not among its {len(candidates)} candidates")
        if document in seen:
            raise TrialError(f"{where}: document {document!r} occurs twice")
        if not math.isfinite(score):
            raise TrialError(f"{where}: document {document!r} has the score {score}, which is not finite")
        seen.add(document)


def canonical(query: Query, ranking: Ranking, k: int) -> Ranking:
    """The ranking as it is measured and written: excluded dropped, ordered, cut to k.

    Ordered by (score descending, tie hash). Scores come back strictly decreasing, as floats that
    single precision holds exactly, none subnormal: equal ones are moved apart by the least step
    there is. `repr`, `str` and 9 significant digits all write them so that a reader in double or
    in single precision (trec_eval's) finds the same strict order.
    """
    kept = [
        (d, float(s)) for d, s in zip(ranking.ids, ranking.scores, strict=True) if d not in query.excluded
    ]
    if len({s for _, s in kept}) == len(kept):
        kept.sort(key=lambda pair: -pair[1])
    else:
        kept.sort(key=lambda pair: (-pair[1], tie_hash(query.id, pair[0])))
    del kept[k:]
    return Ranking([d for d, _ in kept], _strictly_decreasing([s for _, s in kept]))


_SUBNORMALS = 0x007FFFFF  # single-precision bit patterns between 0 and the least normal number
_LARGEST = 0x7F7FFFFF - _SUBNORMALS


def _strictly_decreasing(scores: Sequence[float]) -> list[float]:
    """Descending scores -> strictly descending single-precision values, each as near as order allows.

    Works on the numbers' rank among all single-precision numbers that are not subnormal, where the
    least step is 1, so that a running minimum of rank + place does it at once.
    """
    if not len(scores):
        return []
    limit = float(np.finfo(np.float32).max)
    single = np.clip(np.asarray(scores, dtype=np.float64), -limit, limit).astype(np.float32)
    rank = np.maximum(np.abs(single).view(np.int32).astype(np.int64) - _SUBNORMALS, 0)
    rank = np.where(single < 0, -rank, rank)
    places = np.arange(len(rank))
    rank = np.minimum.accumulate(rank + places) - places
    rank = np.maximum(rank, places[::-1] - _LARGEST)  # room for those below at the lower end
    bits = np.where(rank == 0, 0, np.abs(rank) + _SUBNORMALS).astype(np.int32)
    values = np.where(rank < 0, -1.0, 1.0) * bits.view(np.float32).astype(np.float64)
    return [float(v) for v in values]


def evaluate(
    names: Sequence[str], queries: Sequence[Query], judgments: Judgments, rankings: Mapping[str, Ranking]
) -> dict[str, np.ndarray]:
    """Per-query values of each measure, float64 of shape (queries,), in the order of `queries`.

    `rankings` are canonical, by query id; a query without one, with an empty one or without a
    relevant document counts 0. A document that a query excludes is not relevant to it. A measure
    without a cutoff is over what was returned.

    Raises UsageError for an unknown measure and for a gain that is not an integer of 0 or more
    (ranx would truncate it without a word).
    """
    parsed = {name: parse(name) for name in names}
    if not queries:
        return {name: np.zeros(0) for name in names}
    judgments = counted(queries, judgments)
    ideals = [_ideal(q.id, judgments) for q in queries]
    ranked = [tuple(rankings[q.id].ids) if q.id in rankings else () for q in queries]
    judged_array, ranked_array = _numbered(ideals, ranked)
    values: dict[str, np.ndarray] = {}
    for name, (measure, cutoff) in parsed.items():
        if measure.name in _RANX:
            values[name] = kernels.apply(_RANX[measure.name], judged_array, ranked_array, cutoff)
        else:
            overlap = _OVERLAPS[measure.name]
            pairs = zip(ideals, ranked, strict=True)
            values[name] = np.array([overlap(list(i), r, cutoff) for i, r in pairs], dtype=np.float64)
    return values


def _ideal(query_id: str, judgments: Judgments) -> dict[str, int]:
    """Document id -> gain of the relevant documents, best first; every gain is checked."""
    for document in judgments.grades.get(query_id, {}):
        gain = judgments.gain(query_id, document)
        if not isinstance(gain, Integral) or gain < 0:
            raise UsageError(
                f"gain {gain!r} of document {document!r} for query {query_id!r} is not an integer of 0 or"
                " more; scale the task's gains to integers without loss"
            )
    return {d: judgments.gain(query_id, d) for d in judgments.ranked(query_id)}


def _numbered(
    ideals: Sequence[Mapping[str, int]], ranked: Sequence[Sequence[str]]
) -> tuple[np.ndarray, np.ndarray]:
    """Ragged ids -> two padded int64 arrays, as `kernels.apply` wants them."""
    judged_array = np.zeros((len(ideals), max([1, *map(len, ideals)]), 2), dtype=np.int64)
    ranked_array = np.zeros((len(ranked), max([1, *map(len, ranked)]), 2), dtype=np.int64)
    judged_array[:, :, 0] = -1  # with gain 0: no judgment
    ranked_array[:, :, 0] = -2  # a document nobody judged
    for q, (ideal, ids) in enumerate(zip(ideals, ranked, strict=True)):
        numbers = {d: i for i, d in enumerate(ideal)}
        for i, gain in enumerate(ideal.values()):
            judged_array[q, i] = i, gain
        ranked_array[q, : len(ids), 0] = [numbers.get(d, -2) for d in ids]
    return judged_array, ranked_array


def _overlap(ideal: Sequence[str], ranked: Sequence[str], k: int) -> float:
    """|ideal[:k] ∩ ranked[:k]| / min(k, |ideal|); 0 without a relevant document."""
    return len(set(ideal[:k]) & set(ranked[:k])) / min(k, len(ideal)) if ideal else 0.0


def _overlap_paper(ideal: Sequence[str], ranked: Sequence[str], k: int) -> float:
    """|ideal[:k] ∩ ranked[:k]| / k, the R@k of arXiv 2601.05588."""
    return len(set(ideal[:k]) & set(ranked[:k])) / k


_OVERLAPS: Mapping[str, Callable[[Sequence[str], Sequence[str], int], float]] = {
    "overlap": _overlap,
    "overlap_paper": _overlap_paper,
}
