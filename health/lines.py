"""Read the output of a command line by line, cut to a length and cleaned for a log."""

from __future__ import annotations

import asyncio
import codecs
import os
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE = 500  # characters; the rest of a longer line is dropped
_CHUNK = 4096  # bytes read at a time, so that a command that writes without end does not block the loop
_PIPE = 65536  # bytes that a pipe holds: the most that is left when the command has ended


class Lines:
    """A context manager that owns the reading end of a pipe. `ended`: all writers have closed their end."""

    def __init__(self, reading: int, on_line: Callable[[str], None]) -> None:
        self.ended = False
        self._reading = reading
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""
        os.set_blocking(reading, False)

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._reading, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._reading)
        os.close(self._reading)

    def drain(self) -> None:
        """Take what is in the pipe now, and the last line even without a newline. Does not wait for other writers."""
        for _ in range(_PIPE // _CHUNK):
            if not self._take():
                break
        self._feed("\n")

    def _take(self) -> bool:
        """Take one chunk; False if there is none."""
        try:
            data = os.read(self._reading, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.ended = True
            asyncio.get_running_loop().remove_reader(self._reading)
        self._feed(self._decoder.decode(data, final=not data))
        return bool(data)

    def _feed(self, text: str) -> None:
        *lines, begun = (self._begun + text).split("\n")
        self._begun = begun[:_LINE]
        for line in lines:
            shown = "".join(char if char.isprintable() else " " for char in line[:_LINE]).strip()
            if shown:
                self._on_line(shown)
