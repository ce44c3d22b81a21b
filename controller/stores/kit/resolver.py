"""Finds the addresses of servers by name, and keeps them: no request waits for a name server that has answered before.

A name is looked up in a thread of its own that nobody waits for at the end: a name server that does not answer holds a
thread for many seconds.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_Key = tuple[str, int, int]


class KeepingResolver(AbstractResolver):
    """Answers with the addresses that it knows, and looks them up again meanwhile."""

    def __init__(self) -> None:
        self._known: dict[_Key, list[ResolveResult]] = {}
        self._asking: dict[_Key, asyncio.Future[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of the host. Raises OSError when none is known and it cannot be found."""
        key = (host, port, int(family))
        asking = self._asking.get(key) or self._ask(key)
        known = self._known.get(key)
        return await asyncio.shield(asking) if known is None else known

    async def close(self) -> None:
        """Do nothing: a lookup under way ends by itself."""

    def _ask(self, key: _Key) -> asyncio.Future[list[ResolveResult]]:
        loop = asyncio.get_running_loop()
        asking: asyncio.Future[list[ResolveResult]] = loop.create_future()
        asking.add_done_callback(lambda done: self._note(key, done))
        self._asking[key] = asking

        def look_up() -> None:
            found, failure = _look_up(key)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(_finish, asking, found, failure)

        threading.Thread(target=look_up, name=f"look up {key[0]}", daemon=True).start()
        return asking

    def _note(self, key: _Key, done: asyncio.Future[list[ResolveResult]]) -> None:
        del self._asking[key]
        if not done.cancelled() and done.exception() is None and done.result():
            self._known[key] = done.result()


def _look_up(key: _Key) -> tuple[list[ResolveResult], OSError | None]:
    host, port, family = key
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG)
    except OSError as error:
        return [], error
    return [_make_result(host, *info) for info in infos], None


def _make_result(host: str, family: int, _: int, proto: int, __: str, address: tuple[Any, ...]) -> ResolveResult:
    numeric, port = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return ResolveResult(hostname=host, host=numeric, port=int(port), family=family, proto=proto, flags=_NUMERIC)


def _finish(asking: asyncio.Future[list[ResolveResult]], found: list[ResolveResult], failure: OSError | None) -> None:
    if asking.done():
        return
    if failure is None:
        asking.set_result(found)
    else:
        asking.set_exception(failure)
