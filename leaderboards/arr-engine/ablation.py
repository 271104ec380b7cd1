"""Which item and token weights SToICaL should have, and what its remedies for the first place are worth.

    python leaderboards/arr-engine/ablation.py run     appends one line a training to ablation.jsonl
    python leaderboards/arr-engine/ablation.py draw    makes ablation.md and ablation.png of them

A training is one cell under one seed: the default `wordnet` task, the tiny backbone, the test split's
queries ranked in one batch. What ablation.jsonl already holds is not trained again, so an interrupted run
goes on. Trainings run side by side, one thread each; the first seed of every cell comes first.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from arrbench.asking import ask
from arrbench.measure import quality
from arrbench.measure.validity import constraint_violations
from arrbench.planning import cache_folder, load_task
from arrbench.ranker import Context
from arrbench.task import DataSource, Task
from arrbench_rankers.arr.ranker import Arr

TASK = "wordnet"
SEEDS = (1, 2, 3)
MEASURES = ("ndcg@10", "overlap@1", "overlap@3", "overlap@5")
DRAWN = ("ndcg@10", "overlap@1")
GENERATED = 40  # queries of the constraint violation rate
ALPHAS: tuple[float | str, ...] = (0, 1, 2, 3, "stepwise")
BETAS: tuple[float | None, ...] = (None, 0.5, 1, 2, 4)
NTP = {"item": "top1"}
STOICAL = {"alpha": 2}
HERE = Path(__file__).parent
Line = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One setting: its name, and the options of `arr` that it changes."""

    name: str
    options: Mapping[str, Any]


def weights(alpha: float | str, beta: float | None) -> Cell:
    """A cell of the heat map: with beta = alpha that of one-hot targets, whose loss is the same."""
    if beta == alpha:
        beta = None
    item = {"item": "stepwise"} if alpha == "stepwise" else {"alpha": alpha}
    return Cell(f"α={alpha} β={'none' if beta is None else f'{beta:g}'}", {**item, "beta": beta})


def cells() -> list[Cell]:
    grid = {cell.name: cell for alpha in ALPHAS for beta in BETAS for cell in [weights(alpha, beta)]}
    remedies = [
        *(Cell(f"α=2 finish={n}", {**STOICAL, "finish": n}) for n in (1, 2)),
        *(Cell(f"α=2 order={w:g}", {**STOICAL, "order": w}) for w in (0.1, 1.0)),
        *(Cell(f"α=1 order={w:g}", {"alpha": 1, "order": w}) for w in (0.3, 1.0)),
        *(Cell(f"α=stepwise order={w:g}", {"item": "stepwise", "order": w}) for w in (0.3, 1.0)),
        *(Cell(f"α=2 top={f:g}", {**STOICAL, "top": f}) for f in (2.0, 4.0)),
        Cell("α=2 off_list=4", {**STOICAL, "off_list": 4}),
        *(Cell(f"NTP order={w:g}", {**NTP, "order": w}) for w in (0.1, 1.0)),
        Cell("NTP off_list=4", {**NTP, "off_list": 4}),
    ]
    return [Cell("NTP", NTP), *grid.values(), *remedies]


@cache
def task() -> Task:
    return load_task(TASK, DataSource(None, cache_folder(), offline=True))[0]


def trained(cell: Cell, seed: int, epochs: float | None) -> Line:
    """A training and what it gives on the test split; facts are those of the fit (calibration, counts)."""
    import torch

    torch.set_num_threads(1)
    length = {} if epochs is None else {"epochs": epochs}
    ranker = Arr(Arr.Options(**cell.options, **length), Context(seed=seed, cache=cache_folder()))
    start = time.perf_counter()
    ranker.fit(task().split("train"), task().split("dev"))
    fit_s = time.perf_counter() - start
    test = task().split("test")
    ranker.index(test.corpus)
    found = ask(ranker.rank, test.queries, 10)
    rankings = {q.id: quality.canonical(q, r, 10) for q, r in zip(test.queries, found, strict=True)}
    values = quality.evaluate(MEASURES, test.queries, test.judgments, rankings)
    asked = test.queries[:GENERATED]
    written = {q.id: ids for q, ids in zip(asked, ranker.generate(asked, 10), strict=True)}
    return {
        "cell": cell.name,
        "seed": seed,
        "options": ranker.options.model_dump(mode="json"),
        "measures": {name: float(per_query.mean()) for name, per_query in values.items()},
        "cvr": constraint_violations(written, asked, test.corpus.ids),
        "fit_s": fit_s,
        "facts": ranker.facts,
    }


