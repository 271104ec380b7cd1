"""A test collection's parts become splits: what does not fit is refused, or kept or dropped and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from pydantic import Field

from arrbench.errors import UsageError
from arrbench.ranker import Corpus, Document, Query
from arrbench.task import SPLITS, Judgments, Split, SplitName
from arrbench.tasks import collection_notes as notes
from arrbench.tasks.chance import fraction
from arrbench.tasks.collection_notes import ExcludeSelf, Missing
from arrbench.tasks.own_document import excludes_own
from arrbench.tasks.pools import pool

MEASURES = ("ndcg@10", "ndcg", "mrr", "precision@10", "recall@10", "recall@100")
DEV_SHARE = 0.1  # of the training queries, where a collection brings no dev split

Texts = Mapping[str, str]
Grades = Mapping[str, Mapping[str, int]]

# options of every task that is a collection
EXCLUDE_SELF: Any = Field(
    "auto",
    description="whether a query's ranking leaves out the document of the query's id: auto where their texts "
    "are the same, too, and it is not judged relevant; yes, as BEIR and Pyserini do; no",
)
MISSING: Any = Field(
    "keep",
    description="judgments of documents that the corpus lacks: keep them in the ideal, as trec_eval does, or "
    "drop them, and queries without any other",
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a source has for one split: query id -> text, and query id -> document id -> grade.

    `texts` may hold other splits' queries too; the split's own are those that are judged. `excluded` are
    documents that the source itself keeps out of a query's ranking.
    """

    texts: Texts
    grades: Grades
    excluded: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the options `exclude_self` and `missing` say."""

    exclude_self: ExcludeSelf = "auto"
    missing: Missing = "keep"


@dataclass(frozen=True, slots=True)
class Collection:
    """All three splits, empty where a source has none; counts of what was found and dropped, and sentences.

    `notes` belong under every table, `warnings` are what is likely a mistake in the files.
    """

    splits: Mapping[SplitName, Split]
    facts: Mapping[str, int]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Build:
    """What building a collection goes by, and what it counts; ids that one part names and another lacks."""

    source: str
    corpus: Corpus
    rules: Rules
    counts: Counter[str] = field(default_factory=Counter)
    lost_documents: set[str] = field(default_factory=set)
    lost_queries: set[str] = field(default_factory=set)
    lost_candidates: set[str] = field(default_factory=set)

    def warnings(self, texts: Iterable[str]) -> list[str]:
        ids, lacks = self.corpus.ids, "that the corpus lacks"
        return [
            *notes.same_when_normalised(self.lost_documents, ids, f"judged documents {lacks}"),
            *notes.same_when_normalised(self.lost_queries, texts, "judged queries that have no text"),
            *notes.same_when_normalised(self.lost_candidates, ids, f"candidates {lacks}"),
        ]


def distinct(source: object, documents: Iterable[tuple[int, Document]]) -> tuple[list[Document], int]:
    """Documents, each id once, and how many were there again, word for word.

    `documents` come with their line or number in `source`. Raises UsageError with that place for an id
    that another document has.
    """
    first: dict[str, Document] = {}
    repeated = 0
    for number, document in documents:
        before = first.setdefault(document.id, document)
        if before is document:
            continue
        if before != document:
            raise UsageError(
                f"{source}:{number}: document id {document.id!r} occurs twice, with two texts; "
                "ids must be unique"
            )
        repeated += 1
    return list(first.values()), repeated


def build(
    source: str,
    corpus: Corpus,
    judged: Mapping[SplitName, Judged],
    pools: Mapping[str, Sequence[str]] | None = None,
    rules: Rules | None = None,
) -> Collection:
    """Splits over one corpus; `source` is what errors name, `pools` the candidates to rerank by query id.

    A negative grade becomes 0. Queries without a text are dropped. Judgments of documents that the corpus
    lacks stay, unless `rules` drop them and the queries that have no others. Where there is a train but no
    dev split, a tenth of train, drawn by a hash of the ids, becomes dev. With `pools`, a test query without
    one has no candidates, a dev query goes, and a training query may have any document.

    Raises UsageError for an empty corpus, where two splits share a query, where a split that was given has
    no query with both a text and a judged document in the corpus, and where no test query has candidates.
    """
    if not len(corpus):
        raise UsageError(f"{source}: the corpus is empty")
    made = _Build(source, corpus, rules or Rules())
    kept = {name: _kept(made, name, judged[name]) for name in judged}
    _refuse_shared(source, kept)
    if "train" in kept and "dev" not in kept:
        dev = _held_out([q for q in kept["train"] if pools is None or q in pools])
        kept["dev"] = {q: kept["train"].pop(q) for q in dev}
        judged = {**judged, "dev": judged["train"]}
        made.counts["dev_queries_held_out_of_train"] = len(dev)
    texts = {q for part in judged.values() for q in part.texts}
    unjudged = texts.difference(*(part.grades for part in judged.values()))
    made.counts["queries_without_judgments"] = len(unjudged)
    splits: dict[SplitName, Split] = {}
    for name in SPLITS:
        grades = kept.get(name, {})
        queries = list(_queries(made, judged[name], grades)) if grades else []
        if name == "test":
            _count_own_documents(made, queries)
        if pools is not None:
            queries = _with_candidates(made, name, queries, pools)
        splits[name] = Split(tuple(queries), Judgments({q.id: grades[q.id] for q in queries}), corpus)
    sizes = {f"queries_{name}": len(split.queries) for name, split in splits.items()}
    facts = {"documents": len(corpus), **sizes, **made.counts}
    warnings = made.warnings(texts)
    return Collection(splits, facts, (*_notes(facts, made.rules), *warnings), tuple(warnings))


def _kept(made: _Build, name: SplitName, part: Judged) -> dict[str, dict[str, int]]:
    """The grades that count, 0 or more, of queries with a text."""
    known = made.corpus.positions
    kept: dict[str, dict[str, int]] = {}
    alone: set[str] = set()
    here: Counter[str] = Counter(
        judged_queries_without_text=0,
        judgments_of_missing_documents=0,
        queries_with_missing_documents_only=0,
        negative_grades=0,
    )
    for query, grades in part.grades.items():
        if query not in part.texts:
            here["judged_queries_without_text"] += 1
            made.lost_queries.add(query)
            continue
        missing = [d for d in grades if d not in known]
        made.lost_documents.update(missing)
        here["judgments_of_missing_documents"] += len(missing)
        here["negative_grades"] += sum(grade < 0 for grade in grades.values())
        kept[query] = {d: max(grade, 0) for d, grade in grades.items()}
        if len(missing) == len(grades):
            alone.add(query)
    here["queries_with_missing_documents_only"] = len(alone)
    made.counts.update(here)
    if name == "test":
        made.counts.update({f"test_{what}": number for what, number in here.items()})
    if len(alone) == len(kept):
        advice = "; ".join(made.warnings(part.texts))
        raise UsageError(
            f"{made.source}: none of the {len(part.grades)} queries judged for {name} has both a text and a "
            "judged document in the corpus; the ids of queries, judgments and documents must be the same"
            + (f"; {advice}" if advice else "")
        )
    if made.rules.missing == "keep":
        return kept
    return {
        q: {d: g for d, g in grades.items() if d in known} for q, grades in kept.items() if q not in alone
    }


def _queries(made: _Build, part: Judged, grades: Mapping[str, dict[str, int]]) -> Iterator[Query]:
    for query, text in part.texts.items():
        if query in grades:
            excluded = part.excluded.get(query, frozenset())
            if excludes_own(made.rules.exclude_self, query, text, grades[query], made.corpus):
                excluded |= {query}
            yield Query(query, text, None, excluded)


def _count_own_documents(made: _Build, queries: Iterable[Query]) -> None:
    sharing = [q for q in queries if q.id in made.corpus.positions]
    made.counts["test_queries_that_are_documents"] = sum(q.id in q.excluded for q in sharing)
    made.counts["test_queries_with_a_ranked_document_s_id"] = sum(q.id not in q.excluded for q in sharing)


def _notes(facts: Mapping[str, int], rules: Rules) -> list[str]:
    return [
        *notes.own_documents(
            rules.exclude_self,
            facts["test_queries_that_are_documents"],
            facts["test_queries_with_a_ranked_document_s_id"],
            facts["queries_test"],
        ),
        *notes.missing_documents(
            rules.missing,
            facts["test_judgments_of_missing_documents"],
            facts["test_queries_with_missing_documents_only"],
        ),
        *notes.queries_without_text(facts["test_judged_queries_without_text"]),
        *notes.candidates_outside(facts.get("candidates_not_in_corpus", 0)),
    ]


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
    made: _Build, name: SplitName, queries: Sequence[Query], pools: Mapping[str, Sequence[str]]
) -> list[Query]:
    pooled: list[Query] = []
    for query in queries:
        if query.id in pools:
            candidates, outside = pool(query.id, pools[query.id], made.corpus, query.excluded)
            made.counts["candidates_not_in_corpus"] += len(outside)
            made.lost_candidates.update(outside)
        else:
            candidates = ()
        if candidates or name == "test":
            pooled.append(replace(query, candidates=candidates))
        elif name == "train":
            pooled.append(query)
    made.counts[f"{name}_queries_without_candidates"] = sum(q.id not in pools for q in queries)
    if name == "test" and not any(q.candidates for q in pooled):
        raise UsageError(
            f"{made.source}: none of the {len(pooled)} test queries has candidates among the documents"
        )
    return pooled
