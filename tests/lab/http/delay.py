"""A store that is far away, on loopback: a proxy that hands every byte on so many seconds later, each way half of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def far_away(endpoint: str, round_trip: float) -> AsyncIterator[str]:
    """The endpoint of a proxy in front of ``http://host:port``; an answer takes `round_trip` seconds longer through it."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    lines: set[asyncio.Task[None]] = set()

    async def serve(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(host, int(port))
        for line in (_delayed(client, to_server, round_trip / 2), _delayed(server, to_client, round_trip / 2)):
            task = asyncio.create_task(line)
            lines.add(task)
            task.add_done_callback(lines.discard)

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield "http://{}:{}".format(*proxy.sockets[0].getsockname()[:2])
    finally:
        proxy.close()
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)


async def _delayed(source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await source.read(65536):
            loop.call_later(seconds, target.write, data)
        await asyncio.sleep(2 * seconds)  # what is under way arrives before the end does
    except ConnectionError:
        pass
    finally:
        target.close()
