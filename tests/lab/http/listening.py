"""A server on loopback in the test's own loop, none of whose connections outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_TURNS = 5  # of the loop, in which a connection that it has accepted is handed over, or one that was aborted closes


@asynccontextmanager
async def listening(serve: Serve, **options: Any) -> AsyncIterator[tuple[str, int]]:
    """Serve each connection with `serve`, and yield the address and port.

    At the end, connections are aborted, also those that a client made at the last moment, for example from a thread
    that tries again. One that is left would be reported as unclosed during a later test.
    """
    lines: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines[asyncio.create_task(run(reader, writer))] = writer

    server = await asyncio.start_server(begin, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()
        await _turn()
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)
        for writer in lines.values():
            writer.transport.abort()
        await _turn()


async def _turn() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
