"""What workers say, as it comes in: each connection is read by a thread of its own, each message checked.

So a worker that breaks off in the middle of a message holds up nobody, and one that sends anything
else than a message is heard of as that.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from typing import Any

from arrbench import protocol
from arrbench.errors import ContractError
from arrbench.inputs import Inputs

_CLOSING_S = 10.0
_UNHEARD = 10_000  # messages that wait to be heard, before workers wait to be read


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of the worker of a job; None when it says no more, with what it did wrong, if anything."""

    job: str
    connection: Connection
    message: dict[str, Any] | None
    fault: str | None = None


class Conversations:
    """Listens for workers that show the key, and to all that they say.

    `welcome` gives what the worker of a job is sent first, nothing for one that is not expected.
    """

    def __init__(self, key: bytes, welcome: Callable[[str], Iterator[bytes | Inputs]]) -> None:
        self._key = key
        self._welcome = welcome
        self._listener = _listener()
        self._heard: queue.Queue[Heard] = queue.Queue(_UNHEARD)
        self._open: set[Connection] = set()
        self._closed = False
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def address(self) -> str:
        return str(self._listener.address)

    def heard(self, timeout_s: float) -> Iterator[Heard]:
        """All that has been said by now; waits so long for a first message."""
        with contextlib.suppress(queue.Empty):
            yield self._heard.get(timeout=timeout_s)
            while True:
                yield self._heard.get_nowait()

    def close(self) -> None:
        """Hear nobody any more; ends the thread that waits for workers."""
        self._closed = True
        with contextlib.suppress(OSError):  # a call wakes the thread, which a closed socket would not
            Client(self._listener.address).close()
        self._accepting.join(_CLOSING_S)
        self._listener.close()
        for connection in list(self._open):
            connection.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            except Exception:  # a worker that died while it connected
                continue
            self._open.add(connection)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: Connection) -> None:
        """Ask for the key here, not where all connect: one that never answers keeps nobody waiting."""
        try:
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            self._read(connection)
        except (AuthenticationError, ContractError, EOFError, OSError):  # a stranger
            pass
        finally:
            self._open.discard(connection)
            connection.close()

    def _read(self, connection: Connection) -> None:
        hello = _next(connection)
        if hello["event"] != "hello":
            return
        job: str = hello["job"]
        sent = list(self._welcome(job))
        if not sent:
            return
        self._heard.put(Heard(job, connection, hello))
        with contextlib.suppress(OSError):  # it ended; what it said before is still to be read
            for content in sent:
                if isinstance(content, bytes):
                    connection.send_bytes(content)
                else:
                    content.send(connection)
        fault = None
        try:
            while True:
                self._heard.put(Heard(job, connection, _next(connection)))
        except ContractError as error:
            fault = str(error)
        except (EOFError, OSError):  # it has closed its end, or died
            pass
        self._heard.put(Heard(job, connection, None, fault))


def _next(connection: Connection) -> dict[str, Any]:
    try:
        raw = connection.recv_bytes(protocol.MESSAGE_BYTES)
    except OSError as error:
        if error.errno is None:  # multiprocessing's own: what should be a length is far too long for one
            raise ContractError(
                "its connection to the harness carried something that is no message"
            ) from None
        raise
    return protocol.message(raw)


def _listener() -> Listener:
    try:
        return Listener()
    except OSError:  # $TMPDIR may lie too deep for a socket's path, of 100 characters or so
        return Listener(f"/tmp/arrbench-{secrets.token_hex(8)}")
