import os
import subprocess
import sys
import textwrap

import pytest

from arrbench.measure import kernels


def run_python(code, **environment):
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | environment
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_folder_nobody_warmed_is_not_warm(tmp_path):
    assert not kernels.is_warm(tmp_path)


@pytest.mark.slow
def test_warming_up_leaves_nothing_to_compile_in_a_later_process(tmp_path):
    warm = f"""
        import sys, numba  # imported too early, as a plugin may
        from pathlib import Path
        from arrbench.measure import kernels
        cache = Path({str(tmp_path)!r})
        kernels.KERNELS = ("recall",)  # one kernel is enough to see it, and takes a quarter of the time
        kernels.warm_up(cache)
        from ranx.metrics import recall as module
        stats = sys.modules["ranx.metrics.recall"]._recall_parallel.stats
        print(kernels.is_warm(cache), sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
    """
    assert run_python(warm) == "True 0 1"
    assert run_python(warm) == "True 1 0"


def test_loads_no_more_of_ranx_than_its_measures_and_leaves_ranx_whole():
    heavy = """
        import sys
        from arrbench.measure import kernels
        kernels._ranx_metrics()
        print([m for m in ("pandas", "matplotlib", "scipy.stats", "ranx") if m in sys.modules])
        import ranx
        print(ranx.Qrels.__name__)
    """
    assert run_python(heavy) == "[]\nQrels"
