"""The monitor: asks every node by its own MAC, by UDP and by ARP, so that two nodes that answer are seen as two."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from dataclasses import dataclass, field

from controller.demo.frames import (
    PORT,
    STAMP,
    End,
    arp_answer,
    arp_question,
    ip_bytes,
    mac_bytes,
    udp_answer,
    udp_question,
)
from controller.demo.pace import Tape, paced
from controller.demo.samples import NOBODY, SampleKind

_ETH_P_IP, _ETH_P_ARP = 0x0800, 0x0806
_PACKET_STATISTICS = 6  # <linux/if_packet.h>: packets seen and dropped since the last query
_SOL_PACKET = 263
_FORGET_SECONDS = 0.1  # the age at which the monitor gives up on an ARP question
_COUNT_EVERY = 256  # cycles between two queries of the kernel's drop count


@dataclass(slots=True)
class ProbedNode:
    """The questions to one node, ready to send. `pending`: when its oldest unanswered ARP question was sent."""

    mac: bytes
    udp: bytes
    arp: bytes
    pending: float | None = None


@dataclass(slots=True)
class Monitor:
    """Asks all nodes over two packet sockets, and writes down their answers."""

    vip: bytes
    nodes: list[ProbedNode]
    tape: Tape = field(default_factory=Tape)

    def ask(self, cycle: float) -> None:
        """Asks for ever, once per cycle (seconds). Writes samples to stdout."""
        with packets(_ETH_P_IP) as ip, packets(_ETH_P_ARP) as arp, sink():
            cycles = 0
            for ready, now in paced([ip, arp], cycle, self.tape):
                if ready is ip:
                    self._heard_udp(ip.recv(256), now)
                elif ready is arp:
                    self._heard_arp(arp.recv(256), now)
                else:
                    self._ask_all(ip, now)
                    cycles += 1
                    if cycles % _COUNT_EVERY == 0:
                        self._count_drops((ip, arp), now)

    def _ask_all(self, wire: socket.socket, now: float) -> None:
        stamp = STAMP.pack(now)
        for node in self.nodes:
            if node.pending is None or now - node.pending > _FORGET_SECONDS:
                node.pending = now
            try:
                wire.send(node.udp + stamp)
                wire.send(node.arp)
            except OSError:
                self.tape.add(SampleKind.LOST, NOBODY, 1, now, 0.0, now)

    def _heard_udp(self, frame: bytes, now: float) -> None:
        answer = udp_answer(frame, self.vip)
        if answer is not None:
            asked_at, node, answered_at = answer
            self.tape.add(SampleKind.UDP, node, 0, asked_at, answered_at, now)

    def _heard_arp(self, frame: bytes, now: float) -> None:
        mac = arp_answer(frame, self.vip)
        for index, node in enumerate(self.nodes):
            if node.mac == mac and node.pending is not None:
                self.tape.add(SampleKind.ARP, index, 0, node.pending, 0.0, now)
                node.pending = None

    def _count_drops(self, sockets: tuple[socket.socket, ...], now: float) -> None:
        for opened in sockets:
            _, dropped = struct.unpack("II", opened.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            if dropped:
                self.tape.add(SampleKind.LOST, NOBODY, min(dropped, 32767), now, 0.0, now)


def packets(protocol: int) -> socket.socket:
    """Returns a socket that sends and receives whole frames of this protocol on eth0."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    opened.bind(("eth0", protocol))
    opened.setblocking(False)
    return opened


def sink() -> socket.socket:
    """Returns a socket that keeps the kernel from refusing each answer by ICMP. It is never read."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # each monitor of this host has one
    udp.bind(("", PORT))
    return udp


def main(vip: str, cycle: str, own_mac: str, own_ip: str, *macs: str) -> None:
    """Asks the nodes with these MACs for this VIP, once per cycle (seconds)."""
    asker, address = End(mac_bytes(own_mac), ip_bytes(own_ip)), ip_bytes(vip)
    ends = [End(mac_bytes(mac), b"") for mac in macs]
    nodes = [ProbedNode(e.mac, udp_question(asker, e, address), arp_question(asker, e, address)) for e in ends]
    Monitor(address, nodes).ask(float(cycle))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        main(*sys.argv[1:])
