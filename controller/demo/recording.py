"""Collects the samples that the probers write, as they write them."""

from __future__ import annotations

import fcntl
import threading
import time
from bisect import bisect_left
from typing import IO

from controller.demo.pace import step_back
from controller.demo.samples import LAYOUT, Sample

_PIPE_BYTES = 1 << 20  # holds several seconds of samples, so that a prober never waits for us
_CHUNK = LAYOUT.size * 1024


class Recording:
    """All samples since the beginning, or since the last `forget`."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self._arrivals: list[tuple[float, int]] = []  # (moment, number of samples before it)
        self._told = 0
        self._lock = threading.Lock()
        self._readers: list[threading.Thread] = []

    def attach(self, stream: IO[bytes]) -> None:
        """Reads this prober's samples in a thread until the prober ends."""
        fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        reader.start()
        self._readers.append(reader)

    def close(self) -> None:
        """Waits for the readers. Their probers must have ended."""
        for reader in self._readers:
            reader.join()

    def fresh(self) -> list[Sample]:
        """Returns the samples that arrived since the last call."""
        with self._lock:
            found = self._samples[self._told :]
            self._told = len(self._samples)
            return found

    def between(self, since: float, until: float) -> list[Sample]:
        """Returns the samples whose question was sent from `since` on, and whose answer came up to `until`."""
        with self._lock:
            chunk = bisect_left(self._arrivals, (since, 0))  # an answer cannot arrive before its question
            begin = self._arrivals[chunk][1] if chunk < len(self._arrivals) else len(self._samples)
            return [s for s in self._samples[begin:] if s.sent >= since and max(s.sent, s.received) <= until]

    def forget(self) -> None:
        """Drops all samples."""
        with self._lock:
            self._samples.clear()
            self._arrivals.clear()
            self._told = 0

    def _read(self, stream: IO[bytes]) -> None:
        step_back()
        rest = b""
        with stream:
            while chunk := stream.read(_CHUNK):
                data = rest + chunk
                whole = len(data) - len(data) % LAYOUT.size
                rest = data[whole:]
                found = list(map(Sample._make, LAYOUT.iter_unpack(data[:whole])))
                with self._lock:
                    self._arrivals.append((time.monotonic(), len(self._samples)))
                    self._samples += found
