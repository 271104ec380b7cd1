"""What plugins hand over as plain data: numbers, texts and facts; anything else is refused by its name.

Numbers may be numpy's or torch's: whatever gives a Python number with `.item()` is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeAlias

from arrbench.errors import ContractError, readable, shown

Fact: TypeAlias = bool | int | float | str
LARGEST = 2**63 - 1


def whole(what: str, value: object) -> int:
    """A whole number from 0 to 2^63 - 1, else ContractError naming `what`."""
    number = _number(value)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if not isinstance(number, int) or not 0 <= number <= LARGEST:
        raise ContractError(f"{what} is {shown(value)}; it must be a whole number from 0 to 2^63 - 1")
    return number


def figure(what: str, value: object) -> int | float:
    """A number that may be NaN or infinite, as a score or a loss may; ContractError naming `what`."""
    number = _number(value)
    if number is None:
        raise ContractError(f"{what} is {shown(value)}; it must be a number")
    if isinstance(number, int) and abs(number) > LARGEST:
        raise ContractError(f"{what} is {shown(value)}; it must be a number below 2^63")
    return number


def finite(what: str, value: object) -> int | float:
    """A finite number, else ContractError naming `what`."""
    number = figure(what, value)
    if not math.isfinite(number):
        raise ContractError(f"{what} is {number}; it must be a finite number")
    return number


def amount(what: str, value: object) -> int | float:
    """A finite number, 0 or more, else ContractError naming `what`."""
    number = finite(what, value)
    if number < 0:
        raise ContractError(f"{what} is {number}; it must be 0 or more")
    return number


def fact(what: str, value: object) -> Fact:
    """A yes or no, a finite number or a text, else ContractError naming `what`."""
    held = _scalar(value)
    if isinstance(held, str):
        return readable(held)
    if isinstance(held, bool):
        return held
    if _number(held) is None:
        raise ContractError(f"{what} is {shown(value)}; it must be a number, a text, True or False")
    return finite(what, held)


def yes_or_no(what: str, value: object) -> bool:
    """True or False, else ContractError naming `what`."""
    held = _scalar(value)
    if not isinstance(held, bool):
        raise ContractError(f"{what} is {shown(value)}; it must be True or False")
    return held


def facts(what: str, value: object) -> dict[str, Fact]:
    """Facts by name, else ContractError naming `what` and the entry."""
    if not isinstance(value, Mapping):
        raise ContractError(f"{what} is {shown(value)}; it must be a mapping of names to facts")
    return {text(f"a name in {what}", name): fact(f"{what}[{shown(name)}]", v) for name, v in value.items()}


def text(what: str, value: object) -> str:
    """A text that every file can carry, else ContractError naming `what`."""
    if not isinstance(value, str):
        raise ContractError(f"{what} is {shown(value)}; it must be a text (str)")
    return readable(value)


def identifier(what: str, value: object) -> str:
    """A document's id: a text, or a whole number as one; else ContractError naming `what`."""
    number = _number(value)
    return str(number) if isinstance(number, int) else text(what, value)


def texts(what: str, value: object) -> tuple[str, ...]:
    """A tuple or list of texts, else ContractError naming `what`."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ContractError(f"{what} is {shown(value)}; it must be a tuple of texts (str)")
    return tuple(text(f"{what}[{i}]", entry) for i, entry in enumerate(value))


def text_by_name(what: str, value: object) -> dict[str, str]:
    """Texts by name, else ContractError naming `what` and the entry."""
    if not isinstance(value, Mapping):
        raise ContractError(f"{what} is {shown(value)}; it must be a mapping of names to texts (str)")
    return {text(f"a name in {what}", name): text(f"{what}[{shown(name)}]", v) for name, v in value.items()}


def readable_json(value: Any) -> Any:
    """JSON's values with every text in them, names included, made fit for every file."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {readable(name): readable_json(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [readable_json(entry) for entry in value]
    return value


def _number(value: object) -> int | float | None:
    """A Python number for any library's; None for what is none, True and False included."""
    held = _scalar(value)
    if isinstance(held, bool) or not isinstance(held, Real):
        return None
    try:
        return int(held) if isinstance(held, Integral) else float(held)
    except OverflowError:  # a fraction beyond what a float holds
        return None


def _scalar(value: object) -> object:
    """A Python number for numpy's and torch's; anything else as it is."""
    item = getattr(value, "item", None)
    if isinstance(value, bool | int | float | str) or not callable(item):
        return value
    try:
        return item()
    except Exception:  # an array of several numbers
        return value
