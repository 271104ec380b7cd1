"""Documents and queries of a user's folder: JSON lines or TSV, a line at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arrbench.errors import UsageError
from arrbench.lines import numbered
from arrbench.ranker import Document
from arrbench.tasks.collection import distinct

# names that the first line of a TSV file may give its columns, in small letters
_IDS = ("id", "_id", "docid", "doc_id", "doc-id", "docno", "did", "pid", "passage_id", "document_id")
_QUERY_IDS = ("id", "_id", "qid", "query_id", "query-id", "queryid", "topic", "topic_id")
_TITLES = ("title",)
_TEXTS = ("text", "contents", "content", "body", "passage", "document")
_QUERY_TEXTS = ("text", "query", "title", "question", "query_text")


@dataclass(slots=True)
class Queries:
    """Query id -> text, and query id -> documents that are kept out of its ranking."""

    texts: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, frozenset[str]] = field(default_factory=dict)
    repeated: int = 0  # queries that were there again, word for word


def read_documents(file: Path) -> tuple[list[Document], int]:
    """Documents in the file's order, each id once; and how many were there again, word for word.

    JSON lines are BEIR's (`_id`, `title`, `text`: the text shown is title and text together) or those
    that `arrbench export` writes (`id`, `title`, `text`: the text is shown as it is). TSV is
    `id text` or `id title text`, the latter read as BEIR's; a first line may name these columns, in any
    order after the id. A missing title is empty.

    Raises UsageError with file and line for a line that is none of these and for an id with two texts.
    """
    return distinct(file, _json_documents(file) if _is_json(file) else _tsv_documents(file))


def read_queries(file: Path) -> Queries:
    """Queries of JSON lines with `_id` or `id`, `text` and perhaps `excluded`, or of TSV with id and text.

    Raises UsageError as `read_documents` does.
    """
    queries = Queries()
    for number, query, text, excluded in _json_queries(file) if _is_json(file) else _tsv_queries(file):
        before = queries.texts.get(query)
        if before is None:
            queries.texts[query] = text
            if excluded:
                queries.excluded[query] = excluded
        elif (before, queries.excluded.get(query, frozenset())) == (text, excluded):
            queries.repeated += 1
        else:
            raise UsageError(
                f"{file}:{number}: query id {query!r} occurs twice, with two texts; ids must be unique"
            )
    return queries


def _is_json(file: Path) -> bool:
    return file.name.removesuffix(".gz").endswith(".jsonl")


def _json_documents(file: Path) -> Iterator[tuple[int, Document]]:
    for number, line in _objects(file):
        where = f"{file}:{number}"
        title = _string(line, "title", where) if line.get("title") is not None else ""
        text = _string(line, "text", where)
        shown = _joined(title, text) if "_id" in line else text
        yield number, Document(_id(line, where), title, shown)


def _tsv_documents(file: Path) -> Iterator[tuple[int, Document]]:
    title_at, text_at = 1, 2  # of three columns
    for place, (number, line) in enumerate(numbered(file)):
        columns = line.split("\t")
        if place == 0 and _is_header(columns, _IDS, (*_TITLES, *_TEXTS)):
            if len(columns) == 3 and columns[2].strip().lower() in _TITLES:
                title_at, text_at = 2, 1
            continue
        where = f"{file}:{number}"
        if len(columns) == 2:
            yield number, Document(_checked(columns[0], where), "", columns[1])
        elif len(columns) == 3:
            title, text = columns[title_at], columns[text_at]
            yield number, Document(_checked(columns[0], where), title, _joined(title, text))
        else:
            raise UsageError(
                f"{where}: {len(columns)} columns; a document is id<TAB>text or id<TAB>title<TAB>text"
            )


def _json_queries(file: Path) -> Iterator[tuple[int, str, str, frozenset[str]]]:
    for number, line in _objects(file):
        where = f"{file}:{number}"
        excluded = line.get("excluded") or []
        if not isinstance(excluded, list) or not all(isinstance(d, str) for d in excluded):
            raise UsageError(f"{where}: 'excluded' is {excluded!r:.60}, not a list of document ids")
        yield number, _id(line, where), _string(line, "text", where), frozenset(excluded)


def _tsv_queries(file: Path) -> Iterator[tuple[int, str, str, frozenset[str]]]:
    for place, (number, line) in enumerate(numbered(file)):
        columns = line.split("\t")
        if place == 0 and len(columns) == 2 and _is_header(columns, _QUERY_IDS, _QUERY_TEXTS):
            continue
        if len(columns) != 2:
            raise UsageError(f"{file}:{number}: {len(columns)} columns; a query is id<TAB>text")
        yield number, _checked(columns[0], f"{file}:{number}"), columns[1], frozenset()


def _is_header(columns: Sequence[str], ids: Collection[str], others: Collection[str]) -> bool:
    first, *rest = (column.strip().lower() for column in columns)
    return first in ids and bool(rest) and all(column in others for column in rest)


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in numbered(file):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{file}:{number}: not JSON: {error}") from None
        if not isinstance(found, dict):
            raise UsageError(f"{file}:{number}: a JSON {type(found).__name__}; each line is one object")
        yield number, found


def _string(line: dict[str, Any], key: str, where: str) -> str:
    if key not in line:
        raise UsageError(f"{where}: no {key!r}; {_keys(line)}")
    value = line[key]
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key!r} is {value!r:.60}, not a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a \ud83d\ude00 pair is JSON, but no text
            raise UsageError(f"{where}: {key!r} holds half a surrogate pair, which is no character") from None
    return value


def _id(line: dict[str, Any], where: str) -> str:
    key = next((key for key in ("_id", "id") if key in line), None)
    if key is None:
        raise UsageError(f"{where}: no '_id' or 'id'; {_keys(line)}")
    return _checked(_string(line, key, where), where)


def _keys(line: dict[str, Any]) -> str:
    return f"keys there: {', '.join(map(repr, line)) or 'none'}"


def _checked(name: str, where: str) -> str:
    if not name or any(c.isspace() for c in name):
        raise UsageError(f"{where}: id {name!r} is empty or holds white space, which a TREC run can't carry")
    return name


def _joined(title: str, text: str) -> str:
    return f"{title} {text}".strip() if title else text
