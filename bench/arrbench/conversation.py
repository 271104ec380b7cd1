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
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from arrbench import protocol
from arrbench.errors import ContractError

_WAKING_S = 10.0
_UNHEARD = 10_000  # messages that wait to be heard, before workers wait to be read


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of the worker of a job; None when it says no more, with what it did wrong, if anything."""

    job: str
    connection: Connection
    message: dict[str, Any] | None
    fault: str | None = None


class Conversations:
    """Listens for workers that show the key, and to all that they say."""

    def __init__(self, key: bytes, welcome: Callable[[str, Connection], None]) -> None:
        """`welcome` sends the worker of a job what it needs first; KeyError for one that isn't expected."""
        self._listener = _listener(key)
        self._welcome = welcome
        self._heard: queue.Queue[Heard] = queue.Queue(_UNHEARD)
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
        """Let no more workers connect, and end the thread that waits for them."""
        self._closed = True
        with contextlib.suppress(OSError):  # a call wakes the thread, which a closed socket would not
            Client(self._listener.address).close()
        self._accepting.join(_WAKING_S)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            except Exception:  # a worker that died while it connected, a stranger without the key
                continue
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: Connection) -> None:
        try:
            hello = _next(connection)
            job: str = hello["job"]
            self._heard.put(Heard(job, connection, hello))
            self._welcome(job, connection)
        except (ContractError, EOFError, OSError, KeyError):
            connection.close()
            return
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


def _listener(key: bytes) -> Listener:
    try:
        return Listener(authkey=key)
    except OSError:  # $TMPDIR may lie too deep for a socket's path, of 100 characters or so
        return Listener(f"/tmp/arrbench-{secrets.token_hex(8)}", authkey=key)
