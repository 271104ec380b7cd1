"""Terms of bm25, in many scripts: stated by hand, and held against Lucene's own where it is installed."""

from __future__ import annotations

import itertools
import random
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers import java, lucene_index, word_breaks
from arrbench_rankers.analysis import Analyser
from arrbench_rankers.bm25 import BM25
from arrbench_rankers.dev_measure import ndcg_at_10
from arrbench_rankers.lucene import BM25Lucene

with_lucene = pytest.mark.skipif(find_spec("pyserini") is None, reason="the extra lucene is not installed")
ENGLISH, PLAIN = Analyser("porter", stop=True), Analyser("none", stop=False)

WORDS = {
    "Hindi": ("हिन्दी में ठंडा पानी, क्षत्रिय।", "हिन्दी में ठंडा पानी क्षत्रिय"),
    "Bengali": ("বাংলা ভাষায় বৃষ্টি", "বাংলা ভাষায় বৃষ্টি"),
    "Tamil": ("தமிழ் மொழி", "தமிழ் மொழி"),
    "Telugu": ("తెలుగు పుస్తకం", "తెలుగు పుస్తకం"),
    "Malayalam, a joiner": ("മലയാളം നന്\u200dമ", "മലയാളം നന്\u200dമ"),
    "Thai": ("ภาษาไทย น้ำเย็น๑๒", "ภาษาไทย น้ำเย็น ๑๒"),
    "Lao": ("ພາສາລາວ ນ້ຳ", "ພາສາລາວ ນ້ຳ"),
    "Khmer": ("ភាសាខ្មែរ ទឹក", "ភាសាខ្មែរ ទឹក"),
    "Myanmar": ("မြန်မာစာ ရေ", "မြန်မာစာ ရေ"),
    "Thai beside Latin": ("ราคาUSDแพง", "ราคา usd แพง"),
    "Arabic, pointed": ("كِتَابٌ جَدِيدٌ، قَلَم", "كِتَابٌ جَدِيدٌ قَلَم"),
    "Arabic digits": ("سنة ١٩٨٤ و ١٫٥", "سنة ١٩٨٤ و ١٫٥"),
    "Hebrew, pointed": ("בְּרֵאשִׁית שָׁלוֹם", "בְּרֵאשִׁית שָׁלוֹם"),
    "Hebrew quotes": ('צה"ל ג\'ירפה ג\' "שלום"', "צה\"ל ג'ירפה ג' שלום"),
    "Persian, ZWNJ": ("می\u200cخواهم کتاب\u200cها", "می\u200cخواهم کتاب\u200cها"),
    "composed": ("café résumé naïve", "café résumé naïve"),
    "decomposed": ("cafe\u0301 re\u0301sume\u0301", "cafe\u0301 re\u0301sume\u0301"),
    "soft hyphen": ("com\u00adputer", "com\u00adputer"),
    "Turkish": ("İSTANBUL ılık", "istanbul ılık"),
    "Greek": ("ΟΔΟΣ Σίσυφος", "οδοσ σίσυφος"),
    "German": ("STRASSE Straße ẞ", "strasse straße ß"),
    "Cyrillic": ("Ёлка по-русски", "ёлка по русски"),
    "Armenian, Georgian": ("Հայերեն Ქართული", "հայերեն ქართული"),
    "Amharic, Cherokee": ("አማርኛ ᏣᎳᎩ", "አማርኛ ꮳꮃꭹ"),
    "Deseret": ("𐐔𐐯𐑅𐐨𐑉𐐯𐐻", "𐐼𐐯𐑅𐐨𐑉𐐯𐐻"),
    "ideographs": ("漢字が人々々", "漢 字 が 人 々々"),
    "ideographs beyond 16 bits": ("𠀀𠀁𪜶中", "𠀀 𠀁 𪜶 中"),
    "Hiragana and Katakana": ("ひらコンピューター・ｶﾞｽ゛", "ひ ら コンピューター ｶﾞｽ゛"),
    "Hangul": (
        "한국어를 \u1112\u1161\u11ab\u1100\u116e\u11a8",
        "한국어를 \u1112\u1161\u11ab\u1100\u116e\u11a8",
    ),
    "full width": ("ＡＢＣ１２ ｓ３．５", "ａｂｃ１２ ｓ３．５"),
    "numbers": ("1,234.5 3;4 1.a a.1 10% 192.168.0.1:80", "1,234.5 3;4 1 a a 1 10 192.168.0.1 80"),
    "apostrophes": ("o’clock dog’s DOG’S dog＇s l'été rock'n'roll", "o’clock dog dog dog l'été rock'n'roll"),
    "between letters": ("a:b e.g. l·l d‧e", "a:b e.g l·l d‧e"),
    "underscores": ("_ __ _é_ é_1 é__ ‿é", "_é_ é_1 é__ ‿é"),
    "emoji": ("☺️ 👍🏽👍 👩‍👩‍👧! ❤️‍🔥é ★ ©", "☺️ 👍🏽 👍 👩‍👩‍👧 ❤️‍🔥 é ★ ©"),
    "flags, keycaps": (
        "🇩🇪🇫🇷🇩 🏴\U000e0067\U000e0062\U000e007f 1️⃣ #️⃣ # *⃣",
        "🇩🇪 🇫🇷 🏴\U000e0067\U000e0062\U000e007f 1️⃣ #️⃣ *⃣",
    ),
    "emoji that are letters": ("ℹ️‍🔥 Ⓜé ⓜ", "ℹ️‍🔥 ⓜé ⓜ"),
    "mixed": ("iPhone手机壳2個 naïveかな", "iphone 手 机 壳 2 個 naïve か な"),
}


