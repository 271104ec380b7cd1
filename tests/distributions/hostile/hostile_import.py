"""Ends, breaks or never finishes the process that imports it, as $HOSTILE_IMPORT says."""

import ctypes
import os
import sys
import time

from trouble import Counter, Toy

match os.environ.get("HOSTILE_IMPORT", ""):
    case "exit":
        sys.exit(0)
    case "os-exit":
        os._exit(0)
    case "segfault":
        ctypes.string_at(0)
    case "hang":
        time.sleep(3600)
    case "interrupt":
        raise KeyboardInterrupt
    case "print":
        print("a word on stdout")
        os.write(1, b"and one past Python's own\n")


class OnImport(Counter):
    """Ranks, where it could be imported."""


class OnImportTask(Toy):
    """Is a task, where it could be imported."""
