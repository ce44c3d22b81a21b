"""Detection of other machines that answer for a VIP. It starts when the VIP comes here, and nothing waits for it.

No machine should answer: a former owner's guard shut before this node could take the group. So an answer comes from a
machine outside the cluster, or from one without a guard (RFC 5227 section 2.1; for IPv6 RFC 4862 section 5.4).
"""

from __future__ import annotations

import logging
import selectors
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from providers.baremetal import arp, ndp
from providers.baremetal.announcing import IPAddress, claim, probes
from providers.base import Finding, Level, ProviderError, Vip
from providers.linux.bpf import LOAD_BYTE, LOAD_HALF, Instruction, one_of
from providers.linux.packet_socket import PacketSocket
from providers.linux.rtnetlink import Link

_log = logging.getLogger(__name__)

_LISTEN_SECONDS: Final = 2.0  # RFC 5227's ANNOUNCE_WAIT
_STOP_SECONDS: Final = 0.1  # how long the thread can take to notice that it must stop
_ONLY_ARP: Final[list[Instruction]] = one_of(LOAD_HALF, 12, [arp.ETHERTYPE])
_ONLY_ADVERTISEMENTS: Final[list[Instruction]] = one_of(LOAD_BYTE, 54, [ndp.ADVERTISEMENT])


class Conflicts:
    """Asks the LAN about VIPs, and keeps the findings until it asks again."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._question: _Question | None = None

    @property
    def found(self) -> tuple[Finding, ...]:
        """Return a finding for each other machine that has answered for a VIP since the VIP last came here."""
        question = self._question
        return () if question is None else tuple(question.found.values())

    def ask(self, wanted: Sequence[tuple[Link, Sequence[Vip]]], own: frozenset[bytes]) -> None:
        """Ask now and listen for two seconds, in a thread. `own`: this host's MACs, which are no conflict."""
        self.stop()
        self._question = _Question(self._group, wanted, own)
        threading.Thread(target=self._question.ask, name=f"conflicts-{self._group}", daemon=True).start()

    def stop(self) -> None:
        """Stop listening. The findings stay."""
        if self._question is not None:
            self._question.over.set()


@dataclass(frozen=True, slots=True)
class _Question:
    """One question to the LAN, in a thread, because closing a packet socket blocks its thread for 10 ms and more."""

    group: str
    wanted: Sequence[tuple[Link, Sequence[Vip]]]
    own: frozenset[bytes]
    over: threading.Event = field(default_factory=threading.Event)
    found: dict[tuple[IPAddress, bytes], Finding] = field(default_factory=dict)

    def ask(self) -> None:
        try:
            with ExitStack() as opened, selectors.DefaultSelector() as waiting:
                for link, vips in self.wanted:
                    addresses = frozenset(vip.ip for vip in vips)
                    for ethertype, keep in ((arp.ETHERTYPE, _ONLY_ARP), (ndp.ETHERTYPE, _ONLY_ADVERTISEMENTS)):
                        listening = opened.enter_context(PacketSocket(link.name, ethertype, keep))
                        waiting.register(listening, selectors.EVENT_READ, (listening, link.name, addresses))
                    opened.enter_context(PacketSocket(link.name)).send(probes(addresses, link.mac or b""))
                self._listen(waiting)
        except ProviderError as error:
            if self.over.is_set():  # nobody waits for the answer; the link may go with whatever ended the question
                return
            _log.warning("group %s: cannot check for address conflicts: %s", self.group, error)

    def _listen(self, waiting: selectors.BaseSelector) -> None:
        end = time.monotonic() + _LISTEN_SECONDS
        while not self.over.is_set() and time.monotonic() < end:
            for key, _ in waiting.select(_STOP_SECONDS):
                wire, interface, addresses = key.data
                self._hear(wire.received(), interface, addresses)

    def _hear(self, frames: list[bytes], interface: str, addresses: frozenset[IPAddress]) -> None:
        for claimed in map(claim, frames):
            if claimed is None or claimed in self.found or self.over.is_set():
                continue
            address, mac = claimed
            if address in addresses and mac not in self.own:
                self.found[claimed] = _finding(address, mac, interface)
                _log.error("group %s: %s", self.group, self.found[claimed].message)


def _finding(address: IPAddress, mac: bytes, interface: str) -> Finding:
    return Finding(
        Level.ERROR,
        "baremetal.conflict",
        f"{address}",
        f"{mac.hex(':')} on {interface} answers for {address}, which this node serves",
        "find that machine and remove the address from it: clients reach one or the other",
    )
