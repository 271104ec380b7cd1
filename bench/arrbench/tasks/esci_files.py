"""The two official files of ESCI, `examples` (who judged what how) and `products`, joined by document id."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from arrbench.ranker import Document
from arrbench.tasks.parquet import Place, Ranges, batches

if TYPE_CHECKING:
    import pyarrow as pa

Locale = Literal["us", "es", "jp"]
Version = Literal["small", "large"]

LOCALES: tuple[Locale, ...] = ("us", "es", "jp")
LABELS = ("I", "C", "S", "E")  # a label's place is its grade
SPLITS = ("train", "test")
TITLE = "product_title"


@dataclass(slots=True)
class JudgedQuery:
    """A query of the examples file: what is told once of it, and its judged documents' grades."""

    text: str
    locale: str
    split: str
    grades: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Examples:
    """Query id -> query; the ids of all judged documents (each to itself: one string a document);
    judgments told again with the same label, and with another one."""

    queries: dict[str, JudgedQuery] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    contradicting: int = 0


@dataclass(slots=True)
class Products:
    """Documents in the file's order; rows of an id already taken, and documents without a title."""

    documents: list[Document] = field(default_factory=list)
    repeated: int = 0
    untitled: int = 0


def read_examples(file: Path, locales: Sequence[Locale], version: Version) -> Examples:
    """The judged queries of some locales in one version of the data set.

    A document's id is its product id, `locale:product id` when there are several locales: Amazon sells
    one product in several. A judgment told twice counts once; of contradicting labels the better one
    stands (E before S before C before I), which no order of rows can change.

    Raises UsageError with file and row for an unknown label, locale or split, a missing id, and a
    query that has one id but two texts, locales or splits.
    """
    flag = f"{version}_version"
    columns = {
        "query": "string",
        "query_id": "string",
        "product_id": "string",
        "product_locale": "string",
        "esci_label": "string",
        flag: "int64",
        "split": "string",
    }
    examples = Examples()
    for place, batch in batches(file, columns, _without(locales, flag)):
        _add_judgments(examples, place, batch, locales, flag)
    return examples


def read_products(
    file: Path, locales: Sequence[Locale], fields: Sequence[str], known: Mapping[str, str], judged_only: bool
) -> Products:
    """The products of some locales as documents, all of them or those judged.

    `fields` are the columns shown as text, joined by a space, product_title among them; empty ones
    are left out. `known` maps ids to themselves, so that documents share the strings of judgments.
    Of several rows with one id the first stands.

    Raises UsageError with file and row for an unknown locale and a missing id.
    """
    columns = {"product_id": "string", "product_locale": "string", **dict.fromkeys(fields, "string")}
    products = Products()
    taken: set[str] = set()
    for place, batch in batches(file, columns, _without(locales)):
        numbers = _numbered(place, batch, "product_locale", LOCALES)
        _refuse_missing(place, batch, "product_id")
        rows, ids = _wanted_rows(batch, numbers, locales, known if judged_only else None)
        texts = [batch.column(name).take(rows).to_pylist() for name in fields]
        for found, *shown in zip(ids, *texts, strict=True):
            document = known.get(found, found)
            if document in taken:
                products.repeated += 1
                continue
            taken.add(document)
            title = _text(shown[fields.index(TITLE)])
            products.untitled += not title
            text = title if len(fields) == 1 else " ".join(filter(None, map(_text, shown)))
            products.documents.append(Document(document, title, text))
    return products


def _without(locales: Sequence[Locale], flag: str | None = None) -> Callable[[Ranges], bool]:
    """Whether a row group surely holds nothing of these locales or of the version that `flag` names."""
    others = [(other, other) for other in LOCALES if other not in locales]

    def needless(ranges: Ranges) -> bool:
        return ranges.get("product_locale") in others or (flag is not None and ranges.get(flag) == (0, 0))

    return needless


