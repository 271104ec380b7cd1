"""A test collection's parts become splits: what does not fit together is refused, or dropped and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from arrbench.errors import UsageError
from arrbench.ranker import Corpus, Query
from arrbench.task import SPLITS, Judgments, Split, SplitName
from arrbench.tasks.chance import fraction
from arrbench.ties import tie_hash

MEASURES = ("ndcg@10", "ndcg", "mrr", "precision@10", "recall@10", "recall@100")
DEV_SHARE = 0.1  # of the training queries, where a collection brings no dev split

Texts = Mapping[str, str]
Grades = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a source has for one split: query id -> text, and query id -> document id -> grade.

    `texts` may hold other splits' queries too; the split's own are those that are judged.
    """

    texts: Texts
    grades: Grades


@dataclass(frozen=True, slots=True)
class Collection:
    """All three splits, empty where a source has none, and counts of what was found and dropped."""

    splits: Mapping[SplitName, Split]
    facts: Mapping[str, int]


def build(
    source: str,
    corpus: Corpus,
    judged: Mapping[SplitName, Judged],
    pools: Mapping[str, Sequence[str]] | None = None,
) -> Collection:
    """Splits over one corpus; `source` is what errors name, `pools` the candidates to rerank by query id.

    A negative grade becomes 0. Judgments of documents that the corpus lacks go, then queries without
    a text or without a judgment. Where there is a train but no dev split, a tenth of train, drawn by a
    hash of the ids, becomes dev. With `pools`, a test query without one has no candidates, a dev query
    goes, and a training query may have any document.

    Raises UsageError where two splits share a query, where a split that was given keeps no query, and
    where no test query has candidates.
    """
    counts: Counter[str] = Counter()
    kept = {name: _kept(source, name, judged[name], corpus, counts) for name in judged}
    _refuse_shared(source, kept)
    if "train" in kept and "dev" not in kept:
        dev = _held_out([q for q in kept["train"] if pools is None or q in pools])
        kept["dev"] = {q: kept["train"].pop(q) for q in dev}
        judged = {**judged, "dev": judged["train"]}
        counts["dev_queries_held_out_of_train"] = len(dev)
    known = {q for part in judged.values() for q in part.texts}
    counts["queries_without_judgments"] = len(known.difference(*(part.grades for part in judged.values())))
    splits: dict[SplitName, Split] = {}
    for name in SPLITS:
        grades = kept.get(name, {})
        queries = [Query(q, text) for q, text in judged[name].texts.items() if q in grades] if grades else []
        if pools is not None:
            queries = _with_candidates(source, name, queries, pools, corpus, counts)
        splits[name] = Split(tuple(queries), Judgments({q.id: grades[q.id] for q in queries}), corpus)
    facts = {"documents": len(corpus), **{f"queries_{n}": len(splits[n].queries) for n in SPLITS}}
    return Collection(splits, {**facts, **counts})


def _kept(
    source: str, name: SplitName, part: Judged, corpus: Corpus, counts: Counter[str]
) -> dict[str, dict[str, int]]:
    """The grades that count: of queries with a text, for documents in the corpus, 0 or more."""
    known = corpus.positions
    kept: dict[str, dict[str, int]] = {}
    counts.update({"judged_queries_without_text": 0, "judgments_of_missing_documents": 0})
    counts.update({"queries_with_missing_documents_only": 0, "negative_grades": 0})
    for query, grades in part.grades.items():
        if query not in part.texts:
            counts["judged_queries_without_text"] += 1
            continue
        found = {d: grade for d, grade in grades.items() if d in known}
        counts["judgments_of_missing_documents"] += len(grades) - len(found)
        counts["negative_grades"] += sum(grade < 0 for grade in found.values())
        if found:
            kept[query] = {d: max(grade, 0) for d, grade in found.items()}
        else:
            counts["queries_with_missing_documents_only"] += 1
    if not kept:
        raise UsageError(
            f"{source}: none of the {len(part.grades)} queries judged for {name} has both a text and a "
            "judged document in the corpus; the ids of queries, judgments and documents must be the same"
        )
    return kept


def _refuse_shared(source: str, kept: Mapping[SplitName, Mapping[str, object]]) -> None:
    for one, other in combinations([name for name in SPLITS if name in kept], 2):
        shared = sorted(kept[one].keys() & kept[other].keys())
        if shared:
            raise UsageError(
                f"{source}: {len(shared)} of the {len(kept[other])} {other} queries are {one} queries too, "
                f"such as {shared[0]!r}; a query may be judged for one split only"
            )


def _held_out(train: Sequence[str]) -> list[str]:
    """The tenth of the queries that a hash of their ids puts first, in the order given."""
    n = max(1, int(len(train) * DEV_SHARE)) if len(train) > 1 else 0
    drawn = set(sorted(train, key=lambda q: fraction("dev", q))[:n])
    return [q for q in train if q in drawn]


def _with_candidates(
    source: str,
    name: SplitName,
    queries: Sequence[Query],
    pools: Mapping[str, Sequence[str]],
    corpus: Corpus,
    counts: Counter[str],
) -> list[Query]:
    """Queries with their candidates in an order that tells nothing, as the fingerprint ignores it too."""
    pooled: list[Query] = []
    for query in queries:
        if query.id in pools:
            ids = [d for d in pools[query.id] if d in corpus.positions]
            counts["candidates_not_in_corpus"] += len(pools[query.id]) - len(ids)
            ids.sort(key=lambda d: tie_hash(query.id, d))
            pooled.append(Query(query.id, query.text, tuple(ids)))
        elif name == "train":
            pooled.append(query)
        elif name == "test":
            pooled.append(Query(query.id, query.text, ()))
    counts[f"{name}_queries_without_candidates"] = sum(q.id not in pools for q in queries)
    if name == "test" and not any(q.candidates for q in pooled):
        raise UsageError(
            f"{source}: none of the {len(pooled)} test queries has candidates among the documents"
        )
    return pooled
