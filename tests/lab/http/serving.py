"""Fakes of services over HTTP, served in a test's loop or as a process, and the faults that they can have."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from time import time

from aiohttp import web

from tests.lab.host.servers import Server

ROOT = Path(__file__).parents[3]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Ailments:
    """The faults between a fake and its clients. A test can change them at any time."""

    losing: bool = False  # requests are carried out, but the connection is closed without an answer
    slow_seconds: float = 0.0  # the delay before a request is carried out
    refusing: int = 0  # how many requests get `refusal` and have no effect
    refusal: Callable[[], web.Response] = web.HTTPServiceUnavailable
    ahead_seconds: float = 0.0  # how far the server's clock is ahead
    asked: Counter[str] = field(default_factory=Counter)  # how many requests of each method came, answered or not

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.asked[request.method] += 1
        if self.slow_seconds:
            await asyncio.sleep(self.slow_seconds)
        if self.refusing > 0:
            self.refusing -= 1
            response: web.StreamResponse = self.refusal()
        else:
            response = await handler(request)
        if self.losing and request.transport is not None:
            request.transport.abort()
        if not response.prepared:
            response.headers["Date"] = formatdate(time() + self.ahead_seconds, usegmt=True)
        return response


@asynccontextmanager
async def serving(
    application: web.Application, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[str]:
    """Serve an application on a free port, and yield its endpoint."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://{host}:{port}"
    finally:
        await runner.cleanup()


def start_fake(name: str, log: Path, *, host: str = "127.0.0.1", inside: tuple[str, ...] = ()) -> Server:
    """Start the module ``tests.lab.stores.<name>`` as a process. `inside` is a prefix for the command."""
    return Server.start([*inside, sys.executable, "-m", f"tests.lab.stores.{name}", host], log, ROOT)


def run_as_process(application: web.Application, wipe: Callable[[], object]) -> None:
    """Serve on the host in argv until this process is killed or its parent has ended. Prints its endpoint at the start.

    ``DELETE /`` deletes all data.
    """

    async def wiped(_: web.Request) -> web.Response:
        wipe()
        return web.Response(status=204)

    async def forever() -> None:
        parent = os.getppid()
        application.router.add_delete("/", wiped)
        async with serving(application, host=sys.argv[1]) as endpoint:
            print(endpoint, flush=True)
            while os.getppid() == parent:  # noqa: ASYNC110  (there is no event for it)
                await asyncio.sleep(1)

    asyncio.run(forever())
