"""Words on the command line become plugins and validated options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.spec import Spec, parse, split, titled, validated, written


class SomeOptions(BaseOptions):
    dim: int = Field(128, ge=2, description="width")
    backbone: str = Field("tiny", description="model")
    beta: float | None = Field(None, description="exponent")
    exact: bool = Field(True, description="yes or no")


@pytest.mark.parametrize(
    ("text", "name", "given_"),
    [
        ("de", "de", {}),
        ("de:dim=32", "de", {"dim": "32"}),
        ("de:dim=32:backbone=a/b", "de", {"dim": "32", "backbone": "a/b"}),
        ("x:device=cuda:1", "x", {"device": "cuda:1"}),
        ("x:url=http://host:80/a", "x", {"url": "http://host:80/a"}),
        (r"x:path=C:\models:dim=2", "x", {"path": r"C:\models", "dim": "2"}),
        ('x:path="a,b:c=d"', "x", {"path": "a,b:c=d"}),
        ("wordnet/rerank:root=animal.n.01", "wordnet/rerank", {"root": "animal.n.01"}),
    ],
)
def test_a_colon_splits_only_before_a_name(text: str, name: str, given_: dict[str, str]) -> None:
    assert parse(text) == Spec(name, given_)


def test_commas_split_outside_quotes() -> None:
    assert split('de:dim=2, x:path="a,b",bm25,') == ["de:dim=2", 'x:path="a,b"', "bm25"]


@pytest.mark.parametrize("text", ["", ":dim=2", "dim=2", "de:dim=1:dim=2"])
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_an_unbalanced_quote_is_refused() -> None:
    with pytest.raises(UsageError, match="quote"):
        split('de:path="a,b')


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"dmi": "3"}, "did you mean 'dim'"),
        ({"dim": "many"}, "dim=many"),
        ({"dim": "1"}, "greater than or equal to 2"),
        ({"exact": "perhaps"}, "exact=perhaps"),
        ({"beta": "nan"}, "beta=nan"),
    ],
)
def test_wrong_options_are_named(given_: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        validated(SomeOptions, Spec("some", given_), "ranker")


def test_none_is_a_value_where_the_option_may_be_none() -> None:
    assert validated(SomeOptions, Spec("some", {"beta": "none"}), "ranker").model_dump()["beta"] is None
    assert (
        validated(SomeOptions, Spec("some", {"backbone": "none"}), "ranker").model_dump()["backbone"]
        == "none"
    )


def test_none_in_quotes_is_a_word() -> None:
    class MayBeText(BaseOptions):
        train: str | None = Field("x", description="words or nothing")

    assert validated(MayBeText, parse("some:train=none"), "task").train is None  # type: ignore[attr-defined]
    assert validated(MayBeText, parse('some:train="none"'), "task").train == "none"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('x:text="a ""b"" c"', 'a "b" c'),
        ('x:text=""""', '"'),
        ('x:text=""', ""),
        ('x:text=" a "', " a "),
        ('x:text="cascade:first=""bm25:k1=1.2"":then=ce"', 'cascade:first="bm25:k1=1.2":then=ce'),
    ],
)
def test_a_double_quote_inside_quotes_is_written_twice(text: str, value: str) -> None:
    assert parse(text) == Spec("x", {"text": value})
    assert split(f"{text},{text}") == [text, text]


@pytest.mark.parametrize("text", ['x:text=a"b"', 'x:text="a"b"c"', 'x:text=5""', 'x:text="a":dim="2" '])
def test_a_quote_out_of_place_is_refused_with_the_rule(text: str) -> None:
    if text.endswith(" "):  # blanks around words are nobody's
        assert parse(text).given == {"text": "a", "dim": "2"}
        return
    with pytest.raises(UsageError, match="written twice"):
        parse(text)


def test_a_name_is_no_option_and_is_asked_for_by_rankers_and_tasks_alone() -> None:
    asked = parse('some:dim=3:name="MiniLM, fine-tuned"')
    assert titled(asked) == (Spec("some", {"dim": "3"}), "MiniLM, fine-tuned")
    assert titled(parse("some:dim=3")) == (Spec("some", {"dim": "3"}), None)
    with pytest.raises(UsageError, match="unknown option 'name'"):
        validated(SomeOptions, asked, "docid")
    for text in ("some:name=", 'some:name=" "', 'some:name="a\nb"', "some:name=\x1b[31m"):
        with pytest.raises(UsageError, match="one line"):
            titled(parse(text))
    with pytest.raises(TypeError, match=r"NamedOptions\.name"):

        class NamedOptions(BaseOptions):
            name: str = Field("x", description="clashes")


@given(st.dictionaries(st.from_regex(r"[^\W\d]\w{0,5}", fullmatch=True), st.text(), max_size=4))
def test_what_is_written_is_what_is_parsed(given_: dict[str, str]) -> None:
    text = written("x", given_)
    assert parse(text) == Spec("x", given_)
    assert split(f"bm25,{text},{text}") == ["bm25", text, text]
