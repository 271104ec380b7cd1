"""What the parent's clock and the system's accounts hold a worker's samples against."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from arrbench.measure.observed import Claimed, Observed, observed
from arrbench.measure.resources import Usage, usage


def seen(
    wall: float = 1.0,
    cpu: float = 1.0,
    waited: float | None = 0.0,
    processors: int | None = 8,
    claimed: float = 0.99,
) -> Observed:
    return Observed(wall, cpu, waited, processors, Claimed(claimed, wall - 0.001, 100, 1_000))


@pytest.mark.parametrize(
    ("samples", "right"), [(0.99, True), (0.9, True), (0.5, False), (0.0, False), (1.1, False)]
)
def test_samples_add_up_to_nearly_the_worker_s_clock(samples: float, right: bool) -> None:
    assert (seen(claimed=samples).mismatch() is None) == right


@pytest.mark.parametrize(("elapsed", "right"), [(0.99, True), (0.55, False), (0.001, False), (1.1, False)])
def test_the_worker_s_clock_runs_nearly_as_long_as_the_parent_s(elapsed: float, right: bool) -> None:
    found = Observed(1.0, 1.0, 0.0, 8, Claimed(elapsed, elapsed, 100, 1_000)).mismatch()
    assert (found is None) == right
    assert right or "the parent's 1000 ms" in str(found)


@pytest.mark.parametrize("wall", [0.01, 0.3, 2.0, 20.0])
def test_a_clock_that_stands_still_never_fits(wall: float) -> None:
    assert Observed(wall, wall, 0.0, 8, Claimed(0.0, 0.0, 100, 1_000)).mismatch()


def test_calls_of_microseconds_are_allowed_what_the_harness_does_between_them() -> None:
    assert Observed(0.3, 0.3, 0.0, 8, Claimed(0.08, 0.299, 8_550, 855_000)).mismatch() is None


def test_a_busy_machine_may_stretch_what_lies_between_calls() -> None:
    assert Observed(0.2, 0.1, 0.1, 8, Claimed(0.13, 0.199, 10, 1_000)).mismatch() is None
    assert Observed(9.0, 4.5, 4.5, 8, Claimed(0.5 * 9.0, 8.99, 10, 1_000)).mismatch()


def test_cpu_time_is_bounded_by_threads_and_wall_clock() -> None:
    assert seen(cpu=1.05).too_many_threads(1) is None
    assert seen(cpu=2.0).too_many_threads(2) is None
    message = "it used or waited for 1.9 processors, --threads allows 1"
    assert seen(cpu=1.9).too_many_threads(1) == message
    assert seen(cpu=0.9, waited=1.0).too_many_threads(1) == message
    assert seen(cpu=1.0, waited=1.0, processors=1).too_many_threads(1) is None  # bound to one
    assert seen(cpu=1.9, waited=None, processors=None).too_many_threads(1) is None


def test_a_scenario_that_waited_for_processors_is_contended_and_one_that_slept_is_not() -> None:
    assert seen(cpu=0.5, waited=0.5).contended(1)
    assert seen(cpu=1.2, waited=0.8).contended(2)
    assert not seen(cpu=0.01, waited=0.001).contended(1)
    assert not seen(cpu=0.98, waited=1.5, processors=1).contended(1)  # its own threads wait for each other
    assert seen(wall=10.0, cpu=2.0, waited=None).contended(1)
    assert not seen(wall=10.0, cpu=9.0, waited=None).contended(1)


def test_a_scenario_is_what_was_used_between_two_looks() -> None:
    claimed = Claimed(1.9, 1.95, 3, 30)
    found = observed(2.0, Usage(1.0, 0.5, 2), Usage(2.5, 0.75, 2), claimed)
    assert found == Observed(wall=2.0, cpu=1.5, waited=0.25, processors=2, claimed=claimed)
    assert observed(2.0, Usage(1.0), Usage(2.5, 0.75, 2), claimed).waited is None


def test_usage_counts_children_and_sleeps_cost_nothing() -> None:
    busy = "import time\nwhile time.process_time() < 1: pass\ntime.sleep(60)"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    with subprocess.Popen([sys.executable, "-c", nested]) as process:
        try:
            deadline = time.monotonic() + 50
            while usage(process.pid).cpu < 1 and time.monotonic() < deadline:
                time.sleep(0.1)
            assert 1 <= usage(process.pid).cpu < 3
        finally:
            for child in __import__("psutil").Process(process.pid).children():
                child.kill()
            process.kill()
    assert usage(process.pid) == Usage(0.0)
