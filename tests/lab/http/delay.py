"""A distant store on loopback: a proxy that delays every byte by half of the round trip in each direction.

It counts round trips: how often a client had to wait for an answer, which does not depend on how busy the machine is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.lab.http.listening import listening


@dataclass
class Far:
    """The endpoint of the distant store, and how many times clients have waited for an answer."""

    endpoint: str = ""
    round_trips: int = 0


class _Line:
    """One connection through the proxy."""

    def __init__(self, far: Far) -> None:
        self._far = far
        self._answered = True  # whether the next bytes from the client begin a request

    def asked(self) -> None:
        self._far.round_trips += self._answered
        self._answered = False

    def answered(self) -> None:
        self._answered = True


@asynccontextmanager
async def far_away(endpoint: str, round_trip: float) -> AsyncIterator[Far]:
    """Run a proxy in front of ``http://host:port``. An answer takes `round_trip` seconds longer through it."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    lines: set[asyncio.Task[None]] = set()
    far = Far()

    async def serve(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(host, int(port))
        line = _Line(far)
        for way in (
            _delayed(client, to_server, round_trip / 2, line.asked),
            _delayed(server, to_client, round_trip / 2, line.answered),
        ):
            task = asyncio.create_task(way)
            lines.add(task)
            task.add_done_callback(lines.discard)

    try:
        async with listening(serve) as where:
            far.endpoint = "http://{}:{}".format(*where)
            yield far
    finally:
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)


async def _delayed(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float, passing: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await source.read(65536):
            passing()
            loop.call_later(seconds, target.write, data)
        await asyncio.sleep(2 * seconds)  # bytes under way arrive before the end of the stream
    except ConnectionError:
        pass
    finally:
        target.close()
