"""What rows are called: words that give the same options again, without a machine's paths."""

from __future__ import annotations

import enum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from arrbench.errors import UsageError
from arrbench.labels import Asked, ask, told_apart
from arrbench.options import BaseOptions
from arrbench.spec import parse, split, validated


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow, but sure"


class SomeOptions(BaseOptions):
    dim: int = Field(128, ge=2, description="width")
    backbone: str = Field("tiny", description="model")
    train: str | None = Field(None, description="ids")
    beta: float | None = Field(None, description="exponent")
    exact: bool = Field(True, description="yes or no")
    mode: Mode = Field(Mode.FAST, description="how")
    file: Path = Field(Path("x"), description="a file")


def label(*words: str) -> list[str]:
    asked = [ask(w, SomeOptions, "ranker") for w in words]
    return [a.title or a.label(n) for a, n in zip(asked, told_apart(asked, "ranker"), strict=True)]


def test_a_label_names_only_what_differs_from_the_defaults() -> None:
    assert label("some:dim=128") == ["some"]
    assert label("some:exact=false:beta=2") == ["some:beta=2:exact=false"]


values = st.fixed_dictionaries(
    {
        "dim": st.integers(2, 999),
        "backbone": st.text() | st.text('",:=/ \\\\.1|a\n') | st.just("none"),
        "train": st.none() | st.text() | st.sampled_from(["none", "", '"', " a "]),
        "beta": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "exact": st.booleans(),
        "mode": st.sampled_from(Mode),
        "file": st.text('ab/." ,:=').map(Path),
    }
)


@given(values=values, depth=st.integers(0, 2))
def test_a_label_with_whole_paths_gives_the_same_options(values: dict[str, object], depth: int) -> None:
    options = SomeOptions(**values)  # type: ignore[arg-type]
    for _ in range(depth):  # as the stage of a cascade, and of a cascade in a cascade
        options = SomeOptions(backbone=Asked(parse("some"), options).label())
    text = Asked(parse("some"), options).words()
    words = split(text)
    assert words == [text]
    again = ask(words[0], SomeOptions, "ranker")
    assert again.options == options
    assert again.label() == text


@given(title=st.text('ab",: =').filter(str.strip))
def test_words_carry_the_title_and_the_label_does_not(title: str) -> None:
    asked = Asked(parse("some"), SomeOptions(dim=2), title.strip())
    assert ask(asked.words(), SomeOptions, "ranker") == Asked(
        parse("some:dim=2"), SomeOptions(dim=2), title.strip()
    )
    assert asked.label() == "some:dim=2"


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("some:backbone=/home/me/models/minilm", "some:backbone=minilm"),
        ("some:backbone=/home/me/models/minilm/", "some:backbone=minilm"),
        ("some:backbone=~/minilm", "some:backbone=minilm"),
        ("some:backbone=../models/minilm", "some:backbone=minilm"),
        ("some:backbone=./minilm", "some:backbone=minilm"),
        (r"some:backbone=C:\Users\me\minilm", "some:backbone=minilm"),
        ("some:file=data/mine.txt", "some:file=mine.txt"),
        ("some:backbone=sentence-transformers/all-MiniLM-L6-v2", None),
        ("some:backbone=.", None),
        ("some:backbone=..", None),
        ("some:backbone=/", None),
        ("some:backbone=.5", None),
        ("some:backbone=http://host/a", None),
        (
            'some:backbone="de:backbone=/home/me/minilm:dim=3"',
            'some:backbone="de:backbone=minilm:dim=3"',
        ),
        (
            'some:backbone="cascade:first=""de:backbone=/home/me/minilm"":depth=3"',
            'some:backbone="cascade:first=""de:backbone=minilm"":depth=3"',
        ),
    ],
)
def test_a_path_shows_as_its_last_part(word: str, shown: str | None) -> None:
    assert label(word) == [shown or word]
    assert ask(word, SomeOptions, "ranker").label() == word  # the whole is kept for commands


def test_a_path_that_is_there_is_one_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert label("some:backbone=models/minilm") == ["some:backbone=models/minilm"]
    (tmp_path / "models" / "minilm").mkdir(parents=True)
    assert label("some:backbone=models/minilm") == ["some:backbone=minilm"]


def test_labels_that_would_be_the_same_show_more_of_their_paths() -> None:
    assert label("some:backbone=/a/one/m", "some:backbone=/b/one/m", "some:backbone=/b/two/n") == [
        "some:backbone=a/one/m",
        "some:backbone=b/one/m",
        "some:backbone=n",
    ]
    assert label("some:backbone=/m", "some:backbone=m") == ["some:backbone=/m", "some:backbone=m"]


def test_a_name_takes_the_label_s_place_and_two_rows_may_not_share_one() -> None:
    assert label('some:dim=3:name="MiniLM, fine-tuned"', "some") == ["MiniLM, fine-tuned", "some"]
    for words in (("some:dim=3:name=X", "some:name=X"), ("some:dim=3:name=some", "some")):
        with pytest.raises(UsageError, match="2 rankers are called"):
            label(*words)


def test_every_path_of_the_options_is_known() -> None:
    word = 'some:backbone="de:backbone=/a/m:other=./b":file=c/d:train=x/y'
    assert ask(word, SomeOptions, "ranker").paths() == ["/a/m", "./b", "c/d"]


def test_a_value_of_a_type_that_words_can_t_tell_is_as_it_was_given() -> None:
    from typing import Any

    from pydantic import field_validator

    class Layers(BaseOptions):
        layers: tuple[int, ...] = Field((1,), description="numbers joined by commas")

        @field_validator("layers", mode="before")
        @classmethod
        def split_(cls, value: Any) -> Any:
            return tuple(map(int, value.split(","))) if isinstance(value, str) else value

    asked = ask('x:layers="1,2"', Layers, "ranker")
    assert validated(Layers, parse(asked.label()), "ranker") == asked.options
