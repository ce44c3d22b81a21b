"""Opens the unix socket of the local API. Never takes it from a running daemon, and never opens it to other users."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from health.errors import AnyvipError

_BACKLOG = 64


class AdminError(AnyvipError):
    """The socket cannot be opened as configured. The message says why."""


@dataclass(frozen=True, slots=True)
class SocketAccess:
    """The mode, owner and group of the socket. None means the daemon's own."""

    mode: int = 0o660
    owner: str | None = None
    group: str | None = None


def claim(path: Path, access: SocketAccess) -> socket.socket:
    """Returns a listening socket at `path`. Replaces one that a daemon left behind. Raises AdminError."""
    _clear(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    try:
        _bind(made, path)
        _grant(path, access)
        made.listen(_BACKLOG)
    except (OSError, AdminError) as error:
        made.close()
        if isinstance(error, AdminError):
            raise
        raise AdminError(f"{path}: {error.strerror or error}") from error
    return made


def _clear(path: Path) -> None:
    """Removes a socket that no daemon uses. Raises AdminError when it is in use, or not a socket."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise AdminError(f"{path} exists and is not a socket")
    except (FileNotFoundError, NotADirectoryError):
        return
    if _somebody_listens(path):
        raise AdminError(f"another daemon listens on {path}")
    path.unlink(missing_ok=True)


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # a daemon listens, but its queue is full
            return True
        except OSError as error:
            raise AdminError(f"{path}: {error.strerror}") from error
    return True


def _bind(made: socket.socket, path: Path) -> None:
    """Binds the socket so that no other user can connect before `_grant`."""
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    finally:
        os.umask(before)


def _grant(path: Path, access: SocketAccess) -> None:
    try:
        owner = pwd.getpwnam(access.owner).pw_uid if access.owner else -1
        group = grp.getgrnam(access.group).gr_gid if access.group else -1
        os.chown(path, owner, group)
    except (KeyError, PermissionError) as error:
        path.unlink()
        who = f"{access.owner or ''}:{access.group or ''}"
        raise AdminError(f"{path} cannot be given to {who} ({error}): see admin.owner and admin.group") from error
    path.chmod(access.mode)