@cache
def jnius() -> Any:
    return java.started("this test", 1)


@cache
def lucenes(stem: bool, stop: bool) -> Any:
    return lucene_index.analyser(jnius(), stem, stop)


def assert_as_lucene(texts: Iterator[str] | list[str]) -> int:
    """Both analysers, English and plain, make of each text what Lucene makes of it; returns the terms."""
    compared = 0
    for text in texts:
        for ours, theirs in ((ENGLISH, lucenes(True, True)), (PLAIN, lucenes(False, False))):
            terms = ours.terms(text)
            assert terms == lucene_index.terms(jnius(), theirs, text), ascii(text)
            compared += len(terms)
    return compared


@pytest.mark.parametrize("script", WORDS)
def test_words_of_many_scripts(script: str) -> None:
    text, words = WORDS[script]
    assert PLAIN.terms(text) == words.split()


@with_lucene
def test_words_of_many_scripts_are_lucenes() -> None:
    texts = [text for text, _ in WORDS.values()]
    assert_as_lucene([*texts, " ".join(texts), "".join(texts), unicodedata.normalize("NFD", " ".join(texts))])


@cache
def by_class() -> dict[str, list[str]]:
    """Characters that Lucene's Unicode 12.1 knows for certain, by their class in `word_breaks`.

    Those of Unicode 3.2, and the emoji of later versions up to 6.1.
    """
    found: dict[str, list[str]] = {}
    of = word_breaks._ClassOf()
    for c in itertools.chain(range(0xD800), range(0xE000, sys.maxunicode + 1)):
        if unicodedata.ucd_3_2_0.category(chr(c)) != "Cn" or 0x1F1E6 <= c <= 0x1F64F:
            found.setdefault(of[c], []).append(chr(c))
    return found


def drawn(rng: random.Random, texts: int) -> Iterator[str]:
    """Texts over a few classes of characters each, so that rare ones stand beside each other often."""
    characters = by_class()
    for _ in range(texts):
        classes = rng.sample(sorted(characters), rng.randint(2, 7))
        yield "".join(
            rng.choice(characters[rng.choice(classes)]) for _ in range(rng.choice((3, 5, 8, 12, 20)))
        )


def test_every_class_has_characters() -> None:
    assert by_class().keys() == {c for c, _ in word_breaks._CLASSES}


