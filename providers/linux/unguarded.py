"""The absent guard, for kernels without the egress hook (before 5.16). Only the lifetime of addresses protects then.

A lifetime is in whole seconds and ends up to one second late. A daemon that is frozen between reading the clock and
setting the lifetime sets it late by the length of the freeze. The lease's inequality therefore asks for a margin
above one second.
"""

from __future__ import annotations

from collections.abc import Collection

from providers.base import GuardState, Plan


class Unguarded:
    """A `providers.base.Guard` that keeps nothing shut. A group counts as shut when its addresses are not bound."""

    made = False

    def install(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002
        """Do nothing. Returns no missing interface, because nothing is installed."""
        return ()

    def remove(self) -> None:
        """Do nothing: there is nothing to remove."""

    async def start(self, slot: int, seconds: float) -> None:
        """Do nothing: each address has a lifetime of its own."""

    async def arm(self, slot: int, groups: Collection[str]) -> None:
        """Do nothing: no rule stops the traffic."""

    async def shut(self, groups: Collection[str]) -> None:
        """Do nothing: the addresses are unbound next."""

    async def inspect(self) -> GuardState:
        """Return no open group, so that none is adopted as open."""
        return GuardState(frozenset(), None)
