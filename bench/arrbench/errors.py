"""The errors that reach the command line as one clear line, and texts made fit to be shown."""

from __future__ import annotations

import re

# Control characters that move a terminal's cursor, and halves of UTF-16 pairs, which UTF-8 can't carry.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_SHOWN = 60  # characters of a value that a message shows


def readable(value: object) -> str:
    """A text, or what `str` gives, that every file and terminal can carry: unfit characters are escaped."""
    return _UNFIT.sub(lambda unfit: unfit[0].encode("unicode_escape").decode("ascii"), _text(value))


def one_line(message: object) -> str:
    """A message or an error's text on one line."""
    return readable(" ".join(_text(message).split()))


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"{type(value).__name__} whose text can't be had ({type(error).__name__})"


def shown(value: object) -> str:
    """A value as a message shows it: at most 60 characters, on one line."""
    try:
        text = one_line(repr(value))
    except Exception:  # a repr that raises, a number of more digits than Python prints
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 2]} …"


class UsageError(Exception):
    """The user's mistake: the message names the value, the place and what would be right.

    The command line prints it as one line and exits with status 2.
    """


class TrialError(Exception):
    """A trial, a plugin or a record that did not do what the contract asks; exit status 1."""


class ContractError(TrialError):
    """A plugin said something that the contract does not allow: the message names field and value."""
