"""Netlink sockets, with requests packed by hand, many per send, and every answer read. Linux only.

The kernel carries out a request inside the sender's `send`, and the answers are in the socket when it returns. So
nothing here waits: an answer that has not arrived by then will not come. A call can still wait for a kernel lock
(RTNL, the nf_tables commit mutex), which no deadline in user space can cut short.

The layout of messages is in netlink(7) and linux/netlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from providers.base import ProviderError
from providers.linux.attributes import attributes, string
from providers.linux.bpf import Instruction, attach

ROUTE = 0
SOCK_DIAG = 4
NETFILTER = 12

ACK = 0x4  # NLM_F_ACK
DUMP = 0x300  # NLM_F_DUMP
CREATE = 0x400  # NLM_F_CREATE
REPLACE = 0x100  # NLM_F_REPLACE

_REQUEST = 0x1
_DUMP_INTERRUPTED = 0x10
_ACK_HAS_TEXT = 0x200  # NLM_F_ACK_TLVS
_ACK_IS_CAPPED = 0x100  # NLM_F_CAPPED
_ACK_OF_HEADER = 20  # an error code and the header of the request that it is about
_ERROR = 2
_DONE = 3
_SOL_NETLINK = 270
_CAP_ACK = 10
_EXT_ACK = 11
_STRICT_CHECK = 12
_HEADER = struct.Struct("=IHHII")
_BUFFER = 1 << 16
ROOM = 4 << 20  # bytes that a socket can hold for us, if the system's limits allow it
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_DUMP_ATTEMPTS = 5
# The error messages of one send must fit into the receive buffer (200 KiB by default, some 800 bytes each).
_CHUNK = 200


class NetlinkError(ProviderError):
    """The kernel refused a request. `code` is the errno."""

    def __init__(self, code: int, what: str, said: str = "") -> None:
        """`what` names the request; `said` is the kernel's own explanation, empty when it gives none."""
        explained = f" ({said})" if said else ""
        super().__init__(f"{what}: {os.strerror(code)}{explained}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    """One request to the kernel, or one of its answers. `port` is the sender's address in an answer."""

    kind: int
    flags: int
    body: bytes
    port: int = 0


@dataclass(frozen=True, slots=True)
class NetlinkRefusal:
    """The kernel's refusal of one request of several: its index, the errno, and the kernel's own explanation."""

    index: int
    code: int
    said: str


# --- sockets -----------------------------------------------------------------------------------------------------


class Socket:
    """A netlink socket that belongs to one caller. Not safe for use by several threads at a time."""

    def __init__(self, protocol: int, *, groups: Sequence[int] = ()) -> None:
        """`groups`: the multicast groups to listen to. Raises NetlinkError."""
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            raise NetlinkError(error.errno or 0, f"netlink socket {protocol}") from error
        try:
            self._prepare(groups)
        except OSError as error:
            self._socket.close()
            raise NetlinkError(error.errno or 0, f"netlink socket {protocol}") from error
        self._sequence = 0

    def _prepare(self, groups: Sequence[int]) -> None:
        self._socket.setblocking(False)
        self._socket.bind((0, 0))
        for force, plain in ((_SO_SNDBUFFORCE, socket.SO_SNDBUF), (_SO_RCVBUFFORCE, socket.SO_RCVBUF)):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, force, ROOM)
            except OSError:  # allowed only in the first user namespace; the plain option stops at net.core.*mem_max
                self._socket.setsockopt(socket.SOL_SOCKET, plain, ROOM)
        for option in (_CAP_ACK, _EXT_ACK, _STRICT_CHECK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, 1, group)  # NETLINK_ADD_MEMBERSHIP

    @property
    def port(self) -> int:
        """Return the socket's own address, by which the kernel names the maker of a change."""
        name: tuple[int, int] = self._socket.getsockname()
        return name[0]

    def fileno(self) -> int:
        """Return the descriptor, for the event loop and for filters."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the descriptor."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def keep(self, program: Sequence[Instruction]) -> None:
        """Let the kernel drop the notifications for which the program returns 0."""
        attach(self._socket, program)

    def batch(self, messages: Sequence[Message], what: str) -> list[NetlinkRefusal]:
        """Send all messages in one call. The last one with `ACK` is acknowledged.

        Returns the refusals in order. Raises NetlinkError when the kernel's answer is missing.
        """
        first = self._sequence + 1
        self._sequence += len(messages)
        packed = [
            _HEADER.pack(16 + len(m.body), m.kind, m.flags | _REQUEST, first + i, 0) + m.body
            for i, m in enumerate(messages)
        ]
        self._send(b"".join(packed), what)
        refusals, confirmed = self._answers(first, what)
        if not refusals and not confirmed:
            raise NetlinkError(errno.ENOBUFS, f"{what}: the kernel's answer was lost")
        return sorted(refusals, key=lambda refusal: refusal.index)

    def apply(self, messages: Sequence[Message], what: str, *, ignore: Sequence[int] = ()) -> None:
        """Carry out independent requests, a few hundred per call. Raises NetlinkError for the first one refused.

        `ignore`: errnos that mean that there is nothing to do.
        """
        for start in range(0, len(messages), _CHUNK):
            chunk = list(messages[start : start + _CHUNK])
            last = chunk[-1]
            chunk[-1] = Message(last.kind, last.flags | ACK, last.body)
            for refusal in self.batch(chunk, what):
                if refusal.code not in ignore:
                    raise NetlinkError(refusal.code, what, refusal.said)

    def dump(self, message: Message, what: str) -> list[Message]:
        """Return everything that the kernel lists for this request. Raises NetlinkError."""
        for _ in range(_DUMP_ATTEMPTS):
            self._sequence += 1
            header = _HEADER.pack(16 + len(message.body), message.kind, _REQUEST | DUMP, self._sequence, 0)
            self._send(header + message.body, what)
            listed = self._read_list(what)
            if listed is not None:
                return listed
        raise NetlinkError(errno.EINTR, f"{what}: the list changed while it was read, {_DUMP_ATTEMPTS} times")

    def get(self, message: Message, what: str) -> Message:
        """Return the one object that the request asks for. Raises NetlinkError."""
        self._sequence += 1
        header = _HEADER.pack(16 + len(message.body), message.kind, _REQUEST, self._sequence, 0)
        self._send(header + message.body, what)
        try:
            while (data := self._receive()) is not None:
                for kind, flags, sequence, port, body in _split(data):
                    if sequence == self._sequence and kind == _ERROR:
                        raise NetlinkError(-struct.unpack_from("=i", body)[0], what, _explanation(kind, flags, body))
                    if sequence == self._sequence:
                        return Message(kind, flags, body, port)
        except OSError as error:
            raise NetlinkError(error.errno or 0, what) from error
        raise NetlinkError(errno.ENOBUFS, f"{what}: the kernel's answer was lost")

    def received(self) -> list[Message] | None:
        """Return the notifications of one datagram, None when there is none now.

        Raises OSError; ENOBUFS means that some notifications were lost.
        """
        data = self._receive()
        if data is None:
            return None
        return [Message(kind, flags, body, port) for kind, flags, _, port, body in _split(data)]

    def _send(self, data: bytes, what: str) -> None:
        try:
            self._socket.sendto(data, (0, 0))
        except OSError as error:
            raise NetlinkError(error.errno or 0, what) from error

    def _receive(self) -> bytes | None:
        try:
            return self._socket.recv(_BUFFER)
        except BlockingIOError:
            return None

    def _answers(self, first: int, what: str) -> tuple[list[NetlinkRefusal], bool]:
        refusals: list[NetlinkRefusal] = []
        confirmed = False
        try:
            while (data := self._receive()) is not None:
                for kind, flags, sequence, _, body in _split(data):
                    if kind != _ERROR or sequence < first:
                        continue
                    code = -struct.unpack_from("=i", body)[0]
                    confirmed = confirmed or code == 0
                    if code:
                        refusals.append(NetlinkRefusal(sequence - first, code, _explanation(kind, flags, body)))
        except OSError as error:
            raise NetlinkError(error.errno or 0, what) from error
        return refusals, confirmed

    def _read_list(self, what: str) -> list[Message] | None:
        found: list[Message] = []
        interrupted = False
        try:
            while (data := self._receive()) is not None:
                for kind, flags, sequence, port, body in _split(data):
                    if sequence != self._sequence:
                        continue
                    interrupted = interrupted or bool(flags & _DUMP_INTERRUPTED)
                    if kind == _ERROR or (kind == _DONE and len(body) >= 4):
                        code = -struct.unpack_from("=i", body)[0]
                        if code and code != errno.EINTR:
                            raise NetlinkError(code, what, _explanation(kind, flags, body))
                        return None if interrupted or code else found
                    found.append(Message(kind, flags, body, port))
        except OSError as error:
            raise NetlinkError(error.errno or 0, what) from error
        raise NetlinkError(errno.ENOBUFS, f"{what}: the list has no end")


def _split(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Yield (kind, flags, sequence, port, body) of each message in a datagram."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if length < 16:
            return
        yield kind, flags, sequence, port, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _explanation(kind: int, flags: int, body: bytes) -> str:
    """Return the text that the kernel adds to an error (NETLINK_EXT_ACK), if any."""
    if not flags & _ACK_HAS_TEXT:
        return ""
    if kind == _DONE:
        offset = 4
    elif flags & _ACK_IS_CAPPED or len(body) < _ACK_OF_HEADER:
        offset = _ACK_OF_HEADER
    else:
        offset = 4 + ((int(_HEADER.unpack_from(body, 4)[0]) + 3) & ~3)
    return next((string(value) for kind, value in attributes(body, offset) if kind == 1), "")
