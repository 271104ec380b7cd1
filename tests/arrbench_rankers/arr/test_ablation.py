"""The ablation's cells, its table and its picture, from made-up trainings."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "leaderboards" / "arr-engine" / "ablation.py"


@pytest.fixture(scope="module")
def ablation():
    spec = importlib.util.spec_from_file_location("ablation", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["ablation"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["ablation"]


def line(ablation, cell, seed, value):
    measures = dict.fromkeys(ablation.MEASURES, value)
    facts = {"invalid_mass_depth_2": value, "scored_exactly": True}
    return {"cell": cell, "seed": seed, "measures": measures, "cvr": 0.5, "fit_s": 30.0, "facts": facts}


def test_every_cell_is_a_setting_of_its_own_that_arr_takes(ablation):
    options = [ablation.Arr.Options(**cell.options).model_dump_json() for cell in ablation.cells()]
    assert len(set(options)) == len(options) == len({cell.name for cell in ablation.cells()})


def test_a_beta_equal_to_alpha_is_the_cell_of_one_hot_targets(ablation):
    assert ablation.weights(2, 2) == ablation.weights(2, None)
    assert ablation.weights("stepwise", 2) != ablation.weights("stepwise", None)


def test_the_table_and_the_picture(ablation, tmp_path):
    lines = [line(ablation, "NTP", seed, seed / 4) for seed in (1, 2, 3)]
    lines.append(line(ablation, "α=2 β=none", 1, 0.75))
    found = ablation.gathered(lines)
    header, _, ntp, stoical = ablation.table(found).splitlines()
    assert header.startswith("| setting | nDCG@10 | overlap@1")
    assert ntp.startswith("| NTP | 0.500 ± 0.250 |")
    assert stoical.startswith("| α=2 β=none | 0.750 |")
    ablation.heat_maps(found, tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_a_training_that_was_being_written_when_the_run_stopped_is_trained_again(ablation, tmp_path):
    path = tmp_path / "lines.jsonl"
    whole = json.dumps(line(ablation, "NTP", 1, 0.5))
    path.write_text(f"{whole}\n{whole[:20]}")
    assert [found["seed"] for found in ablation.read(path)] == [1]
