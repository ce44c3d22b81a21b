"""A small coverage-guided fuzzer: it changes inputs at random and keeps those that reach something new.

It traces the lines of the modules under test (`sys.settrace`). An input is new if it makes one line follow another one
that it never followed before. No well-kept fuzzer of this kind installs for all Python versions that anyvip supports.
"""

from __future__ import annotations

import hashlib
import math
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

LONGEST_INPUT = 4096
HANG_SECONDS = 10.0
Arc = tuple[str, int, int]  # a file, and two lines of one function in a row


class Hang(Exception):  # noqa: N818  (a finding)
    """An input takes longer than `HANG_SECONDS`."""


@dataclass(frozen=True)
class Target:
    """What is fuzzed: `run` raises AssertionError or anything unforeseen for a finding. `traced`: files or folders."""

    name: str
    run: Callable[[bytes], None]
    traced: tuple[str, ...]
    words: tuple[bytes, ...]
    seeds: tuple[bytes, ...]
    share: int = 1  # of the time


@dataclass
class Report:
    """What a run did."""

    runs: int = 0
    arcs: int = 0
    kept: list[bytes] = field(default_factory=list)
    found: dict[str, bytes] = field(default_factory=dict)  # by the place where it was raised: the first input


class Tracer:
    """Records which arcs an input takes in the traced files."""

    def __init__(self, traced: Sequence[str]) -> None:
        self._traced = tuple(traced)
        self._known: dict[CodeType, bool] = {}
        self._last: dict[FrameType, int] = {}
        self.arcs: set[Arc] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG002
        code = frame.f_code
        if code not in self._known:
            self._known[code] = any(part in code.co_filename for part in self._traced)
        return self._line if self._known[code] else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG002
        line = frame.f_lineno
        self.arcs.add((frame.f_code.co_filename, self._last.get(frame, 0), line))
        self._last[frame] = line
        if event == "return":
            self._last.pop(frame, None)
        return self._line


def corpus_of(folder: Path, target: Target) -> list[bytes]:
    """Returns the target's seeds and the inputs that earlier runs kept."""
    return [*target.seeds, *(path.read_bytes() for path in sorted((folder / target.name).glob("*")))]


def save(folder: Path, target: Target, value: bytes) -> Path:
    """Adds an input to the corpus."""
    path = folder / target.name / hashlib.sha256(value).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value)
    return path


def fuzz(target: Target, corpus: Sequence[bytes], seconds: float, seed: int, findings: float = math.inf) -> Report:
    """Fuzzes one target for this time or until so many findings, beginning with the corpus."""
    rng, report, seen = random.Random(seed), Report(), set[Arc]()
    pool: list[bytes] = []
    ends_at = time.monotonic() + seconds
    for value in corpus:
        seen |= _try(target, value, report)
        pool.append(value)
    while time.monotonic() < ends_at and len(report.found) < findings:
        value = mutate(rng, pool, target.words)
        arcs = _try(target, value, report)
        if not arcs <= seen:
            value = _shorten(target, value, arcs - seen, report)
            seen |= arcs
            pool.append(value)
            report.kept.append(value)
    report.arcs = len(seen)
    return report


def _try(target: Target, value: bytes, report: Report) -> set[Arc]:
    tracer = Tracer(target.traced)
    report.runs += 1
    before = sys.gettrace()
    try:
        with _alarm():
            sys.settrace(tracer)
            target.run(value)
    except Exception as error:  # noqa: BLE001  (that is what is looked for)
        report.found.setdefault(_place(error), value)
    finally:
        sys.settrace(before)
    return tracer.arcs


def _shorten(target: Target, value: bytes, new: set[Arc], report: Report) -> bytes:
    """Removes pieces for as long as the input still reaches what is new."""
    size, tries = len(value) // 2, 40
    while size > 0:
        for at in range(0, len(value), size):
            tries -= 1
            if tries < 0:
                return value
            shorter = value[:at] + value[at + size :]
            if new <= _try(target, shorter, report):
                value = shorter
                break
        else:
            size //= 4
    return value


def _place(error: Exception) -> str:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    where = f"{Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}" if traceback else "?"
    return f"{type(error).__name__} at {where}"


@contextmanager
def _alarm() -> Iterator[None]:
    def raise_hang(_: int, __: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, raise_hang)
    signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def mutate(rng: random.Random, pool: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Returns a changed copy of one input, the newer ones first."""
    value = bytearray(pool[max(rng.randrange(len(pool)), rng.randrange(len(pool)))])
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(value) + 1)
        size = rng.choice((1, 2, 4, 16, 64))
        match rng.randrange(7):
            case 0 if value:
                value[at % len(value)] ^= 1 << rng.randrange(8)
            case 1:
                del value[at : at + size]
            case 2:
                value[at:at] = rng.randbytes(size)
            case 3 | 4 if words:
                value[at : at + rng.choice((0, 1, size))] = rng.choice(words)
            case 5:
                value[at:at] = value[at : at + size] * rng.choice((1, 2, 8))
            case _:
                other = rng.choice(pool)
                begin = rng.randrange(len(other) + 1)
                value[at : at + size] = other[begin : begin + 4 * size]
    return bytes(value[:LONGEST_INPUT])
