"""Sends HTTP requests to whichever of several equal servers answers. Connections stay open.

Each request has one deadline. A failure is handled by what it says of the request's effect:

- Certainly none (`NotDone`): there was no connection, or the server refused. The next endpoint is asked immediately,
  and all of them again until the deadline. A server that asks us to wait is asked again itself.
- Unknown (`OutcomeUnknown`): the connection broke during the request, or the server reports it. Only repeatable
  requests are repeated; for others the error is raised.
- No answer in time: StoreError, and the next request begins with the next endpoint.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from yarl import URL

from controller.stores.base import StoreError
from controller.stores.kit.outcome import NotDone, OutcomeUnknown
from controller.stores.kit.resolver import KeepingResolver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from controller.stores.kit.tls import Tls

T = TypeVar("T")
_FIRST_PAUSE_SECONDS = 0.01  # after every endpoint has failed; doubled each time
_LONGEST_PAUSE_SECONDS = 0.2
_FIRST_WATCH_PAUSE_SECONDS = 0.05  # before a watch is reopened; doubled after each watch that does not last
_LONGEST_WATCH_PAUSE_SECONDS = 2.0
_IDLE_CONNECTION_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers, each as ``http[s]://host:port``, and the headers of every request. `tls` None: the system's."""

    endpoints: Sequence[str]
    tls: Tls | None = None
    server_name: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Endpoints:
    """Sends each request to one of the servers. Each request ends within `call_timeout` seconds."""

    def __init__(self, servers: Servers, call_timeout: float) -> None:
        self._servers = servers
        self._call_timeout = call_timeout
        self._endpoints = [endpoint.rstrip("/") for endpoint in servers.endpoints]
        self._url = lru_cache(256)(self._parse)
        self._at = 0
        self._http: aiohttp.ClientSession | None = None
        self._streams: set[aiohttp.ClientResponse] = set()
        self._waits: set[asyncio.Future[Any]] = set()
        self.closed = False

    async def ask(self, attempt: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        """Return what `attempt` returns, repeating it as far as that is safe. `repeatable`: a second one does no harm.

        The attempt sends one request with `send`. Raises what it raises, and StoreError.
        """
        at, failed = self._at, None
        try:
            async with asyncio.timeout(self._call_timeout):
                pause = _FIRST_PAUSE_SECONDS
                while True:
                    after: float | None = None
                    for _ in self._endpoints:
                        at = self._at
                        try:
                            return await attempt()
                        except (NotDone, OutcomeUnknown) as error:
                            failed, after = error, getattr(error, "after", None)
                            self._renew()
                            if after is not None:  # the server is up, and asks us to wait
                                break
                            self._leave(at)
                            if isinstance(error, OutcomeUnknown) and not repeatable:
                                raise
                    await asyncio.sleep(max(pause, after or 0.0))
                    pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        except TimeoutError as error:
            self._leave(at)
            raise StoreError(str(failed) if failed else self._late(at)) from error

    async def send(
        self, method: str, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        """Send one request to the current server and return its response, unread. Raises NotDone, Unsure.

        `path` includes the query, encoded.
        """
        at, tls = self._at, self._servers.tls
        try:
            return await self._session().request(
                method,
                self._url(at, path),
                data=data,
                headers=headers,
                allow_redirects=False,
                ssl=tls.context if tls is not None else True,
                server_hostname=self._servers.server_name,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotDone(f"{self._endpoints[at]}: {reason(error)}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise OutcomeUnknown(f"{self._endpoints[at]}: {reason(error)}") from error

    @asynccontextmanager
    async def stream(
        self, opened: Callable[[], Awaitable[aiohttp.ClientResponse]]
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """Open an endless answer. It is closed when its server is left. Raises StoreError, also while it is read."""
        at = self._at
        try:
            async with asyncio.timeout(self._call_timeout):
                response = await opened()
        except (NotDone, OutcomeUnknown, TimeoutError) as error:
            self._leave(at)
            raise StoreError(str(error) or self._late(at)) from error
        self._streams.add(response)
        try:
            yield response.content
        except (aiohttp.ClientError, OSError) as error:
            raise StoreError(f"{self._endpoints[at]}: {reason(error)}") from error
        finally:
            self._streams.discard(response)
            _abort(response)

    async def wait(self, attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Return what one long attempt returns within `seconds`. Raises StoreError, also when its server is left."""
        at, task = self._at, asyncio.ensure_future(attempt())
        self._waits.add(task)
        try:
            await asyncio.wait({task}, timeout=seconds)
            if task.cancelled() or not task.done():
                self._leave(at)
                raise StoreError(f"{self._endpoints[at]}: left, or no answer within {seconds:g} s")
            return task.result()
        except (NotDone, OutcomeUnknown):
            self._leave(at)
            raise
        finally:
            self._waits.discard(task)
            task.cancel()

    async def reopening(self) -> AsyncIterator[None]:
        """Yield each time a watch is to be opened or reopened, until closed. Pauses grow while watches do not last."""
        pause = _FIRST_WATCH_PAUSE_SECONDS
        while not self.closed:
            opened_at = time.monotonic()
            yield
            lasted = time.monotonic() - opened_at > _LONGEST_WATCH_PAUSE_SECONDS
            pause = _FIRST_WATCH_PAUSE_SECONDS if lasted else min(2 * pause, _LONGEST_WATCH_PAUSE_SECONDS)
            await asyncio.sleep(0 if self.closed else pause)

    async def close(self) -> None:
        """Close the connections; streams end."""
        self.closed = True
        self._close_streams()
        if self._http is not None:
            await self._http.close()

    def _session(self) -> aiohttp.ClientSession:
        if self.closed:
            raise StoreError("this store is closed")
        if self._http is None:
            connector = aiohttp.TCPConnector(
                resolver=KeepingResolver(),
                keepalive_timeout=_IDLE_CONNECTION_SECONDS,
            )
            connect_seconds = self._call_timeout / (len(self._endpoints) + 1)  # a dark server costs only its share
            self._http = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
                headers=self._servers.headers,
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
                cookie_jar=aiohttp.DummyCookieJar(),
                middlewares=(_once,),
                auto_decompress=False,
            )
        return self._http

    def _renew(self) -> None:
        """Use certificates that have been replaced. The old ones can be why a connection failed."""
        if self._servers.tls is not None:
            self._servers.tls.renew()

    def _parse(self, at: int, path: str) -> URL:
        return URL(self._endpoints[at] + path, encoded=True)

    def _late(self, at: int) -> str:
        return f"{self._endpoints[at]}: no answer within {self._call_timeout:g} s"

    def _leave(self, at: int) -> None:
        """Use the next endpoint from now on, if this one is the current one."""
        if self._at == at:
            self._at = (at + 1) % len(self._endpoints)
            self._close_streams()

    def _close_streams(self) -> None:
        for response in self._streams:
            _abort(response)
        for task in self._waits:
            task.cancel()


def _abort(response: aiohttp.ClientResponse) -> None:
    """Close an endless response and its connection at once.

    `close` alone waits up to 30 s for the server's part of the TLS shutdown, which can outlive the event loop.
    """
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


class _Broken(aiohttp.ClientConnectionError):
    """The connection broke under a request."""


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request twice: it repeats PUT, DELETE and GET when a kept-alive connection breaks.

    They are idempotent (RFC 9110, 9.2.2) except for their conditions: the repeated one would fail its condition.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Broken(reason(error)) from error


async def body_of(response: aiohttp.ClientResponse) -> bytes:
    """Read and return the whole body. Raises Unsure when it is cut short."""
    try:
        async with response:
            return await response.read()
    except (aiohttp.ClientError, OSError) as error:
        raise OutcomeUnknown(f"{origin(response)}: {reason(error)}") from error


async def lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, of any length, without their line ends."""
    rest = b""
    while data := await stream.readany():
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line


def origin(response: aiohttp.ClientResponse) -> str:
    """Return the endpoint that answered, for messages."""
    return str(response.url.origin())


def reason(error: Exception) -> str:
    """Return why a request failed, in the words of the system or of TLS."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientSSLError):
        return str(error.os_error)
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if number and number > 0 else str(error) or type(error).__name__
