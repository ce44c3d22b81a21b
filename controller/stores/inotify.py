"""Reports when a name appears in a directory, through inotify(7). It does not poll."""

from __future__ import annotations

import asyncio
import ctypes
import os
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

# <sys/inotify.h>
_IN_CREATE = 0x100  # also sent for link(2)
_IN_MOVED_TO = 0x80
_IN_DELETE_SELF = 0x400
_IN_MOVE_SELF = 0x800
_IN_ONLYDIR = 0x01000000
_MASK = _IN_CREATE | _IN_MOVED_TO | _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_ONLYDIR

_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryWatch:
    """An asynchronous context manager. Call `arm`, read the directory, then `wait`.

    Nothing that happens after `arm` is missed. Raises OSError.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._event = asyncio.Event()
        self._descriptor = -1

    async def __aenter__(self) -> Self:
        self._descriptor = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        asyncio.get_running_loop().add_reader(self._descriptor, self._drain)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def arm(self) -> None:
        """Watch the directory that has the name now. It can be another one than before."""
        self._event.clear()
        _check(_libc.inotify_add_watch(self._descriptor, os.fsencode(self._directory), _MASK))

    async def wait(self) -> None:
        """Return once something has happened since `arm`, or `wake` was called."""
        await self._event.wait()

    def wake(self) -> None:
        """Make `wait` return now."""
        self._event.set()

    def _drain(self) -> None:
        os.read(self._descriptor, 65536)
        self._event.set()


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"inotify: {os.strerror(code)}")
    return result
