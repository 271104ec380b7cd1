"""Entry points become rankers, tasks, docIDs. Reading names imports nothing; a broken plugin is named."""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from arrbench import source
from arrbench.errors import ContractError, TrialError, UsageError, one_line
from arrbench.respondent import Respondent

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
IMPORT_S = 60.0  # that an import may take


@dataclass(frozen=True, order=True, slots=True)
class Plugin:
    """One entry point: what a name stands for and which distribution says so."""

    name: str
    kind: Kind
    distribution: str
    version: str
    target: str  # "package.module:Class"

    @property
    def title(self) -> str:
        """How messages name it: `ranker 'bm25' of arrbench 0.1.0`."""
        return f"{self.kind} {self.name!r} of {self.distribution} {self.version}"

    @property
    def foreign(self) -> bool:
        """Whether another distribution than the harness's own provides it."""
        return self.distribution != "arrbench"

    def import_class(self) -> type[object]:
        """The class behind the entry point; UsageError tells why it can't be had.

        A third party's is imported in a process of its own first, for the import may end the process
        or never come back; but not in a process that is one of its own already (`set_apart`).
        """
        if self.foreign and not _apart:
            _import_elsewhere(self)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # where others' output is data
                cls: object = metadata.EntryPoint(self.name, self.target, GROUPS[self.kind]).load()
        except SystemExit as error:
            raise UsageError(f"{self.title} calls sys.exit({error.code!r}) when imported") from error
        except Exception as error:
            raise UsageError(
                f"{self.title} can't be imported from {self.target}: "
                f"{type(error).__name__}: {one_line(error) or 'no message'}"
            ) from error
        if not isinstance(cls, type):
            raise UsageError(f"{self.title}: {self.target} is no class")
        return cls

    def source_hash(self) -> str:
        """SHA-256 over every file of the plugin's package, found without importing it."""
        try:
            return source.of(self.target.partition(":")[0], self.distribution)
        except (ImportError, OSError, ValueError) as error:
            raise UsageError(f"{self.title}: its files can't be read: {one_line(error)}") from error

    def versions(self, libraries: Iterable[str]) -> dict[str, str]:
        """Distribution -> version of what these modules come from, and of what the plugin's own requires.

        The harness's distribution requires what any of its rankers needs: there `libraries` alone counts.
        """
        from arrbench import versions

        required = versions.of_requirements(self.distribution) if self.foreign else {}
        return {**required, **versions.of_libraries(libraries)}

    @contextlib.contextmanager
    def blamed(self, doing: str) -> Iterator[None]:
        """Turn whatever the plugin's code raises into a UsageError that names it and what it did."""
        try:
            yield
        except ContractError as error:
            raise UsageError(f"{self.title}: {error}") from error
        except (UsageError, TrialError):
            raise
        except SystemExit as error:
            raise UsageError(f"{self.title} calls sys.exit({error.code!r}) {doing}") from error
        except Exception as error:
            reason = f"{type(error).__name__}: {one_line(error) or 'no message'}"
            raise UsageError(f"{self.title} raised {reason}, {doing}") from error


def installed(*kinds: Kind) -> list[Plugin]:
    """All plugins of these kinds, by name; one distribution seen twice on the path counts once."""
    return [plugin for plugin in _registered(_path()) if plugin.kind in kinds]


@cache
def _registered(_: tuple[tuple[str, int], ...]) -> list[Plugin]:
    """Every plugin on the path; read once for each state of it, which takes 0.02 s a group."""
    plugins: set[Plugin] = set()
    for kind, group in GROUPS.items():
        for point in metadata.entry_points(group=group):
            distribution = point.dist.name if point.dist else "an unnamed distribution"
            version = point.dist.version if point.dist else "?"
            plugins.add(Plugin(point.name, kind, distribution, version, point.value))
    return sorted(plugins)


def _path() -> tuple[tuple[str, int], ...]:
    """sys.path and when something was last installed in or removed from each of its folders."""
    return tuple((str(p), Path(p).stat().st_mtime_ns if Path(p).exists() else 0) for p in sys.path)


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
    plugin = find(name, "ranker", "baseline")
    return plugin, loaded(plugin)


def task_class(name: str) -> tuple[Plugin, type[Task]]:
    """A task by name, imported and checked against the contract."""
    plugin = find(name, "task")
    return plugin, loaded(plugin)


def loaded(plugin: Plugin) -> Any:
    """The plugin's class, imported and checked against its contract; UsageError says what is wrong."""
    from arrbench import declared
    from arrbench.ranker import Ranker
    from arrbench.task import Task

    cls = plugin.import_class()
    base = {"ranker": Ranker, "baseline": Ranker, "task": Task, "docid": object}[plugin.kind]
    if not issubclass(cls, base):
        raise UsageError(f"{plugin.title}: {plugin.target} is no arrbench.{base.__name__}")
    with plugin.blamed("when its class was read"):
        if base is Ranker:
            declared.check_ranker(cls)
        elif base is Task:
            declared.check_task(cls)
        elif hasattr(cls, "Options"):
            declared.check_options(cls)
    return cls


_apart = False


def set_apart() -> None:
    """Say that this process is one of its own: whatever a plugin does to it harms nothing else."""
    global _apart
    _apart = True


@cache
def _import_elsewhere(plugin: Plugin) -> None:
    asked = Respondent("arrbench.check")
    try:
        asked.ask(plugin.title, asdict(plugin))
    finally:
        asked.close()
