"""Stand-ins for clouds as processes of their own: started, waited for, frozen, ended by their process id."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass
class Server:
    """A process that prints a line with its URL once it serves. A context: ended when it is left."""

    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes]
    url: str = ""

    @classmethod
    def start(cls, command: Sequence[str], log: Path, cwd: Path | None = None) -> Self:
        """Start it, and wait for its first line. Raises RuntimeError with what it wrote when it ends before."""
        with log.open("ab") as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, cwd=cwd
            )
        server = cls(command, log, process)
        assert process.stdout
        line = process.stdout.readline().decode()
        if not line.startswith("http"):
            server.stop()
            raise RuntimeError(f"{command}: {line}{log.read_text()[-2000:]}")
        server.url = line.strip()
        return server

    def stop(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