@with_lucene
@pytest.mark.slow
def test_random_texts_over_all_scripts_have_lucenes_terms() -> None:
    assert assert_as_lucene(drawn(random.Random(0), 12_000)) > 50_000


@with_lucene
def test_a_few_random_texts_over_all_scripts_have_lucenes_terms() -> None:
    assert_as_lucene(drawn(random.Random(1), 1500))


PROBES = (
    "{}", "a{}", "{}a", "1{}1", "a{}a", "\u30a2{}\u30a2", "\u0e01{}\u0e01", "\U0001f44d{}\U0001f44d",
    "\u05d0{}\u05d0", "{}\u0301", "_{}", "{}{}", "\U0001f44d\u200d{}", "#{}", "{}s",
)  # fmt: skip


@with_lucene
@pytest.mark.slow
def test_every_character_is_lucenes_kind_unless_lucene_does_not_know_it() -> None:
    """Each code point beside others of several kinds; of large alphabets one in 40.

    What Lucene's Unicode lacks it leaves out like a section sign, or takes for the pictograph that the
    place was reserved for.
    """
    unheard_of = {"".join(lucene_terms(c)).replace(c, "@") for c in "§★"}
    seen = differing = 0
    for c in itertools.chain(range(0x80, 0xD800), range(0xE000, sys.maxunicode + 1)):
        character = chr(c)
        category = unicodedata.category(character)
        if c % 40 and (category in ("Cn", "Co") or unicodedata.name(character, "")[:4] in ("CJK ", "HANG")):
            continue
        theirs = lucene_terms(character)
        seen += 1
        if PLAIN.terms(probes(character)) == theirs:
            continue
        differing += 1
        assert unicodedata.ucd_3_2_0.category(character) == "Cn", hex(c)
        assert "".join(theirs).replace(character.lower(), "@") in unheard_of, hex(c)
    assert seen > 60_000
    assert differing < 2000


def probes(character: str) -> str:
    return " qz ".join(probe.replace("{}", character) for probe in PROBES)


def lucene_terms(character: str) -> list[str]:
    return lucene_index.terms(jnius(), lucenes(False, False), probes(character))


ASCII = st.text(
    st.one_of(st.sampled_from("aAzZ09_.:,;' \"s-\n#*"), st.characters(min_codepoint=0, max_codepoint=127)),
    max_size=60,
)


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.tuples(ASCII, st.sampled_from((1, 1, 1, 90))), max_size=8))
def test_ascii_has_the_words_that_all_text_has(parts: list[tuple[str, int]]) -> None:
    """Both ways to find words, over text long enough for words to be cut, too."""
    text = "".join(part * times for part, times in parts)
    lowered = text.lower()
    words = [lowered[start:end] for start, end in word_breaks.spans(text)]
    assert PLAIN.terms(text) == [w.removesuffix("'s") for w in words]


LONG = {
    "ASCII": ("a" * 600, [255, 255, 90]),
    "a point where it is cut": ("a" * 254 + ".bc", [254, 2]),
    "a point before it is cut": ("a" * 253 + ".bc", [255, 1]),
    "marks": ("é" + "\u0301" * 300 + " b", [255, 1]),
    "characters of two units": ("𐐨" * 200, [127, 73]),
    "behind a long gap": (" " * 509 + "é.b", [3]),
    "underscores": ("_" * 300 + "é", [255]),
    "a keycap too far away": ("#" + "\u0301" * 254 + "\u20e3 é", [1]),
}


@pytest.mark.parametrize("kind", LONG)
def test_a_word_is_cut_at_255_units_of_16_bits(kind: str) -> None:
    text, lengths = LONG[kind]
    assert [len(term) for term in PLAIN.terms(text)] == lengths


@with_lucene
def test_long_texts_have_lucenes_terms() -> None:
    rng = random.Random(0)
    assert_as_lucene([text for text, _ in LONG.values()])
    for _ in range(60):
        some = rng.sample([*"ab1.,'_אאアก漢👍ℹ❤ ", '"', "\u0301", "\u200d", "\ufe0f"], rng.randint(2, 6))
        assert_as_lucene(["".join(rng.choice(some) for _ in range(2000))])