def _add_judgments(
    examples: Examples, place: Place, batch: pa.RecordBatch, locales: Sequence[Locale], flag: str
) -> None:
    import pyarrow.compute as pc

    labels = _numbered(place, batch, "esci_label", LABELS)
    numbers = _numbered(place, batch, "product_locale", LOCALES)
    _numbered(place, batch, "split", SPLITS)
    for name in ("query_id", "product_id", flag):
        _refuse_missing(place, batch, name)
    rows = pc.indices_nonzero(pc.and_(_among(numbers, locales), pc.equal(batch.column(flag), 1)))
    chosen = batch.take(rows)
    columns = (chosen.column(name).to_pylist() for name in ("query_id", "query", "product_locale", "split"))
    documents = _document_ids(chosen, locales).to_pylist()
    queries, known = examples.queries, examples.documents
    lines = zip(*columns, documents, labels.take(rows).to_pylist(), strict=True)
    for line, (query_id, text, locale, split, document, grade) in enumerate(lines):
        text = _text(text)
        query = queries.get(query_id)
        if query is None:
            query = queries[query_id] = JudgedQuery(text, locale, split)
        elif (query.text, query.locale, query.split) != (text, locale, split):
            raise place.fault(rows[line].as_py(), _two_queries(query_id, query, text, locale, split))
        document = known.setdefault(document, document)
        before = query.grades.setdefault(document, -1)
        if before < 0:
            query.grades[document] = grade
        elif before == grade:
            examples.repeated += 1
        else:
            examples.contradicting += 1
            query.grades[document] = max(before, grade)


def _two_queries(query_id: str, query: JudgedQuery, text: str, locale: str, split: str) -> str:
    return (
        f"query {query_id} is {text!r} ({locale}, {split}) here and {query.text!r} ({query.locale}, "
        f"{query.split}) above; an id names one query, in one split"
    )


def _wanted_rows(
    batch: pa.RecordBatch, numbers: pa.Array, locales: Sequence[Locale], wanted: Collection[str] | None
) -> tuple[Sequence[int], list[str]]:
    """The rows of a batch of products that are of these locales and wanted, and their document ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = pc.indices_nonzero(_among(numbers, locales))
    ids = _document_ids(batch.select(["product_id", "product_locale"]).take(rows), locales).to_pylist()
    if wanted is None:
        return rows, ids
    kept = [i for i, document in enumerate(ids) if document in wanted]
    return rows.take(pa.array(kept, pa.int64())), [ids[i] for i in kept]


def _document_ids(batch: pa.RecordBatch, locales: Sequence[Locale]) -> pa.Array:
    import pyarrow.compute as pc

    ids = batch.column("product_id")
    if len(locales) == 1:
        return ids
    return pc.binary_join_element_wise(batch.column("product_locale"), ids, ":")


def _numbered(place: Place, batch: pa.RecordBatch, name: str, known: Sequence[str]) -> pa.Array:
    """The place of each value among those known; UsageError for the first that is none of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = batch.column(name)
    numbers = pc.index_in(column, pa.array(known, pa.string()))
    if numbers.null_count:
        row = pc.indices_nonzero(numbers.is_null())[0].as_py()
        raise place.fault(row, f"{name} is {column[row].as_py()!r}; it must be one of {', '.join(known)}")
    return numbers


def _refuse_missing(place: Place, batch: pa.RecordBatch, name: str) -> None:
    import pyarrow.compute as pc

    if batch.column(name).null_count:
        row = pc.indices_nonzero(batch.column(name).is_null())[0].as_py()
        raise place.fault(row, f"{name} is missing")


def _among(numbers: pa.Array, locales: Sequence[Locale]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.is_in(numbers, pa.array([LOCALES.index(locale) for locale in locales], pa.int32()))


def _text(value: str | None) -> str:
    """A text of the files, "" where it is missing or white space alone."""
    return value if value and not value.isspace() else ""
