"""No guard: for kernels without the egress hook (before 5.16). The lifetime of addresses is then the only line.

It is whole seconds, ends up to one second late, and a daemon that is frozen between reading the clock and setting it
sets it late by as long. The inequality of the lease therefore asks for a margin above one second.
"""

from __future__ import annotations

from collections.abc import Collection

from providers.base import GuardState, Plan


class Unguarded:
    """A `providers.base.Guard` that keeps nothing shut. An address that is not bound is what is shut here."""

    made = False

    def install(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002
        """Nothing to install, so nothing is missing."""
        return ()

    def remove(self) -> None:
        """Nothing to remove."""

    async def start(self, slot: int, seconds: float) -> None:
        """No timer: the addresses have their own."""

    async def arm(self, slot: int, groups: Collection[str]) -> None:
        """Nothing stands in the way."""

    async def shut(self, groups: Collection[str]) -> None:
        """The addresses are unbound next."""

    async def inspect(self) -> GuardState:
        """Nothing is known to be open, so nothing is adopted as open."""
        return GuardState(frozenset(), None)
