"""The client: asks the VIP through the ordinary network stack, so that its ARP cache takes part."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys

from controller.demo.frames import PORT, REPLY, STAMP, ip_bytes, mac_bytes
from controller.demo.pace import Tape, paced
from controller.demo.samples import NOBODY, SampleKind

_SIOCGARP = 0x8954  # <linux/sockios.h>
_ARP_ENTRY = struct.Struct("HH4s8xH14si16s16s")  # struct arpreq: address, hardware address, flags, netmask, device
_ATF_COM = 2  # the entry is complete


def ask(vip: str, cycle: float, macs: list[bytes]) -> None:
    """Asks the VIP for ever. Writes samples to stdout."""
    tape = Tape()
    entry = _ARP_ENTRY.pack(socket.AF_INET, 0, ip_bytes(vip), 0, b"", 0, b"", b"eth0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        udp.connect((vip, PORT))
        for ready, now in paced([udp], cycle, tape):
            if ready is None:
                # If it cannot leave, for example because the queue that waits for ARP is full, there is no answer.
                with contextlib.suppress(OSError):
                    udp.send(STAMP.pack(now))
                tape.add(SampleKind.SENT, _whose(udp, entry, macs), 0, now, 0.0, 0.0)
            else:
                _receive(udp, now, tape)


def _receive(udp: socket.socket, now: float, tape: Tape) -> None:
    with contextlib.suppress(OSError):
        asked_at, node, answered_at = REPLY.unpack(udp.recv(64))
        tape.add(SampleKind.CLIENT, node, 0, asked_at, answered_at, now)


def _whose(udp: socket.socket, entry: bytes, macs: list[bytes]) -> int:
    """Returns the node to whose MAC the kernel sends, NOBODY if the ARP cache has none."""
    try:
        found = _ARP_ENTRY.unpack(fcntl.ioctl(udp, _SIOCGARP, entry))
    except OSError:
        return NOBODY
    mac, complete = found[4][:6], found[5] & _ATF_COM
    return macs.index(mac) if complete and mac in macs else NOBODY


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        ask(sys.argv[1], float(sys.argv[2]), [mac_bytes(text) for text in sys.argv[3:]])
