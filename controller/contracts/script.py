"""The scripted cloud: the contract decides what happens to each request that reaches the author's fake.

The fake hands every request to `Script.serve`, which carries it out now, later or never, and returns the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from threading import RLock
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


class ScriptedRefusal(Exception):  # noqa: N818  (an answer)
    """The fake must refuse this request permanently, for example with 403. Nothing was done."""


class LostReply(Exception):  # noqa: N818  (likewise)
    """The fake must close the connection without an answer, or answer too late for the caller."""


class Fate(Enum):
    """What can happen to a request."""

    SERVED = auto()
    REFUSED = auto()  # no effect; the answer says so
    LOST = auto()  # takes effect; the answer is lost
    LATE = auto()  # takes effect when `Script.land` is called; the answer is lost
    DROPPED = auto()  # no effect, no answer


@dataclass
class Script:
    """One test's cloud. A fake may call it from several threads; requests are served one at a time."""

    reads: list[str] = field(default_factory=list)  # the requests, in order
    writes: list[str] = field(default_factory=list)
    settle: Callable[[], object] = lambda: None  # has the fake finish what takes it time: set it if anything does
    _fate: Callable[[str, bool], Fate] = lambda _request, _writes: Fate.SERVED
    _late: list[Callable[[], object]] = field(default_factory=list)
    _turn: RLock = field(default_factory=RLock)

    def serve(self, request: str, effect: Callable[[], T], *, writes: bool) -> T:
        """Serve one request of the fake: `effect` carries it out and returns the answer.

        `request` describes it in a word or two, for messages. Raises Refused or LostReply, which the fake must act out.
        """
        with self._turn:
            (self.writes if writes else self.reads).append(request)
            fate = self._fate(request, writes)
            if fate is Fate.REFUSED:
                raise ScriptedRefusal(request)
            if fate is Fate.LATE:
                self._late.append(effect)
            if fate in {Fate.LATE, Fate.DROPPED}:
                raise LostReply(request)
            answer = effect()
            if fate is Fate.LOST:
                raise LostReply(request)
            return answer

    @contextmanager
    def deciding(self, fate: Callable[[str, bool], Fate]) -> Iterator[None]:
        """Let `fate(request, writes)` decide what happens to each request inside the context."""
        before, self._fate = self._fate, fate
        try:
            yield
        finally:
            self._fate = before

    def land(self) -> None:
        """Let the late requests take effect. They have when it returns."""
        with self._turn:
            late, self._late = self._late, []
            for effect in late:
                with suppress(Exception):  # the fake may refuse it, and no caller is waiting
                    effect()
            self.settle()
