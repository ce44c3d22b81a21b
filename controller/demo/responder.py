"""The service that runs on a node: answers each datagram to any VIP with the node's number and the moment."""

from __future__ import annotations

import contextlib
import socket
import sys
import time

from controller.demo.pace import hurry
from controller.demo.wire import PORT, REPLY, STAMP

_IP_PKTINFO = 8  # <linux/in.h>; which address was asked, so that the answer comes from it


def answer(node: int) -> None:
    """Never ends. The clock is read before the answer leaves, so it is never later than the answer."""
    hurry()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        udp.bind(("0.0.0.0", PORT))  # noqa: S104  (the namespace has nothing but the lab in it)
        while True:
            question, ancillary, _, asker = udp.recvmsg(64, 64)
            (asked_at,) = STAMP.unpack_from(question)
            # ipi_spec_dst is set by the kernel to the address that was asked; the interface is left to routing.
            info = [(level, kind, bytes(4) + data[4:12]) for level, kind, data in ancillary]
            # The address may be gone by now, or the guard shut: then there is no answer, which is what is measured.
            with contextlib.suppress(OSError):
                udp.sendmsg([REPLY.pack(asked_at, node, time.monotonic())], info, 0, asker)


if __name__ == "__main__":
    answer(int(sys.argv[1]))
