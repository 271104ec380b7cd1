import math
import re

import numpy as np
import pytest

from arrbench.leaderboard.notes import notes, tuning
from arrbench.leaderboard.rows import tables
from arrbench.measure.method import Method

BLIND = {"query_independent": True}


def only(records, per_query=None):
    (table,) = tables(records, per_query or {})
    return table


def cell(table, row, title):
    at = [column.title for column in table.columns].index(title)
    return next(r for r in table.rows if r.name == row).cells[at]


def test_columns_are_the_headline_overlaps_and_costs(record):
    assert [c.title for c in only([record("de")]).columns] == [
        "nDCG@10",
        "overlap@1",
        "overlap@3",
        "overlap@5",
        "constraint violations %",
        "p50 ms",
        "p95 ms",
        "queries/s",
        "fit s",
        "parameters",
        "index MiB",
    ]
    other = record("de", headline="mrr", metrics={"mrr": 0.25})
    assert [c.title for c in only([other]).columns][:2] == ["MRR", "constraint violations %"]


def test_figures_as_they_print(record):
    table = only([record("de", 0.8607, cvr=0.0234)])
    texts = [c.full for c in table.rows[0].cells]
    assert texts == [".861", ".43", ".25", "1.00", "2.3", "4.71", "12.3", "1234", "67.2", "612.3k", "0.149"]
    small = record("de", 0.99999, fit_s=None, throughput_qps=0.01234, memory={"parameters": 7, "index_mb": 0})
    texts = [c.full for c in only([small]).rows[0].cells]
    assert texts == ["1.000", ".50", ".25", "1.00", "", "4.71", "12.3", "0.0123", "", "7", "0"]


def test_rows_and_tasks_are_called_by_their_titles(record):
    titled = record("de:dim=32", title="MiniLM, fine-tuned", task_title="Mammals")
    table = only([titled, record("bm25", task_title="Mammals")])
    assert (
        {row.name for row in table.rows}
        == {row.label for row in table.rows}
        == {"MiniLM, fine-tuned", "bm25"}
    )
    assert table.task == "Mammals"


def test_two_rankers_of_one_title_are_two_rows_under_their_labels(record):
    table = only(
        [record("de", title="X"), record("ce", title="X"), record("bm25", title="arr"), record("arr")]
    )
    assert {row.name for row in table.rows} == {"de", "ce", "bm25", "arr"}


def test_seeds_are_taken_together(record):
    table = only([record("de", value, seed) for seed, value in enumerate((0.7, 0.8, 0.9))])
    found = cell(table, "de", "nDCG@10")
    assert (found.value, found.spread) == (pytest.approx(0.8), pytest.approx(0.1))
    assert found.full == ".800 ±.100"
    assert cell(table, "de", "overlap@3").full == ".25"  # seeds agree
    assert table.rows[0].n_seeds == 3


def test_of_two_records_of_a_seed_the_later_counts(record):
    old = record("de", 0.1, key="old", finished_at="2026-01-01T00:00:00+00:00")
    new = record("de", 0.9, key="new", finished_at="2026-01-02T00:00:00+00:00")
    for records in ([old, new], [new, old]):
        (row,) = only(records).rows
        assert [r["key"] for r in row.records] == ["new"]


def test_rows_are_sorted_by_headline_with_failures_last(record):
    failed = record("aa", status="failed", error="Traceback\nValueError: no", metrics={}, latency_ms=None)
    table = only([failed, record("low", 0.1), record("high", 0.9), record("mid", 0.5)])
    assert [r.name for r in table.rows] == ["high", "mid", "low", "aa"]
    assert [r.status for r in table.rows] == ["ok", "ok", "ok", "failed"]
    assert table.rows[-1].error == "ValueError: no"
    assert "aa failed: ValueError: no" in notes(table)


def test_a_row_with_some_seeds_failed_keeps_the_others(record):
    table = only([record("de", 0.5, 1), record("de", 0, 2, status="failed", error="MemoryError", metrics={})])
    (row,) = table.rows
    assert (row.status, row.n_seeds, row.failed_seeds) == ("ok", 1, 1)
    assert cell(table, "de", "nDCG@10").full == ".500"
    assert "de failed for 1 of 2 seeds: MemoryError" in notes(table)


def test_a_row_is_cached_if_nothing_of_it_was_run(record):
    table = only([record("a", 0.9, cached=True), record("b", 0.8, 1, cached=True), record("b", 0.8, 2)])
    assert [r.status for r in table.rows] == ["cached", "ok"]


def test_tasks_settings_and_limits_are_never_mixed(record):
    records = [
        record("a"),
        record("a", task_label="wordnet:root=animal.n.01", fingerprint="e" * 64),
        record("a", limit=20),
        record("a", k=10),
    ]
    assert len(tables(records, {})) == 4
    assert tables([], {}) == []


