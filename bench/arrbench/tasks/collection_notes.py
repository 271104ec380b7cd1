"""What is said under a collection's tables: what its files name and lack, which queries are documents."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal
from unicodedata import normalize

ExcludeSelf = Literal["auto", "yes", "no"]
Missing = Literal["keep", "drop"]


def missing_documents(rule: Missing, judgments: int, queries: int) -> list[str]:
    """On judgments of documents that the corpus lacks, and test queries whose judgments are all such."""
    if not judgments:
        return []
    if rule == "drop":
        return [
            "missing=drop, which raises the figures: test judgments left out, since the corpus lacks their "
            f"documents: {judgments}; test queries left out that have no others: {queries}"
        ]
    return [
        f"test judgments whose documents the corpus lacks: {judgments}; they stay in the ideal, where no "
        f"ranking reaches them; test queries that have no others and count 0: {queries} (missing=drop leaves "
        "both out)"
    ]


def queries_without_text(queries: int) -> list[str]:
    """On judged test queries that can't be asked."""
    return [f"judged test queries left out, since they have no text: {queries}"] if queries else []


def candidates_outside(candidates: int) -> list[str]:
    """On candidates that a run has and the corpus lacks."""
    return [f"candidates left out, since the corpus lacks them: {candidates}"] if candidates else []


def own_documents(rule: ExcludeSelf, excluded: int, others: int, queries: int) -> list[str]:
    """On test queries that exclude the document of their id, and on those that share an id and don't."""
    notes = []
    if excluded:
        by = "same id and same text" if rule == "auto" else "same id, by exclude_self=yes"
        notes.append(
            f"test queries that are documents themselves ({by}), which are not ranked for them: "
            f"{excluded} of {queries}"
        )
    if others:
        why = (
            "exclude_self=no"
            if rule == "no"
            else "its text is another, or it is relevant to the query; exclude_self=yes leaves it out"
        )
        notes.append(
            f"test queries with the id of a document that is ranked for them ({why}): {others} of {queries}"
        )
    return notes


def same_when_normalised(lost: Collection[str], known: Iterable[str], what: str) -> list[str]:
    """On ids that would be among those known if both were written in Unicode's form NFC; at most one line."""
    if not lost:
        return []
    forms = {normalize("NFC", i) for i in known}
    alike = sorted(i for i in lost if normalize("NFC", i) in forms)
    if not alike:
        return []
    return [
        f"{what}: {len(alike)} of {len(lost)} would be there after Unicode normalisation (NFC), such as "
        f"{alike[0]!a}; write ids the same way in all files"
    ]
