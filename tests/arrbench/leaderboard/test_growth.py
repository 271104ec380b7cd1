"""Boards over collections of several sizes: what rankers cost as a collection grows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arrbench.leaderboard.growth import draw, growth, growth_markdown
from arrbench.leaderboard.rows import tables

Make = Callable[..., dict[str, Any]]


def sized(make: Make, label: str, documents: int, p50: float, **changes: Any) -> dict[str, Any]:
    record = make(label)
    return record | {
        "key": f"{label}-{documents}",
        "task_label": f"synth:docs={documents}",
        "fingerprint": str(documents),
        "n_documents": documents,
        "latency_ms": record["latency_ms"] | {"p50": p50},
        **changes,
    }


@pytest.fixture
def records(record: Make) -> list[dict[str, Any]]:
    return [
        sized(record, "exact", 1000, 0.5),
        sized(record, "exact", 10_000, 5.0),
        sized(record, "close", 10_000, 0.7, facts={"recall_against_flat@100": 0.954}),
        sized(record, "close", 1000, 0.6, facts={"recall_against_flat@100": 0.99}),
        sized(record, "chance", 1000, 0.1, query_independent=True),
        sized(record, "gone", 10_000, 1.0, status="failed", error="TrialError: no"),
    ]


def test_each_ranker_s_sizes_stand_together_and_failed_trials_are_left_out(
    records: list[dict[str, Any]],
) -> None:
    found = growth(tables(records, {}))
    assert found is not None
    assert [(p.name, p.documents) for p in found.points] == [
        ("close", 1000), ("close", 10_000), ("exact", 1000), ("exact", 10_000)
    ]  # fmt: skip
    lines = growth_markdown(found).splitlines()
    assert lines[0] == "![What rankers cost as the collection grows](growth.png)"
    assert lines[2].startswith("| ranker | documents | nDCG@10 | index s | index MiB | memory MiB | p50 ms |")
    assert lines[5] == "| close | 10,000 | .500 | 1.00 | 0.149 | 10.0 | 0.700 | 12.3 | 1234 | .954 |"
    assert lines[7].startswith("| exact | 10,000 |")
    assert lines[7].endswith("| 1234 |  |")


def test_one_size_is_no_growth(records: list[dict[str, Any]]) -> None:
    assert growth(tables(records[:1], {})) is None


def test_the_picture_has_a_logarithmic_panel_a_cost(
    records: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: drawn.append(self) or save(self, *a, **k))
    found = growth(tables(records, {}))
    assert found is not None
    draw(found, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    panels = {axes.get_title(): axes for axes in drawn[0].axes}
    assert set(panels) == {"index s", "index MiB", "p50 ms", "queries/s"}
    lines = {line.get_label(): line.get_xydata().tolist() for line in panels["p50 ms"].lines}
    assert lines == {"close": [[1000, 0.6], [10_000, 0.7]], "exact": [[1000, 0.5], [10_000, 5.0]]}
    assert {axes.get_xscale() + axes.get_yscale() for axes in panels.values()} == {"loglog"}
