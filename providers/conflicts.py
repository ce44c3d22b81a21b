"""Does somebody else answer for a VIP? Asked when the VIP comes here; the answer is reported, never waited for.

Nobody should: a former owner's guard shut before this node could take the group. So whoever answers is a machine
outside the cluster, or one without a guard (RFC 5227 section 2.1; for IPv6 RFC 4862 section 5.4).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from functools import partial
from typing import Final

from providers import arp, ndp
from providers.announcing import IPAddress, claim, probes
from providers.base import Finding, Level, ProviderError
from providers.bpf import LOAD_BYTE, LOAD_HALF, Instruction, one_of
from providers.rtnetlink import Link
from providers.wire import Wire

_log = logging.getLogger(__name__)

_LISTEN_SECONDS: Final = 2.0  # RFC 5227's ANNOUNCE_WAIT
_SLICE: Final = 50  # frames between two turns of the event loop: under a millisecond
_ONLY_ARP: Final[list[Instruction]] = one_of(LOAD_HALF, 12, [arp.ETHERTYPE])
_ONLY_ADVERTISEMENTS: Final[list[Instruction]] = one_of(LOAD_BYTE, 54, [ndp.ADVERTISEMENT])


class Conflicts:
    """Asks the LAN about addresses, and keeps what was found until it asks again."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._found: dict[tuple[IPAddress, bytes], str] = {}
        self._asking: asyncio.Task[None] | None = None

    @property
    def found(self) -> tuple[Finding, ...]:
        """Who else answered for a VIP, since it last came here."""
        return tuple(_finding(address, mac, interface) for (address, mac), interface in self._found.items())

    def ask(self, wanted: Iterable[tuple[Link, Collection[IPAddress]]], own: frozenset[bytes]) -> None:
        """Ask now and listen for some seconds, in the background. `own`: this host's MACs, which are no conflict."""
        self.stop()
        self._found.clear()
        self._asking = asyncio.create_task(self._ask(list(wanted), own), name=f"conflicts of {self._group}")

    def stop(self) -> None:
        """Ask and listen no longer."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _ask(self, wanted: list[tuple[Link, Collection[IPAddress]]], own: frozenset[bytes]) -> None:
        try:
            async with asyncio.timeout(_LISTEN_SECONDS), asyncio.TaskGroup() as tasks:
                for link, addresses in wanted:
                    tasks.create_task(self._ask_on(link, frozenset(addresses), own))
        except TimeoutError:
            return

    async def _ask_on(self, link: Link, addresses: frozenset[IPAddress], own: frozenset[bytes]) -> None:
        loop = asyncio.get_running_loop()
        try:
            with (
                Wire(link.name) as asking,
                Wire(link.name, arp.ETHERTYPE, _ONLY_ARP) as four,
                Wire(link.name, ndp.ETHERTYPE, _ONLY_ADVERTISEMENTS) as six,
            ):
                for wire in (four, six):
                    loop.add_reader(wire.fileno(), partial(self._hear, wire, link.name, addresses, own))
                try:
                    await _send(asking, probes(addresses, link.mac or b""))
                    await asyncio.sleep(_LISTEN_SECONDS)
                finally:
                    for wire in (four, six):
                        loop.remove_reader(wire.fileno())
        except ProviderError as error:
            _log.warning("group %s: cannot look for address conflicts: %s", self._group, error)

    def _hear(self, wire: Wire, interface: str, addresses: frozenset[IPAddress], own: frozenset[bytes]) -> None:
        try:
            frames = wire.received()
        except ProviderError:  # the link went down: nobody answers on it
            return
        for claimed in map(claim, frames):
            if claimed is not None and claimed[0] in addresses and claimed[1] not in own and claimed not in self._found:
                self._found[claimed] = interface
                _log.error("group %s: %s", self._group, _finding(*claimed, interface).message)


async def _send(wire: Wire, frames: list[bytes]) -> None:
    for start in range(0, len(frames), _SLICE):
        wire.send(frames[start : start + _SLICE])
        await asyncio.sleep(0)


def _finding(address: IPAddress, mac: bytes, interface: str) -> Finding:
    return Finding(
        Level.ERROR,
        f"{address}",
        f"{mac.hex(':')} on {interface} answers for {address}, which this node serves",
        "find that machine and take the address off it: clients reach either",
    )
