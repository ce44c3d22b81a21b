"""One node's core with its own store that answers immediately, for cases that the simulator meets too rarely."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from controller.core import events as ev
from controller.core.events import Step
from controller.core.machine import Decision, GroupPolicy, Policy, Transition, decide, initial, observe
from controller.core.records import Record, SessionId, encode
from controller.core.timing import Timing
from controller.stores.base import Entry, Version

TIMING = Timing.derive(3.0)


@dataclass
class Lone:
    """A node that carries out actions in order.

    Actions of a type in `held`, steps in `holds_steps` and writes of `holds_key` stay unanswered in `waiting`.
    """

    policy: Policy = field(
        default_factory=lambda: Policy("n1", "boot", TIMING, {"web": GroupPolicy(), "db": GroupPolicy()})
    )
    now: float = 1000.0
    store: dict[str, Entry] = field(default_factory=dict)
    held: tuple[type, ...] = ()
    holds_steps: frozenset[Step] = frozenset()
    holds_key: str | None = None
    waiting: list[ev.Action] = field(default_factory=list)
    actions: list[ev.Action] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    fails: dict[type, str] = field(default_factory=dict)
    refused: str = ""  # the store refuses each write of this key
    minted: int = 0
    versions: int = 0
    failing: bool = False  # whether the test expects that the decision about a group fails
    failures: list[tuple[str, Exception]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = initial(self.policy)

    def start(self, **given: object) -> Lone:
        self.tell(replace(ev.Started(SessionId("n1-a"), "writer"), **given))  # type: ignore[arg-type]
        for group in self.policy.groups:
            self.tell(ev.Judged(group, healthy=True))
        return self

    def put(self, key: str, record: Record | bytes) -> None:
        self.versions += 1
        value = record if isinstance(record, bytes) else encode(record)
        self.store[key] = Entry(value, Version(str(self.versions)))

    def advance(self, event: ev.Event) -> Decision:
        """Tells the core of an event, and returns what it decides."""
        self.state = observe(self.state, event, self.now, self.policy)
        return decide(self.state, self.now, self.policy)

    def tell(self, event: ev.Event) -> Decision:
        decision = self.advance(event)
        self.state = decision.state
        self.transitions += decision.transitions
        self.failures += decision.failures
        if decision.failures and not self.failing:
            raise decision.failures[0][1]
        for action in decision.actions:
            self.actions.append(action)
            if self._holds(action):
                self.waiting.append(action)
            else:
                self.carry_out(action)
        return decision

    def _holds(self, action: ev.Action) -> bool:
        match action:
            case ev.Run() if action.step in self.holds_steps:
                return True
            case ev.Write() if action.key == self.holds_key:
                return True
            case _:
                return isinstance(action, self.held)

    def wait_for_write(self, key: str) -> ev.Action:
        """Let time pass until this key is written, and hold that write."""
        self.holds_key = key
        while not self.waiting:
            self.run(0.05)
        self.holds_key = None
        return self.waiting.pop()

    def run(self, seconds: float) -> Lone:
        """Let time pass in steps of 50 ms."""
        for _ in range(round(seconds / 0.05)):
            self.now += 0.05
            self.tell(ev.Tick())
        return self

    def carry_out(self, action: ev.Action) -> None:
        sent_at = self.now
        self.now += 0.001
        error = self.fails.get(type(action))
        answer: ev.Event | None = None
        match action:
            case ev.Clear():
                answer = ev.Cleared(error)
            case ev.Mint():
                self.minted += 1
                answer = ev.Minted(SessionId(f"n1-minted{self.minted}"))
            case ev.StartTimer():
                answer = ev.TimerStarted(action.slot, sent_at, error)
            case ev.Arm():
                answer = ev.Armed(action.slot, action.groups, error)
            case ev.Read():
                failed = ev.Failed(action.request, error or "")
                answer = failed if error else ev.Listed(action.request, sent_at, dict(self.store))
            case ev.Write():
                answer = ev.Unsure(action.request, error) if error else self._swap(action, sent_at)
            case ev.Run():
                answer = ev.Ran(action.group, action.epoch, action.step, error)
        if answer is not None:
            self.tell(answer)

    def _swap(self, action: ev.Write, sent_at: float) -> ev.Event:
        there = self.store.get(action.key)
        if (there.version if there else None) != action.expected or action.key == self.refused:
            return ev.Refused(action.request)
        self.versions += 1
        version = Version(str(self.versions))
        if action.value is None:
            del self.store[action.key]
        else:
            self.store[action.key] = Entry(action.value, version)
        return ev.Wrote(action.request, sent_at, version)

    def did(self, kind: type) -> list[ev.Action]:
        return [action for action in self.actions if isinstance(action, kind)]
