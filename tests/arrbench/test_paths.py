"""Paths among words: which they are, and texts without a machine's."""

from __future__ import annotations

from typing import Any

import pytest

from arrbench.paths import is_path, last, shown, without


@pytest.mark.parametrize(
    ("text", "parts", "wanted"),
    [
        ("/a/b/c", 1, "c"),
        ("/a/b/c", 2, "b/c"),
        ("/a/b/c", 3, "a/b/c"),
        ("/a/b/c", 4, "/a/b/c"),
        ("/a/b/c/", 1, "c"),
        ("a", 1, "a"),
        ("../a", 1, "a"),
        ("../a", 3, "../a"),
        ("C:\\a\\b", 1, "b"),
        ("C:\\a\\b", 3, "C:\\a\\b"),
        ("/", 1, "/"),
        (".", 1, "."),
    ],
)
def test_the_last_parts_of_a_path(text: str, parts: int, wanted: str) -> None:
    assert last(text, parts) == wanted


@pytest.mark.parametrize(
    "text", ["", "tiny", "beir/scifact", "http://host/a", "a b", "1/r", "x\0/y", "a/" * 3000]
)
def test_what_is_no_path_is_shown_as_it_is(text: str) -> None:
    assert not is_path(text)
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("no file '/home/me/x/y.bin'", "no file 'y.bin'"),
        ("/home/me/x.py:12:/opt/lib/z.so", "x.py:12:z.so"),
        ("path=/home/me/x", "path=x"),
        ("in ~/models/m", "in m"),
        ("file:///home/me/x", "x"),
        ("at C:\\Users\\me\\x.txt", "at x.txt"),
        ("at C:/Users/me/x.txt", "at x.txt"),
        ("see https://host/a/b and http://host:80/c/d", "see https://host/a/b and http://host:80/c/d"),
        ("gains 1/r, 10 / 2, a/b/c and TREC/BEIR", "gains 1/r, 10 / 2, a/b/c and TREC/BEIR"),
    ],
)
def test_absolute_paths_in_a_text_are_cut(text: str, wanted: str) -> None:
    assert without(text, {}) == wanted


def test_chosen_paths_are_cut_as_asked_in_all_of_the_data_keys_too() -> None:
    data: dict[str, Any] = {
        "weights": {"../my models/m": "1", "first: ../my models/m": "2", "/a/m": "3", "/b/m": "4"},
        "notes": ["read ../my models/m/config.json", 3, None, True, 0.5],
        "other": "x../my models/m",
    }
    assert without(data, {"../my models/m": "models/m"}) == {
        "weights": {"models/m": "1", "first: models/m": "2", "m": "3", "m (2)": "4"},
        "notes": ["read models/m/config.json", 3, None, True, 0.5],
        "other": "x../my models/m",
    }
