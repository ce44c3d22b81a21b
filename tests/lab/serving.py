"""Fakes of services over HTTP: served in the loop of a test, or as a process of their own; and what ails them."""

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

from tests.lab.servers import Server

ROOT = Path(__file__).parents[2]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Ailments:
    """What goes wrong between a fake and those who ask it. All of it may be changed under way."""

    losing: bool = False  # requests are carried out, and the connection is closed instead of answering
    slow_seconds: float = 0.0  # before a request is carried out
    refusing: int = 0  # so many requests get `refusal`, and nothing is done
    refusal: Callable[[], web.Response] = web.HTTPServiceUnavailable
    ahead_seconds: float = 0.0  # the server's clock
    asked: Counter[str] = field(default_factory=Counter)  # how often each kind of request came, whatever became of it

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
async def serving(application: web.Application, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The endpoint of the application, on a free loopback port."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def start_fake(name: str, log: Path) -> Server:
    """The module ``tests.lab.<name>`` as a process."""
    return Server.start([sys.executable, "-m", f"tests.lab.{name}"], log, ROOT)


def run_as_process(application: Callable[[], web.Application]) -> None:
    """Serve until this process is killed or its parent has gone. Prints its endpoint when it serves."""

    async def forever() -> None:
        parent = os.getppid()
        async with serving(application()) as endpoint:
            print(endpoint, flush=True)
            while os.getppid() == parent:  # noqa: ASYNC110  (nobody tells)
                await asyncio.sleep(1)

    asyncio.run(forever())
