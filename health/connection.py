"""One client of the health endpoint, and all of them. Whatever one client does, the others are answered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import httptools

from health.answers import Answer, Answers, Request, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 4096  # bytes read at a time: what one client sends keeps the loop for less than a millisecond
_TURN = 16  # answers to one client before the rest of the loop gets its turn
_LINGER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take. Durations in seconds.

    - `connections`: one more, and the one that has asked nothing for longest is dropped.
    - `request_bytes`: of one request, headers and body.
    - `request_seconds`: from its first byte to its last, and for the client to read an answer.
    - `idle_seconds`: between two requests. Longer than the longest interval of common probes (60) but one.
    """

    connections: int = 512
    request_bytes: int = 8192
    request_seconds: float = 10.0
    idle_seconds: float = 75.0


class Connections:
    """Everybody who is connected, whoever was answered longest ago first."""

    def __init__(self, answers: Answers, clock: Callable[[], float], limits: Limits) -> None:
        self.answers = answers
        self.clock = clock
        self.limits = limits
        # One for all: it is filled by the loop and emptied by the parser without anybody else in between.
        self.buffer = memoryview(bytearray(_CHUNK))
        self._all: OrderedDict[Connection, None] = OrderedDict()
        self._sweep: asyncio.TimerHandle | None = None

    def admit(self, connection: Connection) -> None:
        """Take one more in, for the one that was answered longest ago if there are too many."""
        if len(self._all) >= self.limits.connections:
            next(iter(self._all)).drop()
        self._all[connection] = None
        if self._sweep is None:
            self._sweep_later()

    def answered(self, connection: Connection) -> None:
        """Remember that this one is in use."""
        if connection in self._all:
            self._all.move_to_end(connection)

    def leave(self, connection: Connection) -> None:
        """Forget it."""
        self._all.pop(connection, None)

    def drop_all(self, listener: object = None) -> None:
        """End all connections, or those that came through this listener."""
        for connection in list(self._all):
            if listener is None or connection.listener is listener:
                connection.drop()

    def _sweep_later(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(1.0, self._sweep_now)

    def _sweep_now(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        for connection in list(self._all):
            if connection.expires_at <= now:
                connection.drop()
        if self._all:
            self._sweep_later()


class Connection(asyncio.BufferedProtocol):
    """Reads requests with httptools (llhttp); answers in order, and only what the kernel takes at once.

    An answer that waits in a buffer is a lie later. So nothing is rendered while the client does not read, and
    a client that left no room for the answer to a health request is cut off.
    """

    def __init__(self, connections: Connections, listener: object) -> None:
        self.listener = listener
        self.expires_at = float("inf")
        self._connections = connections
        self._limits = connections.limits
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._received = 0  # bytes of the request that is not complete yet
        self._asked: deque[Request | HTTPStatus] = deque()
        self._blocked = False  # the kernel has not taken all we wrote
        self._leaving = False  # nothing more is read; when all is answered, the end
        self._lingering = False  # the last word is said, the client has not closed yet

    # --- the loop calls these ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)  # pause_writing as soon as one byte has to wait
        self.expires_at = self._loop.time() + self._limits.request_seconds
        self._connections.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (the loop's signature)
        """End."""
        self._asked.clear()
        self._connections.leave(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (the loop's signature)
        """Say where the loop may put bytes."""
        return self._connections.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what came in, answer what is complete."""
        if self._leaving:
            return
        now = self._loop.time()
        if not self._received:
            self.expires_at = now + self._limits.request_seconds
        self._received += nbytes
        self._parse(self._connections.buffer[:nbytes])
        if not self._received:
            self.expires_at = now + self._limits.idle_seconds
            self._connections.answered(self)
        self._answer()

    def pause_writing(self) -> None:
        """Write no more: the kernel has no room."""
        self._blocked = True
        self.expires_at = self._loop.time() + self._limits.request_seconds

    def resume_writing(self) -> None:
        """Write again: the client has read what there was."""
        self._blocked = False
        self.expires_at = self._loop.time() + self._limits.idle_seconds
        self._answer()

    # --- the parser calls these ----------------------------------------------------------------------------------

    def on_url(self, part: bytes) -> None:
        """Collect the request target."""
        self._target += part

    def on_message_complete(self) -> None:
        """Take note of a complete request."""
        keep = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._asked.append(Request(self._parser.get_method(), self._target, keep))
        self._target = b""
        self._received = 0
        self._leaving = not keep

    # --- what it comes down to -----------------------------------------------------------------------------------

    def drop(self) -> None:
        """End at once, whatever is under way."""
        self._connections.leave(self)
        self._transport.abort()

    def _parse(self, data: memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._leaving = True  # we speak nothing else: the request is answered as it is, and that was all
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST)
        if self._received > self._limits.request_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _refuse(self, status: HTTPStatus) -> None:
        if not self._leaving:  # after the last request anything may follow
            self._asked.append(status)
        self._leaving = True

    def _answer(self) -> None:
        """Answer what was asked, a few at a time, and read on when all is answered."""
        for _ in range(_TURN):
            if self._blocked or not self._asked or self._transport.is_closing():
                break
            self._send(self._asked.popleft())
        if self._transport.is_closing():
            return
        if not self._asked:
            self._rest()
        else:
            self._transport.pause_reading()
            if not self._blocked:
                self._loop.call_soon(self._answer)

    def _send(self, asked: Request | HTTPStatus) -> None:
        if isinstance(asked, HTTPStatus):
            self._transport.write(refusal(asked))
            self._linger()
            return
        answer = self._connections.answers.to(asked)
        self._write(answer)

    def _write(self, answer: Answer) -> None:
        # The clock is read last of all: whatever took long before this line has already taken its time.
        self._transport.write(answer.active if self._connections.clock() < answer.until else answer.standby)
        if self._blocked and answer.perishable:
            self.drop()

    def _rest(self) -> None:
        if self._leaving and not self._lingering:
            self._transport.close()
        else:
            self._transport.resume_reading()

    def _linger(self) -> None:
        """Say that this was all, and let the client read it: to close now would reset what it has not read yet."""
        self._lingering = True
        self.expires_at = self._loop.time() + _LINGER_SECONDS
        self._transport.write_eof()
