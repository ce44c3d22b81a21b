"""The endpoint that load balancers probe. It answers 200 only while this node may serve.

It renders a `HealthStatus` from memory. It never waits for anything, and never asks a store.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING, Any, Final

from health.answers import Answers, GroupStatus, HealthStatus
from health.connection import Connections, HttpConnection, Limits
from health.errors import AnyvipError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Address", "Endpoint", "EndpointError", "GroupStatus", "HealthStatus", "Limits", "PortInUse"]

Address = tuple[str, int]

_log = logging.getLogger("anyvip.health")
_BACKLOG: Final = 1024  # connections that the kernel holds until the loop accepts them
_ACCEPTED_AT_ONCE: Final = 16
_FREE_BIND4: Final = (socket.IPPROTO_IP, 15)  # linux/in.h
_FREE_BIND6: Final = (socket.IPPROTO_IPV6, 78)  # linux/in6.h
_REMEDY: Final = {
    errno.EADDRINUSE: "another program listens there: stop it, or choose another port",
    errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE: choose a port above 1023",
    errno.EAFNOSUPPORT: "this kernel has no such address family: leave the address out",
}


class EndpointError(AnyvipError):
    """The endpoint cannot listen. The message says where, why, and what to do."""


class PortInUse(EndpointError):  # noqa: N818  (a fact about this host)
    """Another program listens there, which can end."""


class Endpoint:
    """Serves ``/health``, ``/health/<group>``, ``/livez``, ``/readyz`` and ``/metrics``.

    - `listen`: numeric addresses and ports. ``0.0.0.0`` and ``::`` may have the same port.
    - `paths`: further paths, each of one group, so that existing probes keep their URL.
    - `clock`: reads the clock that `GroupStatus.serving_until` refers to, in seconds.
    """

    def __init__(  # noqa: PLR0913  (five callables and facts of the daemon, each given by name)
        self,
        *,
        listen: Sequence[Address],
        paths: Mapping[str, str],
        status: Callable[[], HealthStatus],
        clock: Callable[[], float],
        metrics: Callable[[], bytes],
        limits: Limits | None = None,
    ) -> None:
        self._wanted = tuple(dict.fromkeys(listen))
        self._answers = Answers(paths, status, metrics)
        self._connections = Connections(self._answers, clock, limits or Limits())
        self._listeners: dict[Address, _Listener] = {}

    @property
    def addresses(self) -> list[Address]:
        """The addresses on which it listens, with the port that the kernel chose for port 0."""
        return [listener.address for listener in self._listeners.values()]

    async def start(self) -> None:
        """Listen on all addresses, or on none. Raises EndpointError."""
        await self._listen(self._wanted)

    async def reconfigure(self, *, listen: Sequence[Address], paths: Mapping[str, str]) -> None:
        """Apply the difference. Connections through an address that stays are not affected.

        Raises EndpointError when it cannot listen as wanted; then everything is as before.
        """
        before = self._wanted
        wanted = tuple(dict.fromkeys(listen))
        # The old ones first: 127.0.0.1:80 cannot be bound while 0.0.0.0:80 is.
        removed = [address for address in before if address not in wanted]
        for address in removed:
            await self._unlisten(address)
        try:
            await self._listen(wanted)
        except EndpointError:
            await self._listen(before)
            raise
        self._wanted = wanted
        self._answers.paths = paths

    async def close(self) -> None:
        """Stop listening and end all connections."""
        for address in list(self._listeners):
            await self._unlisten(address)

    async def _listen(self, addresses: Sequence[Address]) -> None:
        opened: list[Address] = []
        try:
            for address in addresses:
                if address not in self._listeners:
                    self._listeners[address] = await _Listener.open(address, self._connections)
                    opened.append(address)
        except EndpointError:
            for address in opened:
                await self._unlisten(address)
            raise

    async def _unlisten(self, address: Address) -> None:
        await self._listeners.pop(address).close()


class _Listener:
    """One listening socket, with the connections that it accepted."""

    def __init__(self, listening: socket.socket, connections: Connections) -> None:
        self._socket = listening
        self._connections = connections
        self._server: asyncio.Server | None = None

    @classmethod
    async def open(cls, address: Address, connections: Connections) -> _Listener:
        listener = cls(_bind(address), connections)
        await listener._accept()
        return listener

    @property
    def address(self) -> Address:
        host, port = self._socket.getsockname()[:2]
        return host, port

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._connections.drop_all(self)
            await self._server.wait_closed()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        # The loop accepts up to `backlog` connections in one turn, during which the others wait.
        self._server = await loop.create_server(
            lambda: HttpConnection(self._connections, self),
            sock=self._socket,
            backlog=_ACCEPTED_AT_ONCE,
        )
        self._socket.listen(_BACKLOG)


def _bind(address: Address) -> socket.socket:
    host, port = address
    flags = socket.AI_NUMERICHOST | socket.AI_PASSIVE
    try:
        family, kind, proto, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[0]
    except OSError as error:
        raise EndpointError(f"health.listen {_show(address)}: not a numeric address such as 0.0.0.0 or ::") from error
    listening = None
    try:
        listening = socket.socket(family, kind, proto)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # so that 0.0.0.0 and :: can have the same port
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _bind_to(listening, where)
        listening.listen(_BACKLOG)
    except OSError as error:
        if listening is not None:
            listening.close()
        refused = PortInUse if error.errno == errno.EADDRINUSE else EndpointError
        raise refused(f"health.listen {_show(address)}: {_reason(error)}") from error
    return listening


def _bind_to(listening: socket.socket, where: tuple[Any, ...]) -> None:
    """Bind also to an address that no interface has yet: connections come when it does (ip(7), IP_FREEBIND)."""
    try:
        listening.bind(where)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        listening.setsockopt(*(_FREE_BIND6 if listening.family == socket.AF_INET6 else _FREE_BIND4), 1)
        listening.bind(where)
        _log.warning("no interface of this node has %s yet: health.listen answers there when one has", where[0])


def _reason(error: OSError) -> str:
    text = (error.strerror or str(error)).lower()
    remedy = _REMEDY.get(error.errno or 0)
    return f"{text}: {remedy}" if remedy else text


def _show(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
