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
    lacking = f"{_count(judgments, 'judgment')} of the test queries name documents that the corpus lacks"
    alone = f"{_count(queries, 'query', 'queries')} with no other judgment"
    if rule == "drop":
        return [f"missing=drop: {lacking}; they are left out, and so are {alone}, which raises the figures"]
    return [
        f"{lacking}; they stay in the ideal, where no ranking reaches them, and {alone} count 0 "
        "(missing=drop leaves them out)"
    ]


def queries_without_text(queries: int) -> list[str]:
    """On judged test queries that can't be asked."""
    left_out = f"{_count(queries, 'judged test query', 'judged test queries')} without a text left out"
    return [left_out] if queries else []


def candidates_outside(candidates: int) -> list[str]:
    """On candidates that a run has and the corpus lacks."""
    left_out = f"{_count(candidates, 'candidate')} that the corpus lacks left out"
    return [left_out] if candidates else []


def own_documents(rule: ExcludeSelf, excluded: int, others: int, queries: int) -> list[str]:
    """On test queries that exclude the document of their id, and on those that share an id and don't."""
    of = f"of the {_count(queries, 'test query', 'test queries')}"
    notes = []
    if excluded:
        why = "same id and same text" if rule == "auto" else "same id; exclude_self=yes compares no texts"
        notes.append(f"{excluded} {of} are documents themselves ({why}): their own is not ranked for them")
    if others:
        why = {
            "auto": "its text is another or it is relevant to the query; exclude_self=yes leaves it out",
            "no": "exclude_self=no",
            "yes": "",
        }[rule]
        notes.append(f"{others} {of} have the id of a document that is ranked for them ({why})")
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
        f"{len(alike)} of the {len(lost)} {what} would be found after Unicode normalisation (NFC), such as "
        f"{alike[0]!a}: write ids the same way in all files"
    ]


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or f'{one}s'}"
