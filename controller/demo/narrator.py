"""Prints what the client and the load balancer see, one line per change, as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from controller.demo.lab import Host
from controller.demo.recording import Recording
from controller.demo.samples import Sample, SampleKind

SILENT_SECONDS = 0.15  # a silence that is worth a line; samples arrive about 50 ms late
LOOK_SECONDS = 0.02


class Narrator:
    """Prints lines that begin with the seconds since the demo began."""

    def __init__(self, recording: Recording, nodes: Sequence[Host]) -> None:
        self._recording = recording
        self._nodes = nodes
        self._began = time.monotonic()
        self._answering: int | None = None
        self._answered_at: float | None = None
        self._silent = True
        self.codes: dict[str, int] = {}  # the last health code of each node; 0: no answer

    def say(self, text: str, moment: float | None = None) -> None:
        """Prints one line, with the time of `moment` or of now."""
        at = (time.monotonic() if moment is None else moment) - self._began
        print(f"{at:8.3f}  {text}", flush=True)

    def watch(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Prints changes until the condition holds or the time is over. Returns whether the condition holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._tell()
            if until():
                return True
            time.sleep(LOOK_SECONDS)
        self._tell()
        return until()

    def _tell(self) -> None:
        for sample in self._recording.fresh():
            if sample.kind == SampleKind.CLIENT:
                self._client(sample)
            elif sample.kind == SampleKind.HEALTH:
                self._health(sample)
        now = time.monotonic()
        if not self._silent and self._answered_at is not None and now - self._answered_at > SILENT_SECONDS:
            self._silent = True
            self.say("client: no answer any more", self._answered_at)

    def _client(self, sample: Sample) -> None:
        if self._silent or sample.node != self._answering:
            silence = sample.received - (self._answered_at or sample.received)
            after = f", after {silence * 1000:.0f} ms without an answer" if silence else ""
            self.say(f"client: {self._nodes[sample.node].name} answers{after}", sample.received)
        self._silent, self._answering, self._answered_at = False, sample.node, sample.received

    def _health(self, sample: Sample) -> None:
        name = self._nodes[sample.node].name
        if self.codes.get(name) != sample.value:
            self.codes[name] = sample.value
            self.say(f"balancer: {name} says {show_code(sample.value)}", sample.received)


def show_code(code: int) -> str:
    """Renders a health code; `nothing` stands for no answer."""
    return str(code) if code else "nothing"
