"""Where pip looks for packages and how it gets there, by its own configuration files and variables."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from arrbench.separately import python

PIP_SECONDS = 60
TIMEOUT_S = 15.0  # pip's own default
_SECTIONS = ("global", "download", ":env:")  # in pip's order: a later one has the last word
_TRUE = ("y", "yes", "t", "true", "on", "1")


class NoPipError(Exception):
    """pip can't be asked for its configuration, or refuses it."""


@dataclass(frozen=True, slots=True)
class PipSettings:
    """What `pip download` would use. `index_url` None is the public index; `timeout_s` is in seconds."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    no_index: bool = False
    find_links: tuple[str, ...] = ()  # URLs, and those of the named folders and files that are there
    trusted_hosts: tuple[str, ...] = ()
    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = None
    timeout_s: float = TIMEOUT_S


def read_pip_settings() -> PipSettings:
    """The settings of this Python's pip. Raises NoPipError where it can't be asked."""
    command = python("-m", "pip", "config", "list", "--disable-pip-version-check")
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=PIP_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise NoPipError(f"`pip config list` took more than {PIP_SECONDS} s") from None
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise NoPipError(f"pip said {said[-1]!r}" if said else f"`pip config list` gave {done.returncode}")
    return as_settings(parse_config(done.stdout))


def parse_config(listed: str) -> dict[str, str]:
    """What `pip config list` prints (section.key='value', a line each) -> the values that count."""
    sections: dict[str, dict[str, str]] = {name: {} for name in _SECTIONS}
    for line in listed.splitlines():
        name, equals, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if equals and section in sections:
            sections[section][key] = str(ast.literal_eval(value))
    return {key: value for name in _SECTIONS for key, value in sections[name].items()}


def as_settings(values: Mapping[str, str]) -> PipSettings:
    """The settings among the values, by pip's names of them, which pip has checked."""
    return PipSettings(
        index_url=values.get("index-url") or None,
        extra_index_urls=tuple(values.get("extra-index-url", "").split()),
        no_index=values.get("no-index", "").lower() in _TRUE,
        find_links=_there(values.get("find-links", "").split()),
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        cert=values.get("cert") or None,
        client_cert=values.get("client-cert") or None,
        proxy=values.get("proxy") or None,
        timeout_s=float(values.get("timeout") or values.get("default-timeout") or TIMEOUT_S),
    )


def _there(places: list[str]) -> tuple[str, ...]:
    """pip passes over a folder that is not there, too."""
    expanded = [place if "://" in place else str(Path(place).expanduser()) for place in places]
    return tuple(place for place in expanded if "://" in place or Path(place).exists())
