"""Finds out once which optional protocols the providers of a group implement.

An isinstance check against a runtime Protocol takes microseconds. Promotions, reconciling and the guard's plan can
concern a thousand groups at a time, so they use the stored result.
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

    lasting: tuple[base.Lasting, ...]
    announcers: tuple[base.Announcer, ...]
    resetters: tuple[base.Resetter, ...]
    closers: tuple[base.Closer, ...]
    claimers: tuple[base.Claimer, ...]
    reconciled: tuple[base.Reconciled, ...]
    guarded: tuple[base.Guardable, ...]
    linked: tuple[base.Linked, ...]
    adaptable: tuple[base.Adaptable, ...]

    @classmethod
    def of(cls, providers: Iterable[Provider]) -> Self:
        """Check each provider against each protocol."""
        found: dict[str, Any] = {name: tuple(p for p in providers if isinstance(p, kind)) for name, kind in _KINDS}
        return cls(**found)


_KINDS = tuple(
    zip(
        (field.name for field in fields(Capabilities)),
        (
            base.Lasting,
            base.Announcer,
            base.Resetter,
            base.Closer,
            base.Claimer,
            base.Reconciled,
            base.Guardable,
            base.Linked,
            base.Adaptable,
        ),
        strict=True,
    )
)
