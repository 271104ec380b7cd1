"""A third party's rankers that go wrong in every way the harness must survive, and a task of a few lines."""

import ctypes
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import psutil
from pydantic import Field

from arrbench.options import BaseOptions
from arrbench.ranker import Context, Corpus, Document, Query, Ranker, Ranking
from arrbench.task import DataSource, Judgments, Setting, Split, SplitName, Task

COLOURS = ("red", "green", "blue", "black", "white", "grey", "pink", "brown")


class ToyOptions(BaseOptions):
    setting: Setting = Field("retrieve", description="retrieve or rerank")
    empty: bool = Field(False, description="no test queries")
    blank_id: bool = Field(False, description="a document id with a blank")


class Toy(Task):
    """Colours: each query names two colours, the first is the better answer."""

    Options: ClassVar[type[BaseOptions]] = ToyOptions
    measures = ("ndcg@10", "ndcg", "overlap@1", "overlap@3", "mrr")
    licence = "made for these tests"

    def __init__(self, options: BaseOptions, source: DataSource | None) -> None:
        super().__init__(options, source)
        self.notes = ("colours: a made-up scale",)

    @property
    def setting(self) -> Setting:
        return self.options.setting

    def split(self, name: SplitName) -> Split:
        ids = [f"d {c}" if self.options.blank_id and c == "red" else f"d-{c}" for c in COLOURS]
        corpus = Corpus(Document(i, c, c) for i, c in zip(ids, COLOURS, strict=True))
        first = ("train", "dev", "test").index(name)
        pairs = [(a, b) for a in COLOURS for b in COLOURS if a != b][first::3]
        pairs = [] if self.options.empty and name == "test" else pairs
        queries = tuple(
            Query(
                f"q-{a}-{b}",
                f"{a} {a} {b}",
                tuple(ids) if self.setting == "rerank" else None,
                frozenset({f"d-{COLOURS[-1]}"} - {f"d-{a}", f"d-{b}"}),
            )
            for a, b in pairs
        )
        grades = {f"q-{a}-{b}": {f"d-{a}": 2, f"d-{b}": 1} for a, b in pairs}
        return Split(queries, Judgments(grades), corpus)


class CounterOptions(BaseOptions):
    wrong: Literal["no", "nan", "unknown", "twice", "too-many", "raise"] = Field(
        "no", description="what goes wrong"
    )
    sleep_ms: float = Field(0.0, ge=0, description="how long a call takes")
    remark: str = Field("", description="anything; it changes nothing")


class Counter(Ranker):
    """Scores a document by how often the query says its name."""

    Options: ClassVar[type[BaseOptions]] = CounterOptions

    def index(self, corpus: Corpus) -> None:
        self.names = {d.id: d.text for d in corpus}
        self.index_bytes = sum(map(len, self.names))
        self.parameters = 0

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        time.sleep(self.options.sleep_ms / 1e3)
        return [self._rank(q, k) for q in queries]

    def _rank(self, query: Query, k: int) -> Ranking:
        words = query.text.split()
        pool = self.names if query.candidates is None else query.candidates
        scores = {i: float(words.count(self.names[i])) for i in pool}
        best = sorted(scores, key=lambda i: -scores[i])[:k]
        places = [(i, scores[i]) for i in best]
        match self.options.wrong:
            case "nan":
                places[0] = (places[0][0], float("nan"))
            case "unknown":
                places[0] = ("nowhere", 1.0)
            case "twice":
                places[1] = places[0]
            case "too-many":
                places = (places * (k + 1))[: k + 1]
            case "raise":
                raise ValueError("the ranker's own fault")
        return Ranking([i for i, _ in places], [s for _, s in places])

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "names.txt").write_text(
            "\n".join(f"{i}\t{n}" for i, n in self.names.items()), encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: Path, context: Context) -> "Counter":
        ranker = super().load(folder, context)
        lines = (folder / "names.txt").read_text(encoding="utf-8").splitlines()
        ranker.names = dict(line.split("\t") for line in lines)
        return ranker


class Learner(Counter):
    """Learns slowly, says so, and looks around for what it may not see."""

    def fit(self, train: Split, dev: Split) -> None:
        for step in range(1, 6):
            time.sleep(0.1)
            self.context.report("fit", step, 5, loss=1 / step)
        self.facts["train_queries"] = len(train.queries)
        self.facts["judged_test_queries"] = sum(
            1 for q in Toy(ToyOptions(), None).split("test").queries if q.id in train.judgments.grades
        )
        print("a word on stdout")
        os.write(1, b"and one past Python's own\n")

    def audit(self, queries: Sequence[Query], k: int) -> dict[str, int]:
        return {"audited_queries": len(queries)}


class Exits(Counter):
    """Ends its process in the middle of index."""

    def index(self, corpus: Corpus) -> None:
        os._exit(3)


class Segfaults(Counter):
    """Reads address 0 while ranking."""

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        ctypes.string_at(0)
        return super().rank(queries, k)


class OutOfMemory(Counter):
    """Is killed as by the kernel's out-of-memory killer, with a temporary file in its hands."""

    def index(self, corpus: Corpus) -> None:
        print(f"left behind: {tempfile.mkdtemp()}", flush=True)
        os.kill(os.getpid(), 9)


class Hangs(Counter):
    """Never comes back from fit."""

    def fit(self, train: Split, dev: Split) -> None:
        time.sleep(3600)


class Liar(Counter):
    """Turns the clock back, so that its calls seem to take a thousandth of their time."""

    def index(self, corpus: Corpus) -> None:
        super().index(corpus)
        real = time.perf_counter_ns
        time.perf_counter_ns = lambda: real() // 1000

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        time.sleep(0.001)
        return super().rank(queries, k)


