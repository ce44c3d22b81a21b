"""A cloud's API in the simulated world: it knows no leases, and a request can land late, twice or never.

`azure_model`, `gcp_model` and `aws_model` define what each mechanism accepts, how long that takes, and which calls its
mover makes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tests.simulation.world import Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from tests.simulation.story import Story
    from tests.simulation.world import World

T = TypeVar("T")

LATE_SECONDS = 5.0  # the longest time until a call lands, and the longest time that an operation takes
USUAL_SECONDS = 0.1  # for a call
OPERATION_SECONDS = 1.0  # usual time for an operation that a call begins
PAUSE_SECONDS = 0.2  # between two polls of something that is under way

STALE, BUSY, IN_USE, EXISTS, GONE, FAILED = "stale", "busy", "in use", "exists", "gone", "failed"


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request. A retry after a missing answer is the same request, as with a request id."""

    writes: ClassVar[bool] = False

    @property
    def verb(self) -> str:
        """The kind of the request."""
        return type(self).__name__


class Refused(Exception):  # noqa: N818  (an answer)
    """The cloud refuses a request, or its operation has failed."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


# Yields requests, or pauses in seconds. Receives the answers by `send`, and refusals by `throw`.
Steps = Generator[Request | float, Any, T]


class Cloud(ABC):
    """One mechanism of one cloud, for all hosts and groups."""

    writes: ClassVar[tuple[type[Request], ...]]

    def __init__(self, world: World, rng: Random, hosts: Sequence[str], story: Story) -> None:
        self.world, self.rng, self.hosts, self.story = world, rng, tuple(hosts), story
        self.seen: Counter[str] = Counter()  # how often each event happened, so that tests can check that it does
        self.effects: list[tuple[float, str]] = []
        self.troubled = True
        self.delays: list[float] = []  # of the next calls, as a schedule sets them
        self.failures = 0  # how many of the next operations fail
        self.overwrites = False  # whether groups that move at the same time can undo each other's moves
        self._slow, self._lossy, self._double, self._breaking = (rng.random() * most for most in (0.3, 0.15, 0.2, 0.1))

    # --- what it does with requests

    @abstractmethod
    def apply(self, request: Request) -> object:
        """Execute a request that lands, and return its answer. Raises Refused."""

    @abstractmethod
    def holders(self, group: str) -> list[str]:
        """Return the hosts that the group's packets go to at this moment: one host, if the network is correct."""

    def check(self) -> None:  # noqa: B027  (not every mechanism has something)
        """Check what must hold at every instant. Raises Violation."""

    def check_tidy(self, group: str, owner: str) -> None:  # noqa: B027  (likewise)
        """Check what must also hold when nothing is under way. Raises Violation."""

    def land(self, request: Request) -> object:
        """Execute a request that lands, and return its answer or its refusal."""
        answer: object
        try:
            answer = self.apply(request)
        except Refused as refused:
            answer = refused
            self.seen[f"{request.verb} refused: {refused.code}"] += 1
        self.story.tell("cloud", lambda: f"{request}: {answer}")
        return answer

    def changed(self, what: str) -> None:
        """Record a change that has just taken effect, and check the invariants."""
        self.effects.append((self.world.now, what))
        self.story.chapter("cloud", lambda: what)
        self.seen[what.partition(" ")[0]] += 1
        self.check()

    def violated(self, what: str) -> Violation:
        """Return a Violation that names what did not hold and the effects that led to it."""
        recent = ", ".join(f"{at:.2f} {effect}" for at, effect in self.effects[-8:])
        return Violation(f"{what}; the network: {recent}")

    # --- how long it takes, and what goes wrong

    def takes(self) -> float:
        """Return the seconds until a call that leaves now lands."""
        return self.delays.pop() if self.delays else self._seconds(USUAL_SECONDS, "late call")

    def lasts(self) -> float:
        """Return the seconds until an operation that begins now ends."""
        return self._seconds(OPERATION_SECONDS, "long operation")

    def loses(self) -> bool:
        """Draw whether this request, or this answer, never arrives."""
        return self._happens(self._lossy, "lost")

    def copies(self) -> bool:
        """Draw whether this request lands a second time, later."""
        return self._happens(self._double, "copied")

    def breaks(self) -> bool:
        """Draw whether this operation fails, unless a schedule makes it fail."""
        self.failures, fails = max(self.failures - 1, 0), self.failures > 0
        return fails or self._happens(self._breaking, "failed")

    def _seconds(self, usual: float, slowly: str) -> float:
        if self._happens(self._slow, slowly):
            return self.rng.random() * LATE_SECONDS
        return usual * (0.5 + self.rng.random())

    def _happens(self, probability: float, what: str) -> bool:
        happens = self.troubled and self.rng.random() < probability
        self.seen[what] += happens
        return happens


class Mover(ABC):
    """The calls that a daemon makes for one group: a model of `providers.cloud.mover.Mover`."""

    def __init__(self, host: str, group: str, hosts: Sequence[str], clock: Callable[[], float]) -> None:
        self.host, self.group, self.hosts, self.clock = host, group, tuple(hosts), clock
        self.epoch = 0  # of the moves that follow

    @abstractmethod
    def move(self) -> Steps[None]:
        """Make the network lead here, wherever it leads now."""

    @abstractmethod
    def look(self) -> Steps[bool]:
        """Ask whether the network leads here, and only here."""

    def leave(self) -> Steps[None]:
        """Give up what the next owner cannot take by itself: by default nothing."""
        yield from ()
