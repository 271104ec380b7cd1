"""Versions of installed distributions, from their metadata: nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


def of_libraries(modules: Iterable[str]) -> dict[str, str]:
    """Name -> version of the distributions that provide these modules, and of what those require.

    A requirement counts where it is installed and needs no extra. A module that no distribution
    provides (Python's own, a loose file) has no version and is left out.
    """
    tops = frozenset(module.partition(".")[0] for module in modules)
    providers = {name for names in _providers(tops).values() for name in names}
    return _versions(providers | {r for name in providers for r in _requirements(name)})


def of_requirements(distribution: str) -> dict[str, str]:
    """Name -> version of what a distribution requires without extras, as far as it is installed."""
    return _versions(_requirements(distribution))


def installed(distribution: str) -> str | None:
    """The version of a distribution, None where it is not installed or its metadata hold none."""
    try:
        return metadata.version(distribution)
    except (metadata.PackageNotFoundError, KeyError):
        return None


def _versions(distributions: Iterable[str]) -> dict[str, str]:
    canonical = sorted({str(canonicalize_name(name)) for name in distributions})
    return {name: version for name in canonical if (version := installed(name))}


@cache
def _requirements(distribution: str) -> frozenset[str]:
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return frozenset()
    return frozenset(_without_extras(lines))


def _without_extras(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:  # of an old distribution, whose own version counts all the same
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


@cache
def _providers(modules: frozenset[str]) -> Mapping[str, frozenset[str]]:
    """Top-level module -> names of the distributions that install it.

    As importlib.metadata.packages_distributions, which takes 0.2 s and more for it parses every
    distribution's list of files: here a distribution of the module's own name is believed, and for
    the others the lists are searched as text.
    """
    providers = {m: {m} for m in modules if installed(m)}
    sought = {m: _installs(m) for m in modules - providers.keys()}
    if sought:
        for distribution in metadata.distributions():
            listed = distribution.read_text("top_level.txt")
            files = None if listed is not None else distribution.read_text("RECORD") or ""
            for module, installs in sought.items():
                if module in listed.split() if listed is not None else installs.search(files or ""):
                    providers.setdefault(module, set()).add(distribution.name)
    return {module: frozenset(names) for module, names in providers.items()}


def _installs(module: str) -> re.Pattern[str]:
    """A line of a RECORD that installs the module: its folder, its file, its compiled file."""
    return re.compile(rf"^{re.escape(module)}(/|\.py,|\.[^/,\n]*(so|pyd),)", re.MULTILINE)
