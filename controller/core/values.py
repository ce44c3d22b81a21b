"""Changes frozen values by copying them: `dataclasses.replace` at less than half its cost. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["replace"]

if TYPE_CHECKING:
    from dataclasses import replace  # the type checker knows the fields of each class
else:

    def replace(value: Any, /, **changes: Any) -> Any:
        """Returns a copy of a frozen dataclass with slots, with these fields changed. Does not call `__init__`."""
        kind = type(value)
        read, writes = _take_apart(kind)
        copy = kind.__new__(kind)
        for write, content in zip(writes, read(value), strict=True):
            write(copy, content)
        for name, content in changes.items():
            object.__setattr__(copy, name, content)
        return copy


@cache
def _take_apart(kind: Any) -> tuple[Callable[[Any], Any], tuple[Callable[[Any, Any], None], ...]]:
    names = tuple(field.name for field in fields(kind))
    read = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)
    return read, tuple(getattr(kind, name).__set__ for name in names)
