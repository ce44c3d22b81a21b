"""The tcp check, and connecting as such."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from health.lookup import addresses
from health.options import host_and_port

if TYPE_CHECKING:
    from health.options import TcpCheck


class CheckFailed(Exception):  # noqa: N818  (a result, not a fault of ours)
    """The check did not pass; one line says why."""


async def tcp(options: TcpCheck) -> None:
    """Connect and close. Raises OSError; the caller sets the time limit."""
    (await connected(*host_and_port(options.target))).close()


async def connected(host: str, port: int) -> socket.socket:
    """Connect to the first of the host's addresses that accepts. Raises the last one's OSError."""
    failure: OSError = ConnectionError("the name has no address")
    for family, where in await addresses(host, port):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, where)
            if connection.getsockname() == connection.getpeername():
                # TCP's simultaneous open: with nobody listening on an ephemeral port, one may meet oneself there.
                raise ConnectionRefusedError("connected to itself")  # noqa: TRY301
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure
