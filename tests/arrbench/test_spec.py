"""Words on the command line become plugins and validated options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from arrbench.errors import UsageError
from arrbench.options import BaseOptions
from arrbench.spec import Spec, label, parse, split, validated


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


def test_a_label_names_only_what_differs_from_the_defaults() -> None:
    assert label(Spec("some", {"dim": "128"}), SomeOptions()) == "some"
    assert label(Spec("some", {}), SomeOptions(beta=2.0, exact=False)) == "some:beta=2:exact=false"


@given(
    dim=st.integers(2, 999),
    backbone=st.text("ab,:=/ \\.1", min_size=1).map(str.strip).filter(bool),
    beta=st.none() | st.floats(0.1, 9),
)
def test_a_label_is_a_spec_that_gives_the_same_options(dim: int, backbone: str, beta: float | None) -> None:
    options = SomeOptions(dim=dim, backbone=backbone, beta=beta)
    words = split(label(Spec("some", {}), options))
    assert len(words) == 1
    assert validated(SomeOptions, parse(words[0]), "ranker") == options
