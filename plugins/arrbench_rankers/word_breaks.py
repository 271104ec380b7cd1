"""Words of a text in any script, cut where Lucene's StandardTokenizer cuts.

The rules are those of UAX #29, Unicode text segmentation, with Lucene's additions: a run of a script that
is written without blanks (Thai, Lao, Khmer, Myanmar: Line_Break=SA) is one word, an ideograph and a hiragana
are a word each, and so is an emoji, be it a sequence of UTS #51. What holds no letter and no digit is none.

Each character becomes a letter that stands for its class, and patterns over these letters find the words.
"""

from __future__ import annotations

import re

import regex

LONGEST = 255  # of a word, in UTF-16 units: a longer one is cut there, and what is left is read anew
_ASTRAL = 0x10000  # from here on a character is two UTF-16 units

# Lucene 9 has Unicode 12.1. Later versions call fewer symbols pictographs.
_PICTOGRAPHS = (
    r"\p{Extended_Pictographic}"
    r"\u2388\u2600-\u2605\u2607-\u2612\u2614-\u2685\u2690-\u2705\u2708-\u2712\u2763-\u2767"
    r"\U0001F000-\U0001F0FF\U0001F10D-\U0001F10F\U0001F12F\U0001F16C-\U0001F16F\U0001F1AD-\U0001F1E5"
    r"\U0001F249-\U0001F3FA\U0001F400-\U0001F53D\U0001F546-\U0001F64F\U0001F680-\U0001F6FF"
    r"\U0001F774-\U0001F77F\U0001F7D5-\U0001F7FF\U0001F8AE-\U0001F8FF\U0001F947-\U0001FFFD"
)
# A character is of the first class that it fits; a capital stands for two properties at once.
_CLASSES = (
    ("o", r"[\u00B8\u02E5-\u02EB\u055A\u055F\u058A]"),  # these four rows: another property in Unicode 12.1
    ("e", r"[\u0600-\u0605\u06DD\u070F\u08E2\U000110BD\U000110CD]"),
    ("s", r"\u19DA"),
    ("d", r"[\uFE10\uFE14]"),
    ("r", r"\p{Regional_Indicator}"),
    ("p", r"[#*]"),  # digits take part in keycaps, too, but are words without
    ("c", r"\u20E3"),  # the keycap
    ("z", r"\p{WB=ZWJ}"),
    ("f", r"\uFE0F"),  # shows an emoji in colours
    ("t", r"\uFE0E"),  # shows it as text
    ("y", r"\p{Emoji_Modifier}"),
    ("l", r"[\U000E0020-\U000E007E]"),  # tags, as in the flag of Wales
    ("L", r"\U000E007F"),  # their end
    ("S", r"[\p{WB=Extend}&&\p{LB=SA}]"),
    ("e", r"[\p{WB=Extend}\p{WB=Format}]"),
    ("s", r"\p{LB=SA}"),
    ("A", r"[\p{WB=ALetter}&&\p{Extended_Pictographic}]"),
    ("a", r"\p{WB=ALetter}"),
    ("h", r"\p{WB=Hebrew_Letter}"),
    ("n", r"\p{WB=Numeric}"),
    ("k", r"\p{WB=Katakana}"),
    ("u", r"\p{WB=ExtendNumLet}"),
    ("m", r"\p{WB=MidLetter}"),
    ("d", r"\p{WB=MidNum}"),
    ("b", r"\p{WB=MidNumLet}"),
    ("q", r"\p{WB=Single_Quote}"),
    ("Q", r"\p{WB=Double_Quote}"),
    ("x", rf"[{_PICTOGRAPHS}]"),
    ("g", r"\p{Script=Han}"),
    ("i", r"\p{Script=Hiragana}"),
    ("o", r"."),
)
_STARTS = "[zxAyprukhanSsgi]"
_MARK = "ezyclLS"  # what WB4 lets a character carry, but the two that choose how an emoji looks
_MARKS = f"[{_MARK}ft]*+"


def _word() -> str:
    """UAX #29's WB5 to WB13b. Each choice is such that the first match is the longest."""
    e, letter, joiner = _MARKS, "(?:[aA]+|h)", f"(?:u+{_MARKS})"
    letters = rf"(?:h{e}q{e}|h{e}Q{e}h{e}|{letter}{e}(?:[mbq]{e}{letter}{e})*)"
    digits = rf"n{e}(?:[dbq]{e}n{e})*"
    part = rf"(?:(?:k{e})+|(?:{letters}|{digits})+)"
    return rf"{joiner}*+{part}(?:{joiner}++{part})*{joiner}*+"


def _emoji() -> str:
    """One emoji or several joined, those of a flag with tags, a keycap, or a flag of two letters."""
    e = f"[{_MARK}]*"
    emoji = f"[xA]{e}f?"
    joined = rf"(?:(?<=z){emoji}|z+{emoji}|zy{e})*"
    return rf"(?:z*{emoji}|y{e})(?:(?<=f)l+L|{joined})|p{e}f?c{e}|r{_MARKS}r{_MARKS}"


_WORD = re.compile(_word())
_TOKEN = re.compile(rf"(?={_STARTS})(?:{_emoji()}|{_word()}|[sS][s{_MARK}ft]*|[gi]{_MARKS})")


class _ClassOf(dict[int, str]):
    """The class of each code point, worked out when first asked for."""

    def __init__(self) -> None:
        self._patterns = [(c, regex.compile(p, regex.V1 | regex.DOTALL)) for c, p in _CLASSES]

    def __missing__(self, code_point: int) -> str:
        character = chr(code_point)
        self[code_point] = next(c for c, pattern in self._patterns if pattern.match(character))
        return self[code_point]


_class_of = _ClassOf()


def spans(text: str) -> list[tuple[int, int]]:
    """Where each word starts and ends, in code points."""
    classes = text.translate(_class_of)
    found = []
    position = 0
    while position < len(classes):
        half = position + LONGEST  # a word that starts before ends before as much again
        match = _TOKEN.search(classes, position, half + LONGEST)
        if match is None:
            position = half
            continue
        start, end = match.span()
        if start >= half or end - start > LONGEST // 2 or classes[start] == "A":
            end = _end(classes, start, start + _fitting(text[start : start + LONGEST]))
        if end > start:
            found.append((start, end))
        position = max(end, start + 1)
    return found


def _end(classes: str, start: int, limit: int) -> int:
    """Where the longest word from `start` on ends, at `limit` or before; `start` where there is none."""
    matches = (pattern.match(classes, start, limit) for pattern in (_TOKEN, _WORD))
    return max((match.end() for match in matches if match), default=start)


def _fitting(text: str) -> int:
    """How many of the characters fit into the longest word."""
    units = 0
    for i, character in enumerate(text):
        units += 1 + (ord(character) >= _ASTRAL)
        if units > LONGEST:
            return i
    return len(text)
