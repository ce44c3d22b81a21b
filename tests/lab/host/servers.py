"""Servers that stand for clouds, each a process: started, awaited, frozen, and ended by its process id."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.lab.host.processes import freeze

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass
class Server:
    """A process that prints its URL when it serves. Leaving its context ends it."""

    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes]
    url: str = ""

    @classmethod
    def start(cls, command: Sequence[str], log: Path, cwd: Path | None = None, ready: str = "") -> Self:
        """Start the process, and wait for the line with `ready` and its URL. Raises RuntimeError if it ends before."""
        with log.open("ab") as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, cwd=cwd
            )
        server = cls(command, log, process)
        try:
            server.url = server._said(ready)
        except BaseException:  # the test can time out while it waits
            server.stop()
            raise
        return server

    def _said(self, ready: str) -> str:
        assert self.process.stdout
        for line in self.process.stdout:
            url = line.decode().rpartition(ready)[2].strip() if ready else line.decode().strip()
            if url.startswith("http"):
                return url
        raise RuntimeError(f"{self.command} does not serve: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Kill the process, and wait until it is gone."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def freeze(self) -> None:
        freeze(self.process)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
