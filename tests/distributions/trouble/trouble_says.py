"""Rankers that rank well and say odd things: about themselves, to the harness, and to their process."""

import json
import os
import shutil
import signal
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field
from trouble import Counter, CounterOptions

from arrbench.options import BaseOptions
from arrbench.ranker import Corpus, Query, Ranking
from arrbench.task import Split

HUGE = 10**400


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class SaysOptions(CounterOptions):
    odd: str = Field("nothing", description="what is odd")
    file: Path | None = Field(None, description="a file that changes nothing")


class Says(Counter):
    """As Counter; `odd` names the method that is called at the end of index."""

    Options: ClassVar[type[BaseOptions]] = SaysOptions

    def index(self, corpus: Corpus) -> None:
        super().index(corpus)
        getattr(self, self.options.odd, lambda: None)()

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        rankings = super().rank(queries, k)
        match self.options.odd:
            case "tuples":
                return [(r.ids, r.scores) for r in rankings]
            case "ids_none":
                return [Ranking([None for _ in r.ids], r.scores) for r in rankings]
            case "ids_surrogate":
                return [Ranking([*r.ids[:-1], "d-\udcff"], r.scores) for r in rankings]
            case "score_text":
                return [Ranking(r.ids, [str(s) for s in r.scores]) for r in rankings]
            case "score_huge":
                return [Ranking(r.ids, [HUGE, *r.scores[1:]]) for r in rankings]
            case "scalars":
                import numpy as np

                return [
                    Ranking(np.array(r.ids, dtype=object), np.array(r.scores, dtype=np.float32))
                    for r in rankings
                ]
            case _:
                return rankings

    def audit(self, queries: Sequence[Query], k: int) -> dict[str, object]:
        return {"audit_none": None, "audit_list": {"recall": [1.0]}}.get(self.options.odd, {})

    @property
    def _parent(self):
        return self.context.report.__self__

    def parameters_half(self) -> None:
        self.parameters = 3.5

    def parameters_text(self) -> None:
        self.parameters = "many"

    def parameters_nan(self) -> None:
        self.parameters = float("nan")

    def parameters_huge(self) -> None:
        self.parameters = HUGE

    def bytes_text(self) -> None:
        self.index_bytes = "12"

    def bytes_nan(self) -> None:
        self.index_bytes = float("nan")

    def facts_none(self) -> None:
        self.facts = None

    def fact_list(self) -> None:
        self.facts["seen"] = [1, 2]

    def fact_nan(self) -> None:
        self.facts["seen"] = float("nan")

    def scalars(self) -> None:
        import numpy as np
        import torch

        self.parameters = np.int64(7)
        self.index_bytes = torch.tensor(12)
        self.facts |= {
            "half": np.float32(0.5),
            "yes": np.bool_(True),
            "two": torch.tensor(2),
            "x": np.str_("y"),
        }
        self.context.report("index", np.int32(1), torch.tensor(2), loss=torch.tensor(0.25))

    def surrogate_fact(self) -> None:
        self.facts["path"] = "/data/\udcff"
        self.facts["\udcfe"] = 1

    def surrogate_error(self) -> None:
        raise ValueError("bad byte \udcff and \x1b[31mred")

    def unprintable_error(self) -> None:
        raise UnprintableError

    def report_nan(self) -> None:
        self.context.report("index", 1, float("nan"))

    def report_text(self) -> None:
        self.context.report("index", 1, "ten")

    def report_loss(self) -> None:
        self.context.report("index", 1, 3, loss=float("nan"), norm=float("-inf"))

    def report_list(self) -> None:
        self.context.report("index", 1, 3, losses=[0.1])

    def report_brackets(self) -> None:
        for step in range(1, 7):
            self.context.report("indexing [/data/x] [red]", step, 6)
            time.sleep(0.1)

    def real_time_signal(self) -> None:
        os.kill(os.getpid(), 40)

    def stopped_clock(self) -> None:
        time.perf_counter_ns = lambda: 5

    def other_dumps(self) -> None:
        json.dumps = lambda *_, **__: b"[]"

    def other_worker_dumps(self) -> None:
        sys.modules["arrbench.worker"].dumps = lambda *_, **__: "[1, 2]"
        self.context.report("index", 1, 1)
        time.sleep(60)

    def stray_text(self) -> None:
        self._write(b"indexing: 10%\n")

    def stray_bytes(self) -> None:
        self._write(b"\0\0\0\x20abc")

    def half_a_message(self) -> None:
        self._write(b"\0\0")
        time.sleep(60)

    def _write(self, data: bytes) -> None:
        for number in range(3, 64):
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    os.write(number, data)
            except OSError:
                continue

    def malformed(self) -> None:
        self._parent.say("progress", phase=["x"], done="1", total=None)
        time.sleep(60)

    def unknown_event(self) -> None:
        self._parent.say("finished")
        time.sleep(60)

    def out_of_turn(self) -> None:
        self._parent.say("ready")
        time.sleep(60)

    def hangs_up(self) -> None:
        self._parent.connection.close()
        time.sleep(60)

    def removes_its_folder(self) -> None:
        shutil.rmtree(self._parent.training_log.parent)

    def leaves_folders(self) -> None:
        for name in ("record.json", "samples.npz", "job.json.tmp"):
            (self._parent.training_log.parent / name).mkdir()
        (self._parent.training_log.parent / "run.trec.gz").symlink_to(self.options.file)

    def kills_softly(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


class Outlived(Says):
    """Fits with a process that outlives it and holds its connection, and fails."""

    def fit(self, train: Split, dev: Split) -> None:
        if os.fork() == 0:
            time.sleep(8)
            os._exit(0)
        raise ValueError("fails beside a process of its own")
