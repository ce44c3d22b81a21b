"""VIPs that Google's passthrough load balancer forwards to every backend: local only on the active node.

Nothing is moved: the load balancer follows the health endpoint. Only `doctor` imports the compute SDK.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Self

from pydantic import Field

from providers.base import Finding, Grant, Level, ProviderError, Vip
from providers.cloud import load_balancer
from providers.cloud.calls import Calls
from providers.cloud.load_balancer import OnTheNode
from providers.gcp.client import ComputeOptions
from providers.gcp.guest_routes import GuestRoutes


class LoadBalancerOptions(ComputeOptions):
    """The configuration keys of `type: gcp.load_balancer`."""

    health_port: int = Field(
        default=9010, ge=1, le=65535, description="The port that is probed; `doctor` checks the firewalls for it."
    )


class LoadBalancer(OnTheNode):
    """The VIPs on `lo` while active. A standby does not even have the guest agent's local routes to them."""

    Options = LoadBalancerOptions  # type: ignore[assignment]  # the registry passes each class its own options

    def __init__(
        self, options: LoadBalancerOptions, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]
    ) -> None:
        """`clock` reads CLOCK_BOOTTIME in seconds. Raises ProviderError."""
        super().__init__(load_balancer.LoadBalancerOptions(local=True), group, vips, clock)
        self._asked = options
        self._boottime = clock
        self._routes = GuestRoutes(vips)
        self._listening: asyncio.AbstractEventLoop | None = None

    @classmethod
    def open(  # type: ignore[override]  # likewise
        cls, options: LoadBalancerOptions, *, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]
    ) -> Self:
        """Make a provider for the registry. Raises ProviderError."""
        return cls(options, group, vips, clock)

    async def close(self) -> None:
        """Stop listening and release everything. The addresses stay, and end with their lifetime."""
        if self._listening is not None:
            self._listening.remove_reader(self._routes.news.fileno())
        self._routes.close()
        await super().close()

    async def bind(self, grant: Grant) -> None:
        """Put the agent's routes back, and the addresses on `lo`."""
        self._routes.serve()
        await super().bind(grant)

    async def unbind(self) -> None:
        """Remove the agent's routes and the addresses, and from now on routes that the agent adds again."""
        self._listen()
        try:
            self._routes.sweep()
        finally:
            await super().unbind()

    async def preflight(self) -> list[Finding]:
        """Return what would keep the VIPs from working here, and health probes from coming in."""
        here = await super().preflight()
        return [*here, *await self._probes()]

    def _listen(self) -> None:
        if self._listening is None:
            self._listening = asyncio.get_running_loop()
            self._listening.add_reader(self._routes.news.fileno(), self._routes.hear)

    async def _probes(self) -> list[Finding]:
        try:
            looking = import_module("providers.gcp.preflight")
            compute = import_module("providers.gcp.compute")
        except ImportError as error:
            return [
                Finding(Level.WARNING, "gcp.firewall", "firewall", f"not checked: {error}", "pip install 'anyvip[gcp]'")
            ]
        calls = Calls("gcp-doctor", clock=self._boottime, translate=compute.translate)
        try:
            asking = compute.Compute(self._asked, calls)
        except ProviderError as error:
            return [Finding(Level.ERROR, "gcp.identity", "identity", str(error), "correct `credentials_file`")]
        try:
            found: list[Finding] = await looking.backend(asking, self._asked, self._asked.health_port)
            return found
        finally:
            calls.close()
            with suppress(OSError):
                asking.close()