def read(path: Path) -> list[Line]:
    """The trainings of a file; a last line that was cut off is dropped."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def _json(line: Line) -> str:
    return json.dumps(line, ensure_ascii=False)


def run(path: Path, names: Sequence[str], processes: int, epochs: float | None) -> None:
    kept = read(path)
    path.write_text("".join(f"{_json(line)}\n" for line in kept), encoding="utf-8")
    done = {(line["cell"], line["seed"]) for line in kept}
    chosen = [cell for cell in cells() if not names or cell.name in names]
    wanted = [(cell, seed) for seed in SEEDS for cell in chosen if (cell.name, seed) not in done]
    with (
        ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool,
        path.open("a", encoding="utf-8") as file,
    ):
        for future in as_completed([pool.submit(trained, cell, seed, epochs) for cell, seed in wanted]):
            line = future.result()
            file.write(f"{_json(line)}\n")
            file.flush()
            print(
                f"{line['cell']} seed {line['seed']}: {line['measures']} in {line['fit_s']:.0f} s", flush=True
            )


def gathered(lines: Sequence[Line]) -> dict[str, dict[str, list[float]]]:
    """Every figure of a cell over its seeds, by cell and name."""
    found: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        figures = {**line["measures"], "cvr": line["cvr"], "fit_s": line["fit_s"], **line["facts"]}
        for name, value in figures.items():
            found.setdefault(line["cell"], {}).setdefault(name, []).append(float(value))
    return found


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds."""
    if not values:
        return "–"
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{deviation}"


COLUMNS = {
    "nDCG@10": "ndcg@10",
    "overlap@1": "overlap@1",
    "overlap@3": "overlap@3",
    "overlap@5": "overlap@5",
    "CVR": "cvr",
    "invalid mass, step 2": "invalid_mass_depth_2",
    "the same, own prefixes": "invalid_mass_own_depth_2",
    "calibration, step 1": "calibration_depth_1",
    "calibration, step 2": "calibration_depth_2",
}


def table(found: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    rows = [f"| setting | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for cell in cells():
        if figures := found.get(cell.name):
            shown = (spread(figures.get(n, ())) for n in COLUMNS.values())
            rows.append(f"| {cell.name} | {' | '.join(shown)} |")
    return "\n".join(rows) + "\n"


def heat_maps(found: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """One map a measure: α down, β across, mean ± standard deviation over seeds in each cell."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * len(DRAWN), 4.4), layout="constrained")
    for axes, measure in zip(figure.subplots(1, len(DRAWN)), DRAWN, strict=True):
        values = [[found.get(weights(a, b).name, {}).get(measure, ()) for b in BETAS] for a in ALPHAS]
        means = np.array([[statistics.fmean(v) if v else np.nan for v in row] for row in values])
        image = axes.imshow(means, cmap="viridis", aspect="auto")
        dark = image.norm(np.nan_to_num(means)) < 0.5
        for i, alpha in enumerate(ALPHAS):
            for j, beta in enumerate(BETAS):
                same = "\n= one-hot" if beta == alpha else ""
                text = spread(values[i][j]).replace(" ± ", "\n± ") + same
                colour = "white" if dark[i, j] else "black"
                axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=8)
        axes.set_xticks(range(len(BETAS)), ["none (one-hot)", *(f"{beta:g}" for beta in BETAS[1:] if beta)])
        axes.set_yticks(range(len(ALPHAS)), [str(alpha) for alpha in ALPHAS])
        axes.set(xlabel="β (token level)", ylabel="α (item level)", title=f"{measure}, {TASK}")
        figure.colorbar(image, ax=axes)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=["run", "draw"])
    parser.add_argument("--lines", type=Path, default=HERE / "ablation.jsonl", help="one line a training")
    parser.add_argument("--only", nargs="*", default=[], metavar="CELL", help="names as in the table")
    parser.add_argument("--processes", type=int, default=2, help="trainings side by side")
    parser.add_argument("--epochs", type=float, help="passes over the training queries, if not arr's default")
    arguments = parser.parse_args()
    if arguments.step == "run":
        run(arguments.lines, arguments.only, arguments.processes, arguments.epochs)
        return
    found = gathered(read(arguments.lines))
    arguments.lines.with_suffix(".md").write_text(table(found), encoding="utf-8")
    heat_maps(found, arguments.lines.with_suffix(".png"))


if __name__ == "__main__":
    main()
