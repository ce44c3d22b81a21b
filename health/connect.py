"""The tcp check, and connections for the other checks."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from health.errors import AnyvipError
from health.lookup import addresses
from health.options import host_and_port

if TYPE_CHECKING:
    from health.options import TcpCheck


class CheckFailed(AnyvipError):  # noqa: N818  (a result, not a fault of ours)
    """The check did not pass. The message is one line that says why."""


async def tcp(options: TcpCheck) -> None:
    """Connect, then close. Raises OSError. The caller sets the time limit."""
    (await open_connection(*host_and_port(options.target))).close()


async def open_connection(host: str, port: int) -> socket.socket:
    """Connect to the first of the host's addresses that accepts. Raises the last address's OSError if none does."""
    failure: OSError = ConnectionError("the name has no address")
    for family, where in await addresses(host, port):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, where)
            if connection.getsockname() == connection.getpeername():
                # TCP's simultaneous open: a socket can connect to itself on an ephemeral port where no program listens.
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
