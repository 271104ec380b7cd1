"""A made-up WordNet of a dozen nouns, written as data.noun and index.noun, and a made-up ESCI."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arrbench.tasks.esci_fetch import EXAMPLES, PRODUCTS


@dataclass(frozen=True)
class Noun:
    """One synset to write; `above` are the offsets of its hypernyms, `instance_of` those by @i."""

    offset: int
    lemmas: tuple[tuple[str, str], ...]  # word, lex_id as a hexadecimal digit
    above: tuple[int, ...] = ()
    instance_of: tuple[int, ...] = ()
    gloss: str = "made up"


#             thing
#        tool ┬ beast
#   hammer  saw   mule (beast; tool)
#   gavel (hammer; beast)   Excalibur (@i tool)   hinny (mule)   centaur (tool, beast)
TOYS = (
    Noun(100, (("thing", "0"),), gloss="all there is"),
    Noun(200, (("tool", "0"), ("Implement", "1")), (100,), gloss='helps the hand; "a tool; it helps"'),
    Noun(300, (("beast", "0"),), (100,)),
    Noun(400, (("hammer", "0"),), (200,)),
    Noun(500, (("saw", "0"),), (200,)),
    Noun(600, (("gavel", "0"),), (400, 300)),
    Noun(700, (("mule", "0"),), (300,)),
    Noun(800, (("hinny", "0"),), (700,)),
    Noun(900, (("Centaur_of_old", "a"),), (300, 200)),
    Noun(1000, (("Excalibur", "0"),), instance_of=(200,)),
    Noun(1100, (("saw", "1"),), (700,), gloss="a mule that said"),
)
HEADER = ("  1 This software and database is made up.  ", "  2 WordNet 9.9 Copyright 2099 by nobody.  ")

Write = Callable[..., Path]


def line_of(noun: Noun, nouns: tuple[Noun, ...]) -> str:
    words = " ".join(f"{lemma} {lex_id}" for lemma, lex_id in noun.lemmas)
    pointers = [f"@ {o:08d} n 0000" for o in noun.above] + [f"@i {o:08d} n 0000" for o in noun.instance_of]
    pointers += [f"~ {n.offset:08d} n 0000" for n in nouns if noun.offset in n.above]
    pointers += [f"~i {n.offset:08d} n 0000" for n in nouns if noun.offset in n.instance_of]
    pointers += ["+ 00099999 v 0101"]  # a verb: no other file is read
    fields = [f"{noun.offset:08d} 03 n {len(noun.lemmas):02x} {words} {len(pointers):03d}", *pointers]
    return f"{' '.join(fields)} | {noun.gloss}  "


def index_lines(nouns: tuple[Noun, ...]) -> list[str]:
    senses: dict[str, list[int]] = {}
    for noun in reversed(nouns):  # so that sense order is not the order of offsets
        for lemma, _ in noun.lemmas:
            senses.setdefault(lemma.lower(), []).append(noun.offset)
    return [
        f"{lemma} n {len(at)} 2 @ ~ {len(at)} 0 {' '.join(f'{o:08d}' for o in at)}  "
        for lemma, at in sorted(senses.items())
    ]


def write_files(folder: Path, nouns: tuple[Noun, ...], newline: str = "\n", index: bool = True) -> Path:
    folder.mkdir()
    files = {"data.noun": [*HEADER, *(line_of(noun, nouns) for noun in nouns)]}
    if index:
        files["index.noun"] = [*HEADER, *index_lines(nouns)]
    for file, lines in files.items():
        (folder / file).write_bytes("".join(line + newline for line in lines).encode())
    return folder


@pytest.fixture
def write_dict(tmp_path: Path) -> Write:
    """Writes a `dict` folder and returns it."""

    def write(
        nouns: tuple[Noun, ...] = TOYS, name: str = "dict", newline: str = "\n", index: bool = True
    ) -> Path:
        return write_files(tmp_path / name, nouns, newline, index)

    return write


@pytest.fixture(scope="session")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `dict` folder of 400 made-up nouns, up to four below each, under noun0.n.01."""
    nouns = tuple(
        Noun(10 * i, ((f"noun{i}", "0"),), ((i - 1) // 4 * 10,) if i else (), gloss=f"number {i}")
        for i in range(400)
    )
    return write_files(tmp_path_factory.mktemp("forest") / "dict", nouns)


Row = dict[str, Any]

EXAMPLES_SCHEMA = pa.schema(
    {
        "example_id": pa.int64(),
        "query": pa.string(),
        "query_id": pa.int64(),
        "product_id": pa.string(),
        "product_locale": pa.string(),
        "esci_label": pa.string(),
        "small_version": pa.int64(),
        "large_version": pa.int64(),
        "split": pa.string(),
    }
)
PRODUCTS_SCHEMA = pa.schema(
    {
        "product_id": pa.string(),
        "product_title": pa.large_string(),  # pandas writes one or the other
        "product_description": pa.string(),
        "product_bullet_point": pa.string(),
        "product_brand": pa.string(),
        "product_color": pa.string(),
        "product_locale": pa.string(),
    }
)


def judgment(query_id: int, product: str, label: str, **changed: Any) -> Row:
    """A row of the examples file; queries 1 to 19 are test, the others train."""
    row = {
        "example_id": 0,
        "query": f"find {query_id}",
        "query_id": query_id,
        "product_id": product,
        "product_locale": "us",
        "esci_label": label,
        "small_version": 1,
        "large_version": 1,
        "split": "test" if query_id < 20 else "train",
    }
    return {**row, **changed}


def product(product_id: str, **changed: Any) -> Row:
    row = {
        "product_id": product_id,
        "product_title": f"title {product_id}",
        "product_description": f"description {product_id}",
        "product_bullet_point": f"bullet {product_id}",
        "product_brand": "brand",
        "product_color": None,
        "product_locale": "us",
    }
    return {**row, **changed}


JUDGMENTS = (
    *(judgment(q, f"B{q}{label}", label) for q in (1, 2, 3) for label in "IECS"),
    *(judgment(q, f"B{1 + q % 3}{label}", label) for q in range(20, 60) for label in "SCIE"),
    judgment(4, "B1E", "I", small_version=0),
    judgment(10, "B1E", "S", product_locale="es"),
    judgment(70, "B1E", "C", product_locale="es"),
    judgment(11, "J", "E", product_locale="jp", query="\u63a2\u3059"),
)
CATALOGUE = (
    *(product(f"B{q}{label}") for q in (1, 2, 3) for label in "ESCI"),
    product("unjudged"),
    product("B1E", product_locale="es", product_title="t\u00edtulo"),
    product("J", product_locale="jp", product_title="\u984c"),
)


@dataclass(frozen=True)
class MadeUpESCI:
    """Rows to write as the two official files; a test changes or adds some."""

    folder: Path
    judgment: Callable[..., Row] = judgment
    product: Callable[..., Row] = product
    judgments: tuple[Row, ...] = JUDGMENTS
    catalogue: tuple[Row, ...] = CATALOGUE

    def write(
        self,
        judgments: tuple[Row, ...] | None = None,
        catalogue: tuple[Row, ...] | None = None,
        group_rows: int = 1_000,
        without: str = "",
    ) -> Path:
        """The folder, with both files in it; `without` names a column to leave out."""
        self.folder.mkdir(exist_ok=True)
        for name, rows, schema in (
            (EXAMPLES, self.judgments if judgments is None else judgments, EXAMPLES_SCHEMA),
            (PRODUCTS, self.catalogue if catalogue is None else catalogue, PRODUCTS_SCHEMA),
        ):
            table = pa.Table.from_pylist(list(rows), schema)
            table = table.drop_columns([without] if without in schema.names else [])
            pq.write_table(table, self.folder / name, row_group_size=group_rows)
        return self.folder


@pytest.fixture
def made_up_esci(tmp_path: Path) -> MadeUpESCI:
    """A made-up ESCI of three locales: `write` writes it."""
    return MadeUpESCI(tmp_path / "esci")
