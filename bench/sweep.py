"""Asks one node by its MAC for each of many VIPs until all have answered, and listens for announcements.

python -m bench.sweep OWN_MAC OWN_IP NODE_MAC < VIPS > JSON
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Sequence

from controller.demo.frames import STAMP, End, arp_sender, ip_bytes, mac_bytes, udp_question, udp_source
from controller.demo.monitor import packets, sink
from controller.demo.pace import paced

ETH_P_IP, ETH_P_ARP = 0x0800, 0x0806
CYCLE_SECONDS = 0.02
LIMIT_SECONDS = 60.0


def sweep(asker: End, node: End, vips: Sequence[bytes]) -> dict[str, list[float]]:
    """Return when each VIP first answered and was first announced (CLOCK_MONOTONIC), without those past the limit."""
    questions = {vip: udp_question(asker, node, vip) for vip in vips}
    answered: dict[bytes, float] = {}
    announced: dict[bytes, float] = {}
    end = time.monotonic() + LIMIT_SECONDS
    with packets(ETH_P_IP) as ip, packets(ETH_P_ARP) as arp, sink():
        for ready, now in paced([ip, arp], CYCLE_SECONDS):
            if ready is ip:
                _note(udp_source(ip.recv(256)), questions, answered, now)
            elif ready is arp:
                _note(arp_sender(arp.recv(256), node.mac), questions, announced, now)
            elif len(answered) == len(vips) or now > end:
                break
            else:
                _ask(ip, [question for vip, question in questions.items() if vip not in answered])
    return {"answered": sorted(answered.values()), "announced": sorted(announced.values())}


def _ask(ip: socket.socket, questions: Sequence[bytes]) -> None:
    stamp = STAMP.pack(0.0)
    for question in questions:
        ip.send(question + stamp)


def _note(vip: bytes | None, known: dict[bytes, bytes], seen: dict[bytes, float], now: float) -> None:
    if vip in known:
        seen.setdefault(vip, now)


if __name__ == "__main__":
    own_mac, own_ip, node_mac = sys.argv[1:]
    json.dump(
        sweep(
            End(mac_bytes(own_mac), ip_bytes(own_ip)),
            End(mac_bytes(node_mac), b""),
            [ip_bytes(line.strip()) for line in sys.stdin],
        ),
        sys.stdout,
    )