class Few(Counter):
    """Forgets the last query of a batch."""

    def rank(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        return super().rank(queries, k)[: max(1, len(queries) - 1)]


class Witness(Counter):
    """Counts the workers that live while it trains, itself among them; all are a server's children."""

    def fit(self, train: Split, dev: Split) -> None:
        harness = psutil.Process(os.getppid()).parent()
        assert harness is not None
        deadline = time.monotonic() + 1.0
        most = 0
        while time.monotonic() < deadline:
            most = max(most, sum(len(server.children()) for server in harness.children()))
            time.sleep(0.01)
        self.facts["living_workers"] = most


class Importing(Counter):
    """Imports its library where it needs it."""

    def index(self, corpus: Corpus) -> None:
        importlib.import_module(self.libraries[0])
        super().index(corpus)


class ImportsRaising(Importing):
    libraries = ("trouble_raises",)


class ImportsExiting(Importing):
    libraries = ("trouble_exits",)


class ImportsDying(Importing):
    libraries = ("trouble_dies",)


class ImportsCrashing(Importing):
    libraries = ("trouble_crashes",)


class ImportsPrinting(Importing):
    libraries = ("trouble_prints",)


class ImportsThreads(Importing):
    libraries = ("trouble_threads",)


class KillsParent(Counter):
    """Ends the process that it was forked from, and goes on."""

    def fit(self, train: Split, dev: Split) -> None:
        os.kill(os.getppid(), 9)


class VandalOptions(CounterOptions):
    does: Literal["rewrite", "delete", "wipe"] = Field("rewrite", description="what it does to others")


class Vandal(Counter):
    """Looks below $TROUBLE_BELOW for what other trials read, or write, and damages it."""

    Options: ClassVar[type[BaseOptions]] = VandalOptions

    def fit(self, train: Split, dev: Split) -> None:
        below, mine = Path(os.environ["TROUBLE_BELOW"]), out_folder(self)
        wipes = self.options.does == "wipe"
        self.facts["damaged"] = 0
        deadline = time.monotonic() + (10.0 if wipes else 1.0)
        while time.monotonic() < deadline and not (wipes and self.facts["damaged"]):
            self.facts["damaged"] += self._wipe(below, mine) if wipes else self._damage(below, mine)
            time.sleep(0.02)

    def _wipe(self, below: Path, mine: Path) -> int:
        others = [folder for folder in below.rglob(".partial-*") if folder != mine]
        if not any((folder / "training.jsonl").exists() for folder in others):
            return 0
        for folder in others:
            shutil.rmtree(folder)
        return len(others)

    def _damage(self, below: Path, mine: Path) -> int:
        read = ("corpus.jsonl", "queries.jsonl", "train.jsonl", "dev.jsonl", "*.gains.json", "job.json")
        found = [f for name in read for f in below.rglob(name) if f.parent != mine]
        for file in found:
            file.write_text("{}\n") if self.options.does == "rewrite" else file.unlink()
        return len(found)


class SelfVandalOptions(CounterOptions):
    what: Literal[
        "folder", "folder-link", "folder-file", "rankings", "rankings-fifo", "timing", "worker", "links"
    ] = Field("folder", description="what of its own it destroys")


class SelfVandal(Counter):
    """Destroys what it wrote itself, or puts links to other people's files there."""

    Options: ClassVar[type[BaseOptions]] = SelfVandalOptions

    def audit(self, queries: Sequence[Query], k: int) -> dict[str, int]:
        out, elsewhere = out_folder(self), Path(os.environ["TROUBLE_BELOW"], "elsewhere")
        match self.options.what:
            case "folder":
                shutil.rmtree(out)
            case "folder-link":
                shutil.rmtree(out)
                out.symlink_to(elsewhere)
            case "folder-file":
                shutil.rmtree(out)
                out.write_text("")
            case "rankings":
                (out / "rankings.jsonl").unlink()
            case "rankings-fifo":
                (out / "rankings.jsonl").unlink()
                os.mkfifo(out / "rankings.jsonl")
            case "timing":
                (out / "timing.npz").write_bytes(b"PK\x03\x04 and no more")
            case "links":
                for name in ("record.json", "run.trec.gz", "samples.npz"):
                    (out / name).symlink_to(elsewhere / "precious.txt")
        return {}

    def save(self, folder: Path) -> None:
        if self.options.what == "worker":
            (folder.parent / "worker.json").mkdir()
        if folder.parent.is_dir():
            super().save(folder)


def out_folder(ranker: Ranker) -> Path:
    """The folder that the trial of this process writes into."""
    return Path(ranker.context.report.__self__.training_log).parent


class Stopwatch(Counter):
    """Writes down from when until when it had the machine, by a clock that all processes share."""

    def index(self, corpus: Corpus) -> None:
        super().index(corpus)
        self.begun = time.monotonic()

    def audit(self, queries: Sequence[Query], k: int) -> dict[str, int]:
        time.sleep(0.2)
        with Path(os.environ["TROUBLE_TIMES"]).open("a", encoding="utf-8") as times:
            times.write(f"{self.begun} {time.monotonic()}\n")
        return {}


class Grandchild(Counter):
    """Has an interpreter of its own started with a module, as libraries' pools of processes do."""

    def index(self, corpus: Corpus) -> None:
        subprocess.run([sys.executable, "-c", "import random"], check=True)
        subprocess.run([sys.executable, "-m", "random"], check=True, stdout=subprocess.DEVNULL)
        super().index(corpus)
