"""The service that runs on a node. It answers each datagram to any VIP with the node's number and the time."""

from __future__ import annotations

import contextlib
import socket
import sys
import time

from controller.demo.frames import PORT, REPLY, STAMP
from controller.demo.pace import hurry

_IP_PKTINFO = 8  # <linux/in.h>; the address that was asked, from which the answer must come


def answer(node: int) -> None:
    """Answers for ever. Reads the clock before the answer leaves, so the time in it is never later than the answer."""
    hurry()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        udp.bind(("0.0.0.0", PORT))  # noqa: S104  (the namespace contains only the lab)
        while True:
            question, ancillary, _, asker = udp.recvmsg(64, 64)
            (asked_at,) = STAMP.unpack_from(question)
            # The kernel sets ipi_spec_dst to the address that was asked. Interface 0 leaves the interface to routing.
            info = [(level, kind, bytes(4) + data[4:12]) for level, kind, data in ancillary]
            # If the address is gone by now, or the guard is shut, there is no answer. That is what the demo measures.
            with contextlib.suppress(OSError):
                udp.sendmsg([REPLY.pack(asked_at, node, time.monotonic())], info, 0, asker)


if __name__ == "__main__":
    answer(int(sys.argv[1]))
