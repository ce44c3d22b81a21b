"""The connections of the health endpoint. No client can keep the others from being answered."""

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

_CHUNK = 4096  # bytes read at a time, so that one client occupies the loop for less than a millisecond
_TURN = 16  # answers to one client before the loop does other work
_LINGER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what clients may take. Durations are in seconds.

    - `connections`: the most at a time. One more drops the connection that was answered longest ago.
    - `request_bytes`: the size of one request, headers and body.
    - `request_seconds`: from a request's first byte to its last, and for the client to read an answer.
    - `idle_seconds`: between two requests. Longer than the second longest interval of common probes, which is 60.
    """

    connections: int = 512
    request_bytes: int = 8192
    request_seconds: float = 10.0
    idle_seconds: float = 75.0


class Connections:
    """All open connections, the one that was answered longest ago first."""

    def __init__(self, answers: Answers, clock: Callable[[], float], limits: Limits) -> None:
        self.answers = answers
        self.clock = clock
        self.limits = limits
        # All connections share one buffer: the loop fills it and the parser empties it before another connection runs.
        self.buffer = memoryview(bytearray(_CHUNK))
        self._all: OrderedDict[HttpConnection, None] = OrderedDict()
        self._sweep: asyncio.TimerHandle | None = None

    def admit(self, connection: HttpConnection) -> None:
        """Add a connection. If there are too many, drop the one that was answered longest ago."""
        if len(self._all) >= self.limits.connections:
            next(iter(self._all)).drop()
        self._all[connection] = None
        if self._sweep is None:
            self._sweep_later()

    def answered(self, connection: HttpConnection) -> None:
        """Move this connection to the end of the order."""
        if connection in self._all:
            self._all.move_to_end(connection)

    def leave(self, connection: HttpConnection) -> None:
        """Remove this connection."""
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


class HttpConnection(asyncio.BufferedProtocol):
    """Reads requests with httptools (llhttp), and answers them in order.

    An answer that waits in a buffer may become false. So nothing is rendered while earlier bytes wait for the client,
    and a client that left no room for the answer to a health request is cut off.
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
        self._blocked = False  # the kernel has not yet taken all that was written
        self._leaving = False  # read nothing more, and close when all is answered
        self._lingering = False  # the last answer is sent, but the client has not closed yet

    # --- the loop calls these ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timer of the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)  # pause_writing as soon as one byte has to wait
        self.expires_at = self._loop.time() + self._limits.request_seconds
        self._connections.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (the loop's signature)
        """Forget the connection."""
        self._asked.clear()
        self._connections.leave(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (the loop's signature)
        """Return the buffer that the loop fills."""
        return self._connections.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse the bytes that came in, and answer the complete requests."""
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
        """Stop writing: the kernel has no room."""
        self._blocked = True
        self.expires_at = self._loop.time() + self._limits.request_seconds

    def resume_writing(self) -> None:
        """Write again: the client has read all earlier bytes."""
        self._blocked = False
        self.expires_at = self._loop.time() + self._limits.idle_seconds
        self._answer()

    # --- the parser calls these ----------------------------------------------------------------------------------

    def on_url(self, part: bytes) -> None:
        """Collect the request target."""
        self._target += part

    def on_message_complete(self) -> None:
        """Queue a complete request."""
        keep = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._asked.append(Request(self._parser.get_method(), self._target, keep))
        self._target = b""
        self._received = 0
        self._leaving = not keep

    # --- reading and answering -----------------------------------------------------------------------------------

    def drop(self) -> None:
        """Abort immediately, whatever is under way."""
        self._connections.leave(self)
        self._transport.abort()

    def _parse(self, data: memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._leaving = True  # no other protocol: answer the request as it is, then close
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST)
        if self._received > self._limits.request_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _refuse(self, status: HTTPStatus) -> None:
        if not self._leaving:  # bytes after the last request do not matter
            self._asked.append(status)
        self._leaving = True

    def _answer(self) -> None:
        """Answer the queued requests, a few per turn of the loop. Read on when all are answered."""
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
        # The clock is read last, so that no slow step lies between the reading and the write.
        self._transport.write(answer.active if self._connections.clock() < answer.until else answer.standby)
        if self._blocked and answer.perishable:
            self.drop()

    def _rest(self) -> None:
        if self._leaving and not self._lingering:
            self._transport.close()
        else:
            self._transport.resume_reading()

    def _linger(self) -> None:
        """End the stream, and let the client read it: closing now would reset what it has not read yet."""
        self._lingering = True
        self.expires_at = self._loop.time() + _LINGER_SECONDS
        self._transport.write_eof()
