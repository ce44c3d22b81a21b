"""The scripted cloud: what becomes of each request that reaches the author's fake, as the contract decides.

The fake hands every request to `Script.serve`, which carries it out now, later or never, and says what to answer.
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


class Refused(Exception):  # noqa: N818  (an answer)
    """The fake must refuse this request in a way that will not pass by asking again, such as 403. Nothing was done."""


class LostReply(Exception):  # noqa: N818  (likewise)
    """The fake must close the connection without an answer, or answer late: whoever asked hears nothing."""


class Fate(Enum):
    """What may become of a request."""

    SERVED = auto()
    REFUSED = auto()  # nothing is done, and the answer says so
    LOST = auto()  # it takes effect, and the answer is lost
    LATE = auto()  # the answer is lost, and it takes effect when `Script.land` is called
    DROPPED = auto()  # nothing is done, and nothing is answered


@dataclass
class Script:
    """One test's cloud. A fake that serves in threads may call it from any of them; requests are served in turn."""

    reads: list[str] = field(default_factory=list)  # what was asked for, in order
    writes: list[str] = field(default_factory=list)
    _fate: Callable[[str, bool], Fate] = lambda _request, _writes: Fate.SERVED
    _late: list[Callable[[], object]] = field(default_factory=list)
    _turn: RLock = field(default_factory=RLock)

    def serve(self, request: str, effect: Callable[[], T], *, writes: bool) -> T:
        """Called by the fake for each request: `effect` carries it out and returns the answer.

        `request` says in a word or two what is asked, for messages. Raises Refused or LostReply, for the fake to answer
        so.
        """
        with self._turn:
            (self.writes if writes else self.reads).append(request)
            fate = self._fate(request, writes)
            if fate is Fate.REFUSED:
                raise Refused(request)
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
        """Within, `fate(request, writes)` says what becomes of each request."""
        before, self._fate = self._fate, fate
        try:
            yield
        finally:
            self._fate = before

    def land(self) -> None:
        """What was to take effect late does so now."""
        with self._turn:
            late, self._late = self._late, []
            for effect in late:
                with suppress(Exception):  # the fake may refuse it, and nobody hears of that
                    effect()