def test_rows_on_different_devices_or_machines_are_told_apart(record):
    other = record("a")["hardware"] | {"fingerprint": "123456abcdef"}
    table = only([record("a", 0.9), record("a", 0.8, device="cuda:0", hardware=other), record("b", 0.7)])
    assert [r.name for r in table.rows] == [
        "a (cpu, machine abcdef)",
        "a (cuda:0, machine 123456)",
        "b (cpu, machine abcdef)",
    ]
    assert any("ranked only within one machine" in line for line in notes(table))
    assert not any("ranked only within one machine" in line for line in notes(only([record("a")])))


def latency(p50):
    return {"p50": p50, "p90": p50, "p95": p50, "p99": None, "mean": p50, "n": 100}


def test_the_best_is_marked_ties_as_printed_included(record):
    table = only(
        [record("a", 0.9001), record("b", 0.9004), record("c", 0.8, cvr=0.1), record("d", 0.1, cvr=0.2)]
    )
    assert [cell(table, r, "nDCG@10").best for r in "abcd"] == [True, True, False, False]
    assert [cell(table, r, "constraint violations %").best for r in "abcd"] == [False, False, True, False]
    assert not any(cell(table, r, "parameters").best for r in "abcd")
    assert not cell(only([record("alone")]), "alone", "nDCG@10").best


def test_times_compete_within_one_machine_among_rankers_that_read_the_query(record):
    other = record("a")["hardware"] | {"fingerprint": "123456abcdef"}
    records = [
        record("a", latency_ms=latency(4.0)),
        record("b", latency_ms=latency(5.0)),
        record("blind", latency_ms=latency(0.1), query_independent=True),
        record("gpu1", latency_ms=latency(1.0), hardware=other),
        record("gpu2", latency_ms=latency(2.0), hardware=other),
    ]
    table = only(records)
    best = {row.label for row in table.rows if cell(table, row.name, "p50 ms").best}
    assert best == {"a", "gpu1"}


