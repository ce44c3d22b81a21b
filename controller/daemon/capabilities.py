"""What each provider of a group can do besides binding, decided once: asking a runtime Protocol takes microseconds.

A thousand groups are promoted, looked at and drawn into plans at a time, so none of that asks again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from providers import base

if TYPE_CHECKING:
    from providers.base import Provider


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One group's providers by capability, each in the order of the configuration."""

    preparers: tuple[base.Preparer, ...]
    lasting: tuple[base.Lasting, ...]
    announcers: tuple[base.Announcer, ...]
    resetters: tuple[base.Resetter, ...]
    closers: tuple[base.Closer, ...]
    reconciled: tuple[base.Reconciled, ...]
    guarded: tuple[base.Guardable, ...]
    linked: tuple[base.Linked, ...]

    @classmethod
    def of(cls, providers: Iterable[Provider]) -> Self:
        """Ask each of these once."""
        found: dict[str, Any] = {name: tuple(p for p in providers if isinstance(p, kind)) for name, kind in _KINDS}
        return cls(**found)


_KINDS = tuple(
    zip(
        (field.name for field in fields(Capabilities)),
        (
            base.Preparer,
            base.Lasting,
            base.Announcer,
            base.Resetter,
            base.Closer,
            base.Reconciled,
            base.Guardable,
            base.Linked,
        ),
        strict=True,
    )
)
