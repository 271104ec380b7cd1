"""Documents and queries of a user's folder: JSON lines or TSV, a line at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arrbench.errors import UsageError
from arrbench.lines import numbered
from arrbench.ranker import Document


def read_documents(file: Path) -> Iterator[Document]:
    """Documents in the file's order, each id once.

    JSON lines are BEIR's (`_id`, `title`, `text`: the text shown is title and text together) or those
    that `arrbench export` writes (`id`, `title`, `text`: the text is shown as it is). TSV is
    `id text` or `id title text`, the latter read as BEIR's. A missing title is empty.

    Raises UsageError with file and line for a line that is none of these and for a second use of an id.
    """
    seen: set[str] = set()
    for number, document in _json_documents(file) if _is_json(file) else _tsv_documents(file):
        if document.id in seen:
            raise UsageError(f"{file}:{number}: document id {document.id!r} occurs twice; ids must be unique")
        seen.add(document.id)
        yield document


def read_queries(file: Path) -> dict[str, str]:
    """Query id -> text: JSON lines with `_id` or `id` and `text`, or TSV of id and text.

    Raises UsageError as `read_documents` does.
    """
    texts: dict[str, str] = {}
    for number, query, text in _json_queries(file) if _is_json(file) else _tsv_queries(file):
        if query in texts:
            raise UsageError(f"{file}:{number}: query id {query!r} occurs twice; ids must be unique")
        texts[query] = text
    return texts


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
    for number, line in numbered(file):
        match line.split("\t"):
            case [document, text]:
                yield number, Document(_checked(document, f"{file}:{number}"), "", text)
            case [document, title, text]:
                yield number, Document(_checked(document, f"{file}:{number}"), title, _joined(title, text))
            case columns:
                raise UsageError(
                    f"{file}:{number}: {len(columns)} columns; a document is id<TAB>text or "
                    "id<TAB>title<TAB>text"
                )


def _json_queries(file: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in _objects(file):
        where = f"{file}:{number}"
        yield number, _id(line, where), _string(line, "text", where)


def _tsv_queries(file: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in numbered(file):
        columns = line.split("\t")
        if len(columns) != 2:
            raise UsageError(f"{file}:{number}: {len(columns)} columns; a query is id<TAB>text")
        yield number, _checked(columns[0], f"{file}:{number}"), columns[1]


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
