"""Entry points become rankers, tasks, docIDs. Reading names imports nothing; a broken plugin is named."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from arrbench.errors import UsageError, one_line

if TYPE_CHECKING:
    from arrbench.ranker import Ranker
    from arrbench.task import Task

Kind = Literal["ranker", "baseline", "task", "docid"]
GROUPS: Mapping[Kind, str] = {
    "ranker": "arrbench.rankers",
    "baseline": "arrbench.baselines",  # rankers that every run gets without being asked for
    "task": "arrbench.tasks",
    "docid": "arrbench.docids",  # how generative rankers write documents; their contract is a ranker's own
}


@dataclass(frozen=True, order=True, slots=True)
class Plugin:
    """One entry point: what a name stands for and which distribution says so."""

    name: str
    kind: Kind
    distribution: str
    version: str
    target: str  # "package.module:Class"

    def import_class(self) -> type[object]:
        """The class behind the entry point; UsageError tells why it can't be had."""
        group = GROUPS[self.kind]
        try:
            found: object = metadata.EntryPoint(self.name, self.target, group).load()
        except Exception as error:
            raise UsageError(
                f"{self.kind} {self.name!r} of {self.distribution} {self.version} can't be imported "
                f"from {self.target}: {type(error).__name__}: {one_line(error) or 'no message'}"
            ) from error
        if not isinstance(found, type):
            raise UsageError(f"{self.kind} {self.name!r}: {self.target} is no class")
        return found

    def source_hash(self) -> str:
        """SHA-256 over the Python files of the plugin's top-level package, found without importing it."""
        top = self.target.partition(":")[0].partition(".")[0]
        spec = importlib.util.find_spec(top)
        if spec is None:
            raise UsageError(f"{self.kind} {self.name!r}: no package {top!r} to be found for {self.target}")
        folders = [Path(p) for p in spec.submodule_search_locations or ()]
        files = sorted(f for folder in folders for f in folder.rglob("*.py"))
        if not folders and spec.origin:
            files = [Path(spec.origin)]
        digest = hashlib.sha256()
        for file in files:
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
        return digest.hexdigest()


def installed(*kinds: Kind) -> list[Plugin]:
    """All plugins of these kinds, by name; one distribution seen twice on the path counts once."""
    found: set[Plugin] = set()
    for kind in kinds:
        for point in metadata.entry_points(group=GROUPS[kind]):
            distribution = point.dist.name if point.dist else "an unnamed distribution"
            version = point.dist.version if point.dist else "?"
            found.add(Plugin(point.name, kind, distribution, version, point.value))
    return sorted(found)


def find(name: str, *kinds: Kind) -> Plugin:
    """The one plugin of that name; UsageError where there is none, or more than one."""
    plugins = installed(*kinds)
    named = [p for p in plugins if p.name == name]
    if len(named) > 1:
        claims = " and ".join(f"{p.distribution} {p.version} ({p.target})" for p in named)
        raise UsageError(f"{kinds[0]} {name!r} is claimed by {claims}; uninstall one of them")
    if not named:
        known = sorted({p.name for p in plugins})
        raise UsageError(f"unknown {kinds[0]} {name!r}; {nearest(name, known)}")
    return named[0]


def nearest(name: str, known: list[str]) -> str:
    """A hint for a mistyped name: the nearest known one first, then all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(known) or 'none'}"


def ranker_class(name: str) -> tuple[Plugin, type[Ranker]]:
    """A ranker or baseline by name, imported and checked against the contract."""
    from arrbench.ranker import Ranker

    plugin = find(name, "ranker", "baseline")
    cls = plugin.import_class()
    if not issubclass(cls, Ranker):
        raise UsageError(f"ranker {name!r} of {plugin.distribution}: {plugin.target} is no arrbench.Ranker")
    return plugin, cls


def task_class(name: str) -> tuple[Plugin, type[Task]]:
    """A task by name, imported and checked against the contract."""
    from arrbench.task import Task

    plugin = find(name, "task")
    cls = plugin.import_class()
    if not issubclass(cls, Task):
        raise UsageError(f"task {name!r} of {plugin.distribution}: {plugin.target} is no arrbench.Task")
    return plugin, cls
