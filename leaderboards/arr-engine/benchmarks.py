"""Runs the benchmarks of the ARR engine and writes benchmarks.json, benchmarks.md and benchmarks.png.

    python leaderboards/arr-engine/benchmarks.py [--backbone PATH] [--full] [--draw]

Every figure is a ratio of two sides measured interleaved in one process, on one thread, or a count.
`--backbone` adds the same for a real model (`arrbench models` names some); `--draw` makes the page again
from benchmarks.json without measuring.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from arrbench.devices import choose
from arrbench.leaderboard.markdown import escaped, line
from arrbench.measure.resources import hardware, software

HERE = Path(__file__).parent
BENCHMARKS = HERE.parents[1] / "tests" / "performance"
WITHOUT_BACKBONE = ("bench_trie",)
WITH_BACKBONE = ("bench_packing", "bench_scoring", "bench_beam")
SHOWN_VERSIONS = ("arrbench", "python", "torch", "transformers", "git_commit")


@dataclass(frozen=True)
class Measured:
    """One line of a benchmark, and how it was asked for."""

    benchmark: str
    backbone: str
    figure: dict[str, Any]

    @property
    def met(self) -> bool:
        median, goal = self.figure["median"], self.figure["goal"]
        return bool(median <= goal if self.figure["better"] == "lower" else median >= goal)


def measure(benchmark: str, backbone: Path | None, full: bool) -> list[Measured]:
    """A benchmark's figures, from a process of its own on one thread. Raises CalledProcessError."""
    asked = [sys.executable, str(BENCHMARKS / f"{benchmark}.py"), "--json"]
    asked += ["--full"] * full + (["--backbone", str(backbone)] if backbone else [])
    done = subprocess.run(
        asked, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    name = backbone.name.partition(".")[0] if backbone else "tiny" if benchmark in WITH_BACKBONE else ""
    lines = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
    return [Measured(benchmark, name, figure) for figure in lines]


def write(folder: Path, about: dict[str, Any], measured: list[Measured]) -> None:
    rows = [{"benchmark": m.benchmark, "backbone": m.backbone, **m.figure} for m in measured]
    text = json.dumps({**about, "figures": rows}, indent=1, ensure_ascii=False)
    (folder / "benchmarks.json").write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> tuple[dict[str, Any], list[Measured]]:
    about = json.loads((folder / "benchmarks.json").read_text(encoding="utf-8"))
    rows = about.pop("figures")
    return about, [Measured(row.pop("benchmark"), row.pop("backbone"), row) for row in rows]


def page(about: dict[str, Any], measured: list[Measured]) -> str:
    """The table, each benchmark's figures under the command that makes them again."""
    machine = about["hardware"]
    versions = ", ".join(f"{name} {about['software'][name]}" for name in SHOWN_VERSIONS)
    headings = ["benchmark", "model", "figure", "median", "least", "goal", "met", "repeats"]
    grid = [line(headings), line([":--", ":--", ":--", "--:", "--:", "--:", ":--", "--:"])]
    for m in measured:
        f = m.figure
        values = [f"{f['median']:.3g} {f['unit']}", f"{f['min']:.3g}"]
        goal = f"{'≤' if f['better'] == 'lower' else '≥'} {f['goal']:g}"
        cells = [
            m.benchmark,
            m.backbone,
            f["name"],
            *values,
            goal,
            "yes" if m.met else "no",
            str(f["repeats"]),
        ]
        grid.append(line(map(escaped, cells)))
    where = f"{machine['cpu']}, {machine['cores']} cores, one thread"
    return "\n".join(
        [
            "# What the ARR engine costs",
            "",
            f"Measured {about['date']} on {where}; {versions}.",
            f"Made by `{about['command']}`. A ratio's two sides were timed in turn in one process.",
            "",
            "![Each figure against its goal](benchmarks.png)",
            "",
            *grid,
            "",
        ]
    )


def draw(measured: list[Measured], file: Path) -> None:
    """How many times better than its goal each figure is; left of the line it misses it."""
    from matplotlib.figure import Figure

    names = [f"{m.figure['name']}" + (f" ({m.backbone})" if m.backbone else "") for m in measured]
    better = [
        m.figure["goal"] / m.figure["median"]
        if m.figure["better"] == "lower"
        else m.figure["median"] / m.figure["goal"]
        for m in measured
    ]
    figure = Figure(figsize=(11, 1.2 + 0.28 * len(names)), layout="constrained")
    axes = figure.subplots()
    colours = ["C0" if m.met else "C3" for m in measured]
    axes.barh(range(len(names)), [value - 1 for value in better], left=1, color=colours)
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xscale="log", yticks=range(len(names)), yticklabels=names, xlabel="times better than the goal")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:.1g}")
    axes.grid(visible=True, axis="x", which="both", alpha=0.25)
    figure.savefig(file, dpi=110, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--backbone", type=Path, help="a causal LM to measure beside tiny: a folder or a GGUF file"
    )
    parser.add_argument("--full", action="store_true", help="the whole sweep of sizes")
    parser.add_argument("--draw", action="store_true", help="make the page again from benchmarks.json")
    given = parser.parse_args()
    if not given.draw:
        asked = "python leaderboards/arr-engine/benchmarks.py"
        asked += f" --backbone {given.backbone.name}" if given.backbone else ""
        about = {
            "date": datetime.now(UTC).date().isoformat(),
            "command": asked + " --full" * given.full,
            "hardware": hardware(choose("cpu")),
            "software": software(),
        }
        wanted = [(name, None) for name in (*WITHOUT_BACKBONE, *WITH_BACKBONE)]
        wanted += [(name, given.backbone) for name in WITH_BACKBONE if given.backbone]
        measured: list[Measured] = []
        for name, backbone in wanted:
            measured += measure(name, backbone, given.full)
            write(HERE, about, measured)
    about, measured = read(HERE)
    (HERE / "benchmarks.md").write_text(page(about, measured), encoding="utf-8")
    draw(measured, HERE / "benchmarks.png")


if __name__ == "__main__":
    main()
