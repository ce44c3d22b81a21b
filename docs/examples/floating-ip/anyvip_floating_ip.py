"""VIPs that are floating IPs: a cloud leads each to the server that it is assigned to. The API has three verbs.

GET    /floating-ips/198.51.100.7                 {"server": "web-1"}, or null where it leads nowhere
PUT    /floating-ips/198.51.100.7/servers/web-1   assign it, from wherever it is
DELETE /floating-ips/198.51.100.7/servers/web-1   release it; 409 where it is assigned to another server
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from pydantic import Field

from providers.base import Finding, Level, Place, Placement, ProviderError, Vip
from providers.cloud.calls import CallRefused, Calls, together
from providers.cloud.deadline import Deadline
from providers.cloud.mechanism import Mechanism
from providers.cloud.mover import MovingOptions
from providers.cloud.refusal import Refusal

_PASSING = frozenset({429, 500, 502, 503, 504})
_ANOTHER_S = 409
_PREFLIGHT_SECONDS = 10.0


class FloatingIpOptions(MovingOptions):
    """The configuration keys of `type: floating_ip`. The group's VIPs are the floating IPs, as 198.51.100.7/32."""

    endpoint: str = Field(pattern=r"^https?://[^\s/]+$", description="Where the API answers.")
    server: str = Field(pattern=r"^[a-z0-9-]+$", description="This machine's name in the API.")
    token_file: Path | None = Field(default=None, description="File with the token of the API. Default: none is sent.")


class FloatingIp(Mechanism):
    """Assigns one group's floating IPs to this server (`providers.cloud.mover.Mover`)."""

    Options = FloatingIpOptions
    in_guest = False  # the cloud translates to the server's own address, so the guest needs no other one

    def __init__(self, options: FloatingIpOptions, vips: tuple[Vip, ...], calls: Calls) -> None:
        """Asks for nothing yet."""
        self._options = options
        self._addresses = [str(vip.ip) for vip in vips]
        self._calls = calls

    @classmethod
    def make_calls(cls, options: Any, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]) -> Calls:
        """One thread for each address."""
        return Calls(f"floating-ip-{group}", clock=clock, translate=translate, threads=len(vips))

    @classmethod
    def make_mover(
        cls, options: Any, *, group: str, vips: tuple[Vip, ...], calls: Calls, interfaces: frozenset[str]
    ) -> FloatingIp:
        """As `Mechanism.open` asks for it."""
        return cls(options, vips, calls)

    # --- Mover ---

    async def move(self, until: Deadline) -> None:
        """Assign every address to this server, all at once. Raises ProviderError."""
        await together(self._ask("PUT", self._here(address), until) for address in self._addresses)

    async def leave(self, until: Deadline) -> None:
        """Release what is still ours. Raises ProviderError."""
        await together(self._release(address, until) for address in self._addresses)

    async def look(self, until: Deadline) -> Placement:
        """Ask which server each address leads to. Raises ProviderError."""
        answers = await together(self._ask("GET", address, until) for address in self._addresses)
        servers = [answer["server"] for answer in answers]
        if all(server == self._options.server for server in servers):
            return Placement(Place.HERE)
        place = Place.NOWHERE if all(server is None for server in servers) else Place.ELSEWHERE
        found = zip(self._addresses, servers, strict=True)
        return Placement(place, ", ".join(f"{address} on {server or 'nothing'}" for address, server in found))

    async def preflight(self) -> list[Finding]:
        """Whether the API answers, and knows the addresses."""
        try:
            found = await self.look(self._calls.within(_PREFLIGHT_SECONDS))
        except ProviderError as error:
            return [
                Finding(
                    Level.ERROR, "floating_ip.addresses", "floating IPs", str(error), "correct `endpoint`, or the token"
                )
            ]
        return [
            Finding(Level.OK, "floating_ip.addresses", "floating IPs", f"are known: {found.where or 'all lead here'}")
        ]

    # --- the API ---

    def _here(self, address: str) -> str:
        return f"{address}/servers/{self._options.server}"

    async def _release(self, address: str, until: Deadline) -> None:
        try:
            await self._ask("DELETE", self._here(address), until)
        except CallRefused as refused:
            if not isinstance(refused.error, HTTPError) or refused.error.code != _ANOTHER_S:
                raise

    async def _ask(self, verb: str, path: str, until: Deadline) -> Any:
        """One verb of the API, asked again while it may yet answer, and never after the deadline."""
        return await self._calls.run(f"{verb} {path}", lambda: self._request(verb, path, until.left()), until=until)

    def _request(self, verb: str, path: str, timeout: float) -> Any:
        """In a thread: one request, which takes no longer than `timeout` seconds for each step of it."""
        request = Request(f"{self._options.endpoint}/floating-ips/{path}", method=verb)
        if self._options.token_file is not None:
            request.add_header("Authorization", f"Bearer {self._options.token_file.read_text().strip()}")
        with urlopen(request, timeout=timeout) as response:
            return json.loads(response.read() or b"null")


def translate(error: Exception) -> Refusal | None:
    """What an error of the HTTP client means; None for one that is not the API's."""
    if isinstance(error, HTTPError):
        return Refusal(f"{error.code} {error.reason}", retry=error.code in _PASSING)
    if isinstance(error, OSError | HTTPException | ValueError):
        return Refusal(f"no answer: {error}", retry=True)
    return None