@pytest.mark.parametrize(
    "piece", ["_", "é_", "_\u0e31", "é.\u0301", "\u200d", "#\u0301", 'א"', "👍\ufe0f\u200d"]
)
def test_no_text_takes_more_than_linear_time(piece: str) -> None:
    took = []
    for times in (20_000, 80_000):
        start = time.process_time()
        PLAIN.terms("é " + piece * times)
        took.append(time.process_time() - start)
    assert took[1] < 8 * took[0] + 0.5  # 16 times, were it quadratic


def test_stems_are_those_of_porters_program() -> None:
    stems = {
        "trekking": "trek", "bivvied": "bivvi", "yakked": "yak", "fezzes": "fezz", "crumbliness": "crumbli",
        "possibly": "possibl", "doubly": "doubli", "mythologies": "mytholog", "biology": "biologi",
        "is": "is", "as": "as", "11ed": "11ed", "a11ed": "a1", "naïves": "naïv", "café's": "café",
    }  # fmt: skip
    analyser = Analyser("porter", stop=False)
    assert {word: analyser.terms(word)[0] for word in stems} == stems


ENDINGS = """
s es ed ing ies eed y ate at bl iz ational enci izer bly abli alli entli eli ousli ization ator alism
iveness fulness ousness aliti iviti biliti logi ogy icate ative alize iciti ical ful ness ence er ible
ement ent sion ou ism ous ive ize e ll sses kking xxed ccing yying é 𐐨
"""


def made_up_words(rng: random.Random, words: int) -> Iterator[str]:
    """Letters and English endings, and other letters among them."""
    endings = ENDINGS.split()
    letters = "aeiouyybcdfghjkklmnpqrsstvwxz" + "éüñßщא𐐨1_"
    for _ in range(words):
        stem = "".join(rng.choice(letters) for _ in range(rng.randint(0, 5)))
        yield stem + "".join(rng.choice(endings) for _ in range(rng.randint(0, 3)))


@with_lucene
@pytest.mark.slow
def test_stems_are_lucenes(wordnet_dir: Path) -> None:
    """Those of WordNet's words, and of made-up ones."""
    english = (wordnet_dir / "data.noun").read_text(encoding="utf-8").lower()
    words = [*sorted(set(re.findall("[a-z]+", english))), *made_up_words(random.Random(0), 60_000)]
    assert assert_as_lucene([" ".join(words[i : i + 100]) for i in range(0, len(words), 100)]) > 100_000


HINDI = {
    "d0": "ठंडा पानी और साफ़ गिलास",
    "d1": "पुराना मकान नदी के पास",
    "d2": "हिन्दी की किताब मेज़ पर",
    "d3": "पुणे नगर में पुराना मन्दिर",
    "d4": "दिन में नाव और पुल",
    "d5": "पान की दुकान",
    "d6": "नीला आसमान और पीपल",
    "d7": "हल्दी और दूध नानी ने दिया",
    "d8": "हाथी नदी में दौड़ा",
    "d9": "दही और पनीर",
}
ASKED = {"पानी": "d0", "हिन्दी": "d2", "दिन": "d4", "पान": "d5", "हाथी": "d8", "पनीर": "d9"}


def hindi_ndcg(ranker_class: Callable[..., Any]) -> float:
    corpus = Corpus(Document(i, i, text) for i, text in HINDI.items())
    ranker = ranker_class(ranker_class.Options(), Context())
    ranker.index(corpus)
    queries = tuple(Query(text, text) for text in ASKED)
    split = Split(queries, Judgments({text: {d: 1} for text, d in ASKED.items()}), corpus)
    return ndcg_at_10(ranker.rank(queries, 10), split)


def test_hindi_words_find_their_documents() -> None:
    assert hindi_ndcg(BM25) == 1.0


@with_lucene
def test_hindi_words_find_their_documents_by_lucene() -> None:
    assert hindi_ndcg(BM25Lucene) == 1.0
