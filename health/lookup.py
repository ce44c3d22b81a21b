"""Resolve names in threads of their own, because the resolver has no reliable time limit."""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
from concurrent.futures import Future
from typing import Any

Where = tuple[socket.AddressFamily, tuple[Any, ...]]

_underway: dict[tuple[str, int], Future[list[Where]]] = {}
_lock = threading.Lock()


async def addresses(host: str, port: int) -> list[Where]:
    """Return the addresses of a host, for a stream socket. Raises OSError. The caller sets the time limit.

    Lookups of the same name share one thread and its answer, so a lookup that hangs occupies only one. The threads are
    daemons outside the loop's executor, so neither other work nor the exit of the process waits for them.
    """
    try:
        return _lookup(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        return await asyncio.wrap_future(_begin(host, port))


def _begin(host: str, port: int) -> Future[list[Where]]:
    with _lock:
        answer = _underway.get((host, port))
        if answer is None:
            answer = _underway[host, port] = Future()
            answer.set_running_or_notify_cancel()  # a cancelled waiter cannot cancel it for the others
            threading.Thread(target=_run, args=(host, port, answer), name=f"lookup {host}", daemon=True).start()
        return answer


def _run(host: str, port: int, answer: Future[list[Where]]) -> None:
    try:
        found = _lookup(host, port, 0)
    except Exception as error:  # noqa: BLE001  (it goes to the waiters)
        settle = functools.partial(answer.set_exception, error)
    else:
        settle = functools.partial(answer.set_result, found)
    with _lock:
        del _underway[host, port]
    settle()


def _lookup(host: str, port: int, flags: int) -> list[Where]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, where) for family, _, _, _, where in found]
