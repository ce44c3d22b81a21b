"""What happened, in words. A story costs nothing unless it is listening."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from controller.core.events import Arm, Listed, Run, StartTimer, Tick, Write
from controller.core.records import GROUPS, SESSIONS, BadRecord, Cluster, Ownership, Session, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.core.events import Action, Event
    from controller.core.group import Transition
    from controller.core.machine import Decision
    from controller.stores.base import Entry, Version
    from tests.simulation.network import Message
    from tests.simulation.process import Process
    from tests.simulation.world import World

LAST = 150  # lines of full detail before the end


class Story:
    """Keeps all chapters (faults, roles, ownership) and the last lines of everything else."""

    def __init__(self, world: World, *, listening: bool = False) -> None:
        self._world = world
        self.listening = listening
        self.chapters: list[tuple[float, str, str]] = []
        self._lines: deque[tuple[float, str, str]] = deque(maxlen=LAST)

    def tell(self, who: str, what: Callable[[], str]) -> None:
        """Add a detail. `what` is called only if the story is listening."""
        if self.listening:
            self._lines.append((self._world.now, who, f"    {what()}"))

    def chapter(self, who: str, what: Callable[[], str]) -> None:
        """Add an event that every story of this cluster must contain."""
        if self.listening:
            line = self._world.now, who, what()
            self._lines.append(line)
            self.chapters.append(line)

    def decided(self, process: Process, event: Event, decision: Decision) -> None:
        """Add the decision that an event led to."""
        if not self.listening:
            return
        name = process.host.name
        if not isinstance(event, Tick) or decision.actions:
            shown = ", ".join(action_line(action) for action in decision.actions)
            self.tell(name, lambda: f"{event_line(event)}: {shown or 'nothing to do'}")
        for transition in decision.transitions:
            self.chapter(name, partial(transition_line, transition))

    def landing(self, message: Message, before: Entry | None, version: Version | None) -> None:
        """Add the outcome of a write at the store."""
        action = message.action
        if not self.listening or not isinstance(action, Write):
            return
        who, copied = message.process.host.name, " (a copy)" if message.copy else ""
        if version is None:
            at = before.version if before else None
            self.tell("store", lambda: f"{who}'s write of {action.key}{copied} is refused: it is at {at}")
            return
        told = self.tell if _is_beat(action, before) or _is_telling(action, before) else self.chapter
        told("store", lambda: f"{action.key} = {record_line(action.key, action.value)}, by {who}{copied}")

    def text(self) -> Iterable[str]:
        """Return the whole story: first only the chapters, then the last lines in full."""
        first = self._lines[0][0] if self._lines else 0.0
        yield from (_line(*chapter) for chapter in self.chapters if chapter[0] < first)
        yield "    ... from here on in full:"
        yield from (_line(*line) for line in self._lines)


def _line(at: float, who: str, what: str) -> str:
    return f"{at:10.4f}  {who:6} {what}"


def _is_beat(action: Write, before: Entry | None) -> bool:
    if not action.key.startswith(SESSIONS) or action.value is None or before is None:
        return False
    return not decode(action.value, Session).fenced


def _is_telling(action: Write, before: Entry | None) -> bool:
    """Report whether the write changes only what people read of a group."""
    if not action.key.startswith(GROUPS) or action.value is None or before is None:
        return False
    try:
        old, new = decode(before.value, Ownership), decode(action.value, Ownership)
    except BadRecord:
        return False
    return replace(old, change=None, after=None, seq=0, writer="") == replace(
        new, change=None, after=None, seq=0, writer=""
    )


def transition_line(transition: Transition) -> str:
    """Return a role's change as a story shows it."""
    detail = f" ({transition.detail})" if transition.detail else ""
    return f"{transition.group}: {transition.before} -> {transition.after}, {transition.reason}{detail}"


def record_line(key: str, value: bytes | None) -> str:
    """Return a record in a few words."""
    if value is None:
        return "nothing"
    try:
        if key.startswith(GROUPS):
            return _ownership(decode(value, Ownership))
        if key.startswith(SESSIONS):
            session = decode(value, Session)
            return f"{session.node} beat {session.beat}" + (", fenced" if session.fenced else "")
        return "paused" if decode(value, Cluster).paused else "not paused"
    except BadRecord as problem:
        return f"garbage ({problem})"


def _ownership(owner: Ownership) -> str:
    offered = f", offered to {owner.offered_to}" if owner.offered_to else ""
    wanted = f", wanted on {owner.wanted.to or 'any other'} (epoch {owner.wanted.epoch})" if owner.wanted else ""
    return f"{owner.session or 'nobody'} epoch {owner.epoch}{offered}{wanted}"


def event_line(event: Event) -> str:
    """Return an event in a few words."""
    if isinstance(event, Listed):
        return f"Listed {event.request} sent {event.sent_at:.4f}, {len(event.entries)} records"
    return str(event)


def action_line(action: Action) -> str:
    """Return an action in a few words."""
    match action:
        case Write():
            return f"Write {action.request} {action.key} = {record_line(action.key, action.value)} if {action.expected}"
        case Run():
            return f"{action.step} {action.group} epoch {action.epoch}"
        case Arm():
            return f"Arm slot {action.slot} {' '.join(sorted(action.groups))}"
        case StartTimer():
            return f"StartTimer slot {action.slot}"
        case _:
            return str(action)
