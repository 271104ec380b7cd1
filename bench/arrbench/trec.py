"""Readers of TREC's plain files, plain or gzipped: runs, and judgments (qrels; BEIR's three columns too).

As in trec_eval 10, a line that begins with # is a comment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from arrbench.errors import UsageError
from arrbench.lines import numbered

Run = dict[str, list[tuple[str, float]]]
Grades = dict[str, dict[str, int]]

COMMENT = "#"
LARGEST = 2**31 - 1  # the largest grade or rank: what every tool that reads these files can hold

_BEIR_HEADER = ["query-id", "corpus-id", "score"]
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def read_run(file: Path) -> Run:
    """Query id -> (document id, score) pairs, best first; equal scores in the order of their ranks.

    A line is `query Q0 document rank score tag`. Raises UsageError with file and line for another
    number of columns, a rank that is no integer, a score that is not finite, and a document that a
    query has twice; for a file without a line.
    """
    found: dict[str, dict[str, tuple[float, int]]] = {}
    for number, line in _lines(file):
        words = line.split()
        if len(words) != 6:
            raise UsageError(
                f"{file}:{number}: {len(words)} columns; a run has 6: query Q0 document rank score tag"
            )
        query, _, document, rank, score, _ = words
        places = found.setdefault(query, {})
        if document in places:
            raise UsageError(f"{file}:{number}: document {document!r} is there twice for query {query!r}")
        places[document] = -_score(score, file, number), _integer(rank, "rank", file, number)
    if not found:
        once = "" if file.is_file() else " (it is no regular file: a pipe can be read once, by one task)"
        raise UsageError(f"{file} is an empty run{once}; its lines are: query Q0 document rank score tag")
    return {
        query: [(document, -places[document][0]) for document in sorted(places, key=places.__getitem__)]
        for query, places in found.items()
    }


def read_qrels(file: Path) -> Grades:
    """Query id -> document id -> grade as written, in the file's order; a grade may be negative.

    Reads TREC's `query iteration document grade` and BEIR's `query-id corpus-id score` with that
    header. A judgment repeated with the same grade counts once. Raises UsageError with file and line
    for another number of columns, a grade that is no integer or larger than LARGEST, and a judgment
    that contradicts an earlier one; for a file without a judgment.
    """
    grades: Grades = {}
    columns = 0
    for number, line in _lines(file):
        words = line.split()
        if not columns:
            columns = 3 if [w.lower() for w in words] == _BEIR_HEADER else 4
            if columns == 3:
                continue
        if len(words) != columns:
            raise UsageError(
                f"{file}:{number}: {len(words)} columns where {columns} belong; judgments are "
                "`query iteration document grade`, or three columns below the header "
                f"`{' '.join(_BEIR_HEADER)}`"
            )
        query, document = words[0], words[-2]
        grade = _integer(words[-1], "grade", file, number)
        if grades.setdefault(query, {}).setdefault(document, grade) != grade:
            raise UsageError(
                f"{file}:{number}: grade {grade} of document {document!r} for query {query!r} "
                f"contradicts an earlier line's {grades[query][document]}"
            )
    if not grades:
        raise UsageError(f"{file} holds no judgment; its lines are: query iteration document grade")
    return grades


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in numbered(file) if not line.startswith(COMMENT))


def _integer(word: str, what: str, file: Path, number: int) -> int:
    """An integer in the digits 0 to 9: Python's own `int` takes 1_0 and the digits of every script."""
    if not _INTEGER.fullmatch(word):
        raise UsageError(f"{file}:{number}: {what} {word!r:.60} is no integer")
    digits = word.lstrip("+-").lstrip("0") or "0"
    if len(digits) > len(str(LARGEST)) or int(digits) > LARGEST:
        raise UsageError(f"{file}:{number}: {what} {word!r:.60} is out of range: at most {LARGEST}")
    return -int(digits) if word.startswith("-") else int(digits)


def _score(word: str, file: Path, number: int) -> float:
    score = float(word) if _NUMBER.fullmatch(word) else math.nan
    if not math.isfinite(score):
        raise UsageError(f"{file}:{number}: score {word!r} is no finite number")
    return score
