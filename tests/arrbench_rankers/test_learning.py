"""Whether a ranker learns from judged queries, by its options: what a board calls trained."""

from __future__ import annotations

import pytest

from arrbench.choosing import choose


@pytest.mark.parametrize(
    ("words", "learns"),
    [
        ("bm25", False),
        ("de", True),
        ("de:epochs=0", False),
        ("ce", True),
        ("ce:epochs=0", True),
        ("ce:start_epochs=0", True),
        ("ce:epochs=0:start_epochs=0", False),
        ("arr-ntp:epochs=0.1", True),
        ("cascade", True),
        ("cascade:then=bm25", False),
        ('cascade:then="ce:epochs=0:start_epochs=0"', False),
        ('cascade:first="de:epochs=1":then=bm25', True),
        ('cascade:first="cascade:first=""de:epochs=0"":then=bm25":then=ce', True),
        ('cascade:first="cascade:first=""de:epochs=0"":then=bm25":then=bm25', False),
        ("random", False),
        ("prior", True),
    ],
)
def test_no_passes_are_no_training(words: str, learns: bool) -> None:
    assert choose(words).learns is learns
