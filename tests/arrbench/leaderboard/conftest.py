"""Records such as a store holds, as plain data."""

import pytest


def make_record(label, ndcg=0.5, seed=1, **changes):
    record = {
        "key": f"{label}-{seed}",
        "status": "ok",
        "error": None,
        "ranker": label.partition(":")[0],
        "label": label,
        "options": {},
        "tuning": "none",
        "query_independent": False,
        "learns": True,
        "task": "wordnet",
        "task_label": "wordnet",
        "headline": "ndcg@10",
        "setting": "retrieve",
        "fingerprint": "f" * 64,
        "split": "test",
        "n_queries": 171,
        "n_documents": 293,
        "k": 100,
        "limit": None,
        "seed": seed,
        "device": "cpu",
        "dtype": "float32",
        "threads": 1,
        "metrics": {"ndcg@10": ndcg, "overlap@1": ndcg / 2, "overlap@3": 0.25, "overlap@5": 1.0},
        "latency_ms": {"p50": 4.714, "p90": 5, "p95": 12.34, "p99": None, "mean": 5, "n": 500},
        "throughput_qps": 1234.5,
        "fit_s": {"wall": 67.25, "cpu": 66},
        "index_s": {"wall": 1.0, "cpu": 1.0},
        "contended": False,
        "memory": {"rss_increase_mb": 10, "device_peak_mb": None, "index_mb": 0.149, "parameters": 612_345},
        "cvr": None,
        "hardware": {
            "cpu": "Some CPU",
            "cores": 2,
            "memory_gib": 24,
            "gpu": None,
            "fingerprint": "abcdef123456",
        },
        "software": {"python": "3.11.7", "arrbench": "0.1.0", "torch": "2.13.0"},
        "command": f"arrbench run --rankers {label} --task wordnet --seeds {seed}",
        "finished_at": "2026-01-01T00:00:00+00:00",
        "cached": False,
    }
    return record | changes


@pytest.fixture
def record():
    return make_record
