"""A bad network on loopback: a proxy that loses replies and holds requests, a dark host, servers that send nonsense."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.lab.http.listening import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Proxy:
    """A proxy that forwards bytes in both directions.

    While `losing`, it discards the first reply of a connection and closes the connection. While `letting_through` is
    clear, it holds requests. It sends them when that is set, even if their sender has left.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._lines: set[asyncio.Task[None]] = set()
        self._unanswered: set[asyncio.StreamWriter] = set()  # the servers' ends of connections
        self._answered = asyncio.Event()
        self.losing = False
        self.lost = 0
        self.kept = 0
        self.letting_through = asyncio.Event()
        self.letting_through.set()
        self.endpoint = ""

    async def settled(self) -> None:
        """Return when the server has answered every forwarded request, even if its client has left."""
        while self._unanswered:
            self._answered.clear()
            await self._answered.wait()

    def _settle(self, line: asyncio.StreamWriter) -> None:
        self._unanswered.discard(line)
        self._answered.set()

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(*self._target)
        there = asyncio.create_task(self._requests(client, to_server))
        self._lines.add(there)
        try:
            while data := await server.read(65536):
                self._settle(to_server)
                if self.losing:
                    self.lost += 1
                    break
                to_client.write(data)
        except ConnectionError:
            pass
        finally:
            self._settle(to_server)
            to_client.close()

    async def _requests(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        try:
            while data := await client.read(65536):
                if not self.letting_through.is_set():
                    self.kept += 1
                await self.letting_through.wait()
                self._unanswered.add(to_server)
                to_server.write(data)
                await to_server.drain()
            while to_server in self._unanswered:  # a request whose sender has left is still answered
                self._answered.clear()
                await self._answered.wait()
        except ConnectionError:
            pass
        finally:
            to_server.close()

    async def end(self) -> None:
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)


@asynccontextmanager
async def proxy_to(endpoint: str) -> AsyncIterator[Proxy]:
    """Run a proxy in front of ``http://host:port``, on a free loopback port."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    proxy = Proxy(host, int(port))
    try:
        async with listening(proxy.serve) as where:
            proxy.endpoint = "http://{}:{}".format(*where)
            yield proxy
    finally:
        await proxy.end()


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Run a server that answers every request with these bytes and closes, and yield its endpoint."""

    async def serve(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            head = (await client.readuntil(b"\r\n\r\n")).lower()
            _, has_body, length = head.partition(b"content-length:")
            if has_body:
                await client.readexactly(int(length.split()[0]))
            to_client.write(answer)
        finally:
            to_client.close()
            await to_client.wait_closed()

    async with listening(serve) as where:
        yield "http://{}:{}".format(*where)


@asynccontextmanager
async def dark_endpoint() -> AsyncIterator[str]:
    """Yield an endpoint that neither accepts nor refuses connections: its queue is full, and the kernel drops SYNs."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for filling in (first, second):
            filling.setblocking(False)
            filling.connect_ex(listening.getsockname())
        yield "http://{}:{}".format(*listening.getsockname())
