"""Limits what a record may hold. What is beyond a limit is refused where it is read, and harms nothing else. Pure.

The limits are far above what anyvip writes. A number that has reached its limit makes the next write of its record
unreadable, so it spoils that record only.
"""

from __future__ import annotations

import json
from math import isfinite
from reprlib import Repr
from typing import Any, Final

LARGEST_RECORD: Final = 1024 * 1024  # bytes; etcd and Kubernetes take about as much
LONGEST_TEXT: Final = 1024  # characters
MOST_ENTRIES: Final = 4096  # in one object or list
DEEPEST: Final = 8  # objects and lists in one another
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**63 - 1
_MOST_DIGITS: Final = 20  # of a 64-bit integer, with its sign

_shown = Repr()
_shown.maxlevel, _shown.maxdict, _shown.maxlist, _shown.maxstring, _shown.maxother = 2, 2, 2, 60, 60


class HugeInteger:
    """An integer literal that is too long for 64 bits. It is not converted: Python refuses 4,301 digits or more."""

    def __init__(self, digits: int) -> None:
        self._digits = digits

    def __repr__(self) -> str:
        return f"an integer of {self._digits} digits"


def parse(value: bytes) -> Any:
    """Returns the JSON value, in which `HugeInteger` stands for what is too long. Raises ValueError, RecursionError."""
    return json.loads(value, parse_int=_parse_integer)


def _parse_integer(text: str) -> int | HugeInteger:
    return int(text) if len(text) <= _MOST_DIGITS else HugeInteger(len(text.lstrip("-")))


def show(value: object) -> str:
    """Returns the value for a message: on one line, shortened, and without an error whatever it is."""
    return _shown.repr(value)


def show_name(text: str) -> str:
    """Returns the name of a field or key for a message: unchanged if it is plain, else quoted and shortened."""
    plain = text.isascii() and text.isprintable() and " " not in text and len(text) <= _shown.maxstring
    return text if plain and text else show(text)


def find_problem(value: object) -> str:
    """Returns why a number, a text or a container is beyond its limit, and what is allowed; empty if it is not."""
    match value:
        case str() if not (len(value) <= LONGEST_TEXT and (value.isascii() or _is_text(value))):
            if len(value) > LONGEST_TEXT:
                return f"{len(value)} characters, allowed: at most {LONGEST_TEXT}"
            return f"{show(value)} is not text: it has half of a surrogate pair"
        case int() if not _SMALLEST <= value <= _LARGEST:
            return f"{value}, allowed: {_SMALLEST} to {_LARGEST}"
        case float() if not isfinite(value):
            return f"{value!r} is not a number"
        case dict() | list() if len(value) > MOST_ENTRIES:
            return f"{len(value)} entries, allowed: at most {MOST_ENTRIES}"
        case HugeInteger():
            return f"{value!r}, allowed: {_SMALLEST} to {_LARGEST}"
        case _:
            return ""


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def too_deep(value: object, levels: int = DEEPEST) -> bool:
    """Returns whether objects and lists are inside one another in more than this many levels."""
    inside: list[object] = [value]
    for _ in range(levels):
        inside = [each for outer in inside if isinstance(outer, dict | list) for each in _list_inside(outer)]
        if not inside:
            return False
    return any(isinstance(each, dict | list) for each in inside)


def _list_inside(outer: dict[str, Any] | list[Any]) -> list[Any]:
    return list(outer.values()) if isinstance(outer, dict) else outer
