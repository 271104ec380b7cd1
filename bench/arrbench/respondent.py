"""A process of its own that answers requests: what answering imports, breaks or never ends stays there.

Parent and child speak JSON, a line each. The child says what it is doing, so that one that dies or
takes too long is told with its cause, and the next request goes to a new child.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any, NoReturn

from arrbench import exit_status
from arrbench.errors import TrialError, UsageError, one_line
from arrbench.separately import python

Doing = Callable[[str, float], None]  # what is done next, and the seconds that it may take
TIMEOUT = "ARRBENCH_PLUGIN_TIMEOUT"  # the environment variable: seconds instead of those that are asked for
START_S = 60.0
_POLL_S = 0.1


class Respondent:
    """The parent's side: asks the module's process, which starts with the first request."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def ask(self, who: str, request: object) -> Any:
        """The answer to a request, JSON both.

        Raises UsageError, as the child raised it, or naming `who` and what it was doing when its
        process ended or took too long.
        """
        try:
            if self._process is not None:
                with contextlib.suppress(_DiedError):  # of what another plugin did to it, as may be
                    return self._answer(who, request)
            return self._answer(who, request)
        except _DiedError as error:
            raise UsageError(str(error)) from None
        except UsageError:
            raise
        except BaseException:  # an interrupt: nobody is left to hear the answer
            self.close()
            raise

    def close(self) -> None:
        """End the child, if there is one."""
        if self._process is not None:
            with contextlib.suppress(OSError):  # its group ends with it: what a plugin started
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            self._process = None

    def _answer(self, who: str, request: object) -> Any:
        process = self._started()
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it ended between two requests, which the next line says
            # The child finds the modules that this process would, changes to its path included.
            path = [str(p) for p in sys.path]
            process.stdin.write(json.dumps({"path": path, "request": request}).encode() + b"\n")
            process.stdin.flush()
        doing, limit = "when its process started", max(START_S, _seconds(START_S))
        while True:
            try:
                line = self._line(process, limit)
            except TimeoutError:
                self.close()
                raise UsageError(f"{who} did not finish in {limit:g} s {doing} (limit: ${TIMEOUT})") from None
            if line is None:
                self._fail(f"{who} ended the process that asked it: {self._status()}, {doing}")
            match self._read(who, line):
                case {"doing": str(doing), "limit_s": int() | float() as limit}:
                    limit = _seconds(limit)
                case {"answer": answer}:
                    return answer
                case {"fault": str(fault)}:
                    raise UsageError(fault)
                case {"raised": str(error)}:
                    raise UsageError(f"{who} raised {error}, {doing}")
                case _:
                    self._fail(f"{who} wrote into its process's answers, {doing}")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._lines = queue.SimpleQueue()
            self._process = subprocess.Popen(
                python("-m", self._module),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt at the terminal reaches the parent alone
            )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            reading = (self._process.stdout, self._lines)
            threading.Thread(target=_read_lines, args=reading, daemon=True).start()
        return self._process

    def _line(self, process: subprocess.Popen[bytes], limit_s: float) -> bytes | None:
        """What the child says next; None where it has ended, whoever else may hold its output open."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                return self._lines.get(timeout=_POLL_S)
            if process.poll() is not None and self._lines.empty():
                return None
        raise TimeoutError

    def _status(self) -> str:
        assert self._process is not None
        return exit_status.in_words(self._process.wait())

    def _read(self, who: str, line: bytes) -> Any:
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            return self._fail(f"{who} wrote into its process's answers")

    def _fail(self, message: str) -> NoReturn:
        self.close()
        raise _DiedError(message)


class _DiedError(Exception):
    """The child ended, or no longer says what can be understood."""


def _seconds(usual: float) -> float:
    given = os.environ.get(TIMEOUT)
    try:
        seconds = usual if given is None else float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise UsageError(f"{TIMEOUT}={given} is no number of seconds above 0")
    return seconds


def _read_lines(pipe: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    with contextlib.suppress(ValueError, OSError):  # closed meanwhile
        for line in pipe:
            lines.put(line)
    lines.put(None)


def respond(handle: Callable[[Any, Doing], Any]) -> None:
    """The child's side: answer each request with what `handle` returns for it, until there are no more.

    What is printed goes to the standard error output, and nothing can be read from the standard input.
    """
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull) as nothing:  # noqa: PTH123 - a descriptor is wanted
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)

    def say(line: dict[str, Any]) -> None:
        answers.write(json.dumps(line).encode() + b"\n")
        answers.flush()

    def doing(what: str, limit_s: float) -> None:
        say({"doing": what, "limit_s": limit_s})

    for line in requests:
        try:
            asked = json.loads(line)
            if asked["path"] != sys.path:
                sys.path[:] = asked["path"]
                importlib.invalidate_caches()
            say({"answer": handle(asked["request"], doing)})
        except (UsageError, TrialError) as error:
            say({"fault": str(error)})
        except BaseException as error:
            say({"raised": f"{type(error).__name__}: {one_line(error) or 'no message'}"})
    os._exit(0)  # whatever threads a plugin has left running
