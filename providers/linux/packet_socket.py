"""Ethernet frames in and out of one interface, bypassing the kernel's own ARP and neighbour discovery (packet(7))."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from providers.base import ProviderError
from providers.linux.bpf import Instruction, attach

_SEND_SECONDS: Final = 0.5  # how long to wait for room in a full transmit queue
_LARGEST: Final = 2048


class PacketSocket:
    """A packet socket on one interface. Without an ethertype it only sends.

    Closing one takes the kernel 10 ms and more (an RCU grace period), so do not close one in an event loop.
    """

    def __init__(self, interface: str, ethertype: int = 0, keep: Sequence[Instruction] = ()) -> None:
        """`keep`: the filter that decides in the kernel which frames are received. Raises ProviderError."""
        self._interface = interface
        try:
            # Protocol 0 until bound, so that no frame of another interface is received in between.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        except OSError as error:
            raise self._error("packet socket", error) from error
        try:
            if keep:
                attach(self._socket, keep)
            self._socket.bind((interface, ethertype))
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise self._error("packet socket", error) from error

    def fileno(self) -> int:
        """Return the descriptor, for the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the descriptor."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def send(self, frames: Iterable[bytes]) -> None:
        """Send frames. Raises ProviderError at the first that does not leave: the guard is shut or the link is down."""
        try:
            for frame in frames:
                self._send(frame)
        except OSError as error:
            raise self._error("send frames", error) from error

    def _send(self, frame: bytes) -> None:
        while True:
            try:
                self._socket.send(frame)
            except BlockingIOError:
                room = select.poll()  # select(2) takes no descriptor above 1023
                room.register(self._socket, select.POLLOUT)
                if not room.poll(_SEND_SECONDS * 1000):
                    raise
            else:
                return

    def received(self) -> list[bytes]:
        """Return the frames that have arrived since the last call. Raises ProviderError when the link went down."""
        frames: list[bytes] = []
        try:
            while True:
                frames.append(self._socket.recv(_LARGEST))
        except BlockingIOError:
            return frames
        except OSError as error:
            raise self._error("receive frames", error) from error

    def _error(self, what: str, error: OSError) -> ProviderError:
        needs = " (needs CAP_NET_RAW)" if isinstance(error, PermissionError) else ""
        return ProviderError(f"{self._interface}: {what}: {error.strerror or error}{needs}")
