"""Stands for a group's providers until they can be opened: the group is known, and this node is not fit for it."""

from __future__ import annotations

from providers.base import Finding, Grant, Placement, ProviderError


class Awaited:
    """A provider that binds nothing, because this host lacks what it needs (`providers.base.NotYet`)."""

    def __init__(self, why: str) -> None:
        """`why`: what is missing."""
        self._why = why

    async def bind(self, grant: Grant) -> None:
        """Raise ProviderError."""
        raise ProviderError(f"group {grant.group}: {self._why}")

    async def unbind(self) -> None:
        """Do nothing: nothing is bound."""

    async def inspect(self) -> Placement:
        """Raise ProviderError."""
        raise ProviderError(self._why)

    async def preflight(self) -> list[Finding]:
        """Return nothing: `anyvip doctor` opens the providers itself."""
        return []
