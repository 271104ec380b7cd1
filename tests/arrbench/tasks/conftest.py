"""A made-up WordNet of a dozen nouns, written as data.noun and index.noun."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


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
