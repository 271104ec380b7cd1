"""A task is checked once, before any work: what would end or bend a run later is said now, a line a fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from typing import get_args

from arrbench import plain
from arrbench.errors import ContractError, UsageError, one_line
from arrbench.measure.quality import parse
from arrbench.ranker import Corpus, Document, Query
from arrbench.task import SPLITS, Judgments, Setting, Split, SplitName, Task
from arrbench.trec import COMMENT, LARGEST

SHOWN = 10  # faults that are told one by one; more are counted


@dataclass(slots=True)
class _Faults:
    """What is wrong, each kind once with its first example and how often it occurs, in the order found."""

    first: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, example: str = "") -> None:
        self.first.setdefault(kind, example)
        self.counts[kind] += 1

    def lines(self) -> list[str]:
        return [self._line(kind, example) for kind, example in self.first.items()]

    def _line(self, kind: str, example: str) -> str:
        if not example:
            return kind
        times = self.counts[kind]
        return f"{kind}: {example}" + (f" and {times - 1} more" if times > 1 else "")


def check(task: Task, label: str) -> None:
    """Raise UsageError with a line for each kind of fault of the task, naming it by `label`.

    Measures that are known and integer gains that they take; ids that survive a TREC file; texts that are
    text; splits over one corpus that share no query; candidates that fit the setting, each once and in the
    corpus; facts and notes that a record holds. Judged documents may lie outside the corpus, excluded ones
    too. Costs a few seconds for a million documents.
    """
    faults = _Faults()
    with asking(label):
        _check_words(task, faults)
        splits = {name: task.split(name) for name in SPLITS}
        shaped = {name: split for name, split in splits.items() if _is_split(name, split, faults)}
        if len(shaped) == len(SPLITS):
            _check_corpora(shaped, faults)
            _check_queries(shaped, task.setting, faults)
            for name, split in shaped.items():
                _check_judgments(name, split, faults)
    _raise(faults.lines(), label)


def measured(task: Task) -> tuple[str, ...]:
    """The measures of a task, with its headline first where it does not name it among them."""
    return task.measures if task.headline in task.measures else (task.headline, *task.measures)


@contextmanager
def asking(label: str) -> Iterator[None]:
    """Turns what a task's own code raises into one line that names the task; its UsageErrors stand."""
    try:
        yield
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {one_line(error) or 'no message'}"
        raise UsageError(f"task {label!r} failed before any work started: {reason}") from error


def _raise(lines: Sequence[str], label: str) -> None:
    if not lines:
        return
    shown = [f"task {label!r}: {line}" for line in lines[:SHOWN]]
    if len(lines) > SHOWN:
        shown.append(f"task {label!r}: and {len(lines) - SHOWN} more kinds of fault")
    raise UsageError("\n".join(shown))


def _check_words(task: Task, faults: _Faults) -> None:
    """Setting, measures and headline, licence, facts and notes: what a record says of the task."""
    if task.setting not in get_args(Setting):
        faults.add(f"its setting is {task.setting!r}; it must be one of {', '.join(get_args(Setting))}")
    if not isinstance(task.measures, tuple) or not all(isinstance(m, str) for m in task.measures):
        faults.add(f"its measures are {task.measures!r:.80}, no tuple of names")
    else:
        for measure in dict.fromkeys((*task.measures, str(task.headline))):
            try:
                parse(measure)
            except UsageError as error:
                faults.add(str(error))
    if not _is_text(task.licence):
        faults.add(f"its licence is {task.licence!r:.80}, no text")
    for what, values in (("notes", task.notes), ("warnings", task.warnings)):
        if not isinstance(values, tuple) or not all(map(_is_text, values)):
            faults.add(f"its {what} are {values!r:.80}, no tuple of texts")
    if not isinstance(task.facts, Mapping):
        faults.add(f"its facts are {task.facts!r:.80}, no mapping")
        return
    for name, fact in task.facts.items():
        if not _is_text(name) or not _is_fact(fact):
            faults.add("facts that are no text, finite number or boolean", f"{name!r:.40} is {fact!r:.40}")


def _is_split(name: SplitName, split: object, faults: _Faults) -> bool:
    """Whether it is a Split of Query, Judgments and Corpus; if not, nothing else is looked at."""
    if not isinstance(split, Split):
        faults.add("splits that are no arrbench.task.Split", f"{name} is a {type(split).__name__}")
        return False
    parts = (
        ("queries that are no Query", all(isinstance(q, Query) for q in split.queries)),
        ("judgments that are no Judgments", isinstance(split.judgments, Judgments)),
        ("corpora that are no Corpus", isinstance(split.corpus, Corpus)),
    )
    wrong = [kind for kind, right in parts if not right]
    for kind in wrong:
        faults.add(kind, f"in {name}")
    return not wrong