class TestNotes:
    def values(self, mean, n=171, seed=0, noise=0.05):
        rng = np.random.default_rng(seed)
        shared = np.random.default_rng(99).normal(0, 0.1, n)
        v = shared + rng.normal(0, noise, n)
        return v - v.mean() + mean

    def board(self, record, means, **changes):
        records, per_query = [], {}
        for i, (label, mean) in enumerate(means.items()):
            r = record(label, mean, **changes.get(label, {}))
            records.append(r)
            per_query[r["key"]] = self.values(mean, seed=i)
        return only(records, per_query)

    def test_says_which_differences_hold_with_the_interval_of_the_least(self, record):
        table = self.board(record, {"high": 0.8, "twin": 0.801, "low": 0.4})
        lines = "\n".join(notes(table))
        assert "  twin > low (over low by .401 [.3" in lines
        assert "  high > low (over low by .400 [.3" in lines
        assert "not told apart: twin and high" in lines
        assert (
            "hold (paired t-test over queries, between these trained models, Holm-corrected over all pairs, "
            "3 pairs, with 95% intervals; d: difference / its standard deviation over queries):"
        ) in lines
        assert re.search(r"over low by \.400 \[\.39\d, \.4\d\d\], d = \d\.\d\d\)", lines)
        assert re.search(
            r"smallest difference .* 80% power at the level 0\.05/3: \.01\d to \.01\d from", lines
        )

    def test_many_pairs_that_are_not_told_apart_are_counted(self, record):
        even = {f"even{i}": 0.8 for i in range(6)}
        lines = "\n".join(notes(self.board(record, {**even, "low": 0.4})))
        assert "  not told apart: the other 15 pairs" in lines

    def test_says_when_none_holds(self, record):
        lines = "\n".join(notes(self.board(record, {"a": 0.5, "b": 0.501})))
        assert "no difference in nDCG@10 holds" in lines

    def test_seeds_count_in_the_test(self, record):
        """Over queries alone the difference is certain; two seeds that are .2 apart leave it open."""
        records = [record("a", 0.6, 1), record("a", 0.4, 2), record("b", 0.1, 1), record("b", 0.1, 2)]
        up, down, flat = np.full(50, 0.6), np.full(50, 0.4), np.full(50, 0.1)
        per_query = dict(zip([r["key"] for r in records], [up, down, flat, flat], strict=True))
        table = only(records, per_query)
        (comparison,) = table.comparisons
        assert (comparison.better, comparison.difference) == ("a", pytest.approx(0.4))
        # standard error over seeds .1, t of one degree of freedom: p = 1 - 2 atan(4) / pi
        assert comparison.p == pytest.approx(1 - 2 * math.atan(4) / math.pi)
        assert not comparison.significant
        assert table.intervals["a"] == pytest.approx((0.5 - 0.1 * 12.7062, 0.5 + 0.1 * 12.7062))
        assert "(t-test over queries and seeds, Holm-corrected" in "\n".join(notes(table))

    def seeded(self, record, seeds, method=None):
        """Rankers `a` and `b` with so many seeds each, which learn, and `c`, which doesn't."""
        made = [(name, s) for name, n in seeds.items() for s in range(1, n + 1)]
        records = [record(name, 0.5, s, learns=name != "c") for name, s in made]
        per_query = {f"{name}-{s}": self.values(0.5, seed=s * ord(name)) for name, s in made}
        (table,) = tables(records, per_query, method)
        return table, "\n".join(notes(table))

    def test_one_seed_speaks_of_these_trained_models(self, record):
        _, said = self.seeded(record, {"a": 1, "b": 1, "c": 1})
        assert "(paired t-test over queries, between these trained models, Holm" in said
        _, said = self.seeded(record, {"a": 3, "b": 1, "c": 1})
        assert (
            "(t-test over queries and seeds, b with one seed: over queries alone, of these trained models, "
        ) in said
        _, said = self.seeded(record, {"a": 3, "b": 2, "c": 1})
        assert "(t-test over queries and seeds, Holm" in said
        _, said = self.seeded(record, {"c": 1, "a": 0})
        assert "t-test" not in said

    def test_a_seed_that_failed_leaves_one_model(self, record):
        records = [record("a", 0.5, 1), record("a", 0, 2, status="failed", error="MemoryError", metrics={})]
        records.append(record("c", 0.4, learns=False))
        per_query = {"a-1": self.values(0.5), "c-1": self.values(0.4, seed=1)}
        said = "\n".join(notes(only(records, per_query)))
        assert "(paired t-test over queries, between these trained models, Holm" in said

    def test_rankers_that_learn_nothing_are_no_trained_models(self, record):
        records = [record(name, 0.5, learns=False) for name in "xy"]
        per_query = {"x-1": self.values(0.5), "y-1": self.values(0.4, seed=1)}
        assert "(paired t-test over queries, Holm" in "\n".join(notes(only(records, per_query)))

    def test_the_test_and_correction_asked_for_are_named(self, record):
        table, said = self.seeded(record, {"a": 3, "b": 3, "c": 1}, Method("wilcoxon", "bh"))
        assert (
            "(Wilcoxon's signed-rank test over queries, on means over seeds, whose variance it ignores, "
            "between these trained models, Benjamini-Hochberg-corrected over all pairs, 3 pairs; d:"
        ) in said
        assert {c.low for c in table.comparisons} == {None}
        _, said = self.seeded(record, {"a": 1, "b": 1}, Method("randomization"))
        assert (
            "(randomization test over queries, between these trained models, Holm-corrected over all pairs, "
            "1 pair, with 95% intervals; d:"
        ) in said
        assert "power at the level 0.05: " in said

    def test_records_without_values_are_in_no_comparison(self, record):
        records = [record("a"), record("b"), record("c")]
        per_query = {"a-1": self.values(0.5), "b-1": self.values(0.6, seed=2)}
        assert [(c.better, c.worse) for c in only(records, per_query).comparisons] == [("b", "a")]

    def test_warns_where_a_blind_baseline_reaches_the_best_trained_ranker(self, record):
        table = self.board(record, {"de": 0.8, "prior": 0.795, "random": 0.1}, prior=BLIND, random=BLIND)
        (line,) = [line for line in notes(table) if line.startswith("warning")]
        assert "without reading the query, prior (.795) reaches" in line
        assert "best trained ranker, de (.800 [.7" in line
        assert "the task, not the model, is being shown" in line
        assert "random" not in line

    def test_warns_where_a_blind_baseline_is_above(self, record):
        table = self.board(record, {"de": 0.8, "prior": 0.95}, prior=BLIND)
        assert any(line.startswith("warning") for line in notes(table))

    def test_does_not_warn_where_training_pays_or_nothing_was_trained(self, record):
        table = self.board(record, {"de": 0.8, "prior": 0.4}, prior=BLIND)
        assert not any(line.startswith("warning") for line in notes(table))
        untrained = {"learns": False}
        table = self.board(record, {"bm25": 0.4, "prior": 0.4}, prior=BLIND, bm25=untrained)
        assert not any(line.startswith("warning") for line in notes(table))

    def test_names_what_never_reads_the_query_and_what_was_timed_on_a_busy_machine(self, record):
        lines = notes(only([record("a", contended=True), record("prior", query_independent=True)]))
        assert "never read the query: prior" in lines
        assert any(line.endswith("too long: a") for line in lines)

    def test_tuning_is_said_once_for_all_tuned_alike(self, record):
        table = only([record("a", 0.9), record("b", 0.8), record("c", 0.7, tuning="6 rates on dev")])
        assert tuning(table.rows) == ["tuning: a, b: none", "tuning: c: 6 rates on dev"]
