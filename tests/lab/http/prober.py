"""A health endpoint on loopback, and a client for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from health.endpoint import Address, Endpoint, GroupStatus, HealthStatus, Limits

LIVENESS = 60.0  # seconds, generous because the machine can be busy
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def nothing() -> None:
    """Do nothing, which is what usually happens while the status is rendered."""


@dataclass
class Node:
    """A daemon's answers and the clock that they depend on."""

    now: float = 100.0
    groups: dict[str, GroupStatus] = field(default_factory=lambda: {"web": GroupStatus(None)})
    ready: bool = True
    live: bool = True
    detail: str = ""
    on_status: Callable[[], None] = nothing
    metrics: bytes = b"anyvip_up 1\n"

    def status(self) -> HealthStatus:
        self.on_status()
        return HealthStatus(self.groups, self.ready, self.live, self.detail)

    def serve(self, **until: float | None) -> None:
        self.groups = {group: GroupStatus(end) for group, end in until.items()}


def active() -> Node:
    """Return a node that serves its only group until 101. Its clock shows 100."""
    node = Node()
    node.serve(web=101.0)
    return node


@asynccontextmanager
async def endpoint(
    node: Node,
    *,
    limits: Limits | None = None,
    listen: Sequence[Address] = (("127.0.0.1", 0),),
) -> AsyncIterator[Endpoint]:
    served = Endpoint(
        listen=listen,
        paths={"/old/probe.html": "web"},
        status=node.status,
        clock=lambda: node.now,
        metrics=lambda: node.metrics,
        limits=limits,
    )
    await served.start()
    try:
        async with asyncio.timeout(LIVENESS):
            yield served
    finally:
        await served.close()


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


async def read_reply(reader: asyncio.StreamReader, *, head: bool = False) -> Reply:
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = b"" if head else await reader.readexactly(int(headers["content-length"]))
    assert start.startswith("HTTP/1.1 ")
    return Reply(int(start.split()[1]), headers, body)


async def ask(address: Address, path: str, *, method: str = "GET") -> Reply:
    """Send one request on its own connection, which the endpoint closes."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    try:
        reply = await read_reply(reader, head=method == "HEAD")
        assert await reader.read() == b""  # no more bytes, but the end of the stream
    finally:
        writer.close()
        await writer.wait_closed()
    return reply