def _check_corpora(splits: Mapping[SplitName, Split], faults: _Faults) -> None:
    test = splits["test"]
    corpus = test.corpus
    if not len(corpus) or not test.queries:
        faults.add(f"{len(test.queries)} test queries over {len(corpus)} documents")
    for name, split in splits.items():
        if split.corpus is not corpus and tuple(split.corpus) != tuple(corpus):
            faults.add(f"its {name} split has another corpus than test; all splits share one")
    for document in corpus:
        if not isinstance(document, Document):
            faults.add("its corpus holds what is no Document", f"a {type(document).__name__}")
            return
        _check_id("document", document.id, faults)
        if not (_is_text(document.title) and _is_text(document.text)):
            faults.add("a title or text that is no text", f"of document {document.id!r:.60}")


def _check_queries(splits: Mapping[SplitName, Split], setting: Setting, faults: _Faults) -> None:
    for name, split in splits.items():
        for query in split.queries:
            _check_id("query", query.id, faults)
            if str(query.id).startswith(COMMENT):
                faults.add(
                    f"query ids that begin with {COMMENT}, as comments do in TREC files", f"{query.id!r:.60}"
                )
            if not _is_text(query.text):
                faults.add("a query's text that is no text", f"{query.text!r:.40} of query {query.id!r:.60}")
            _check_candidates(name, query, split.corpus, setting, faults)
        for query_id, times in Counter(q.id for q in split.queries).items():
            if times > 1:
                faults.add(f"query ids that occur twice in {name}", f"{query_id!r:.60}")
    for one, other in combinations(splits, 2):
        for query_id in sorted({q.id for q in splits[one].queries} & {q.id for q in splits[other].queries}):
            faults.add(f"{other} queries that are {one} queries too", f"{query_id!r:.60}")


def _check_candidates(
    name: SplitName, query: Query, corpus: Corpus, setting: Setting, faults: _Faults
) -> None:
    if query.candidates is None:
        if setting == "rerank" and name == "test":
            faults.add("test queries without candidates, where the setting is rerank", f"{query.id!r:.60}")
        return
    if setting == "retrieve":
        faults.add("queries with candidates, where the setting is retrieve", f"{query.id!r:.60} ({name})")
    if len(set(query.candidates)) < len(query.candidates):
        twice = next(d for d, times in Counter(query.candidates).items() if times > 1)
        faults.add("queries that have a candidate twice", f"{query.id!r:.60} has {twice!r:.60} ({name})")
    outside = next((d for d in query.candidates if d not in corpus.positions), None)
    if outside is not None:
        faults.add(
            "queries with candidates that the corpus lacks", f"{query.id!r:.60} has {outside!r:.60} ({name})"
        )


def _check_judgments(name: SplitName, split: Split, faults: _Faults) -> None:
    """Grades are integers, and so are the gains of all of them; bool is none, whatever Python says."""
    gains = split.judgments.gains
    if gains is not None:
        for grade, gain in gains.items():
            if type(grade) is not int:
                faults.add("gains of grades that are no int", f"{grade!r:.40}")
            _check_gain(gain, f"of grade {grade!r:.40}", faults)
    for query in split.queries:
        grades = split.judgments.grades.get(query.id, {})
        for document in grades:
            _check_id("judged document", document, faults)
        if set(map(type, grades.values())) - {int}:
            document, grade = next((d, g) for d, g in grades.items() if type(g) is not int)
            faults.add(
                "grades that are no int", f"{grade!r:.40} of {document!r:.60} for query {query.id!r:.60}"
            )
        elif gains is None:
            for document, grade in grades.items():
                if not 0 <= grade <= LARGEST:
                    _check_gain(grade, f"of {document!r:.60} for query {query.id!r:.60} ({name})", faults)


def _check_gain(gain: object, of: str, faults: _Faults) -> None:
    if type(gain) is not int or not 0 <= gain <= LARGEST:
        faults.add(f"gains that are no integers from 0 to {LARGEST}", f"{gain!r:.40} {of}")


def _check_id(what: str, name: object, faults: _Faults) -> None:
    if not isinstance(name, str):
        faults.add(f"{what} ids that are no text", f"{name!r:.60}")
    elif name.split() != [name]:
        faults.add(
            f"{what} ids that are empty or hold white space, which a TREC run can't carry", f"{name!r:.60}"
        )
    elif not _is_text(name):
        faults.add(f"{what} ids that can't be written as UTF-8", f"{name!r:.60}")


def _is_text(value: object) -> bool:
    """A string that UTF-8 can hold: half of a surrogate pair is none."""
    if not isinstance(value, str):
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_fact(value: object) -> bool:
    if isinstance(value, str):
        return _is_text(value)
    try:
        plain.fact("a fact", value)
    except ContractError:
        return False
    return True
