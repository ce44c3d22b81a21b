"""The working copy of one decision: the state so far, and what has been decided. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controller.core import events as ev
from controller.core.events import Step
from controller.core.group import GroupState, Reason, Role, Transition
from controller.core.records import Record, encode
from controller.core.state import Agenda, Decision, Pending, Policy, Purpose, State
from controller.core.values import replace
from controller.stores.base import Version


class Turn:
    """Collects what one call of `decide` changes and orders. Lives for that call only."""

    def __init__(self, state: State, now: float, policy: Policy) -> None:
        self.now = now
        self.policy = policy
        self.groups = dict(state.groups)
        self.state = replace(state, groups=self.groups)  # always shows the groups as they are now
        self._actions: list[ev.Action] = []
        self._transitions: list[Transition] = []
        self._failures: list[tuple[str, Exception]] = []
        self._wakes = {name: at for name, at in state.agenda.wakes.items() if name}
        self._deciding = ""  # the group that decides; empty: the node
        self._writing = {write.key for write in state.requests.pending.values()}

    def decision(self, *, all_next: bool = False) -> Decision:
        """Returns what was decided. `all_next` makes all groups decide next time: something changed after they did."""
        wakes, concerned = self._wakes, None if all_next else frozenset[str]()
        self.put(agenda=Agenda(concerned=concerned, wakes=wakes, decided_by=self.policy))
        actions, transitions, failures = tuple(self._actions), tuple(self._transitions), tuple(self._failures)
        return Decision(self.state, actions, min(wakes.values(), default=None), transitions, failures)

    def list_concerned(self) -> list[str]:
        """Returns the groups that must decide: those that an event concerns, and those whose time has come."""
        agenda = self.state.agenda
        if agenda.concerned is None or agenda.decided_by is not self.policy or not self.state.session.established:
            return list(self.groups)  # time alone can settle whether another node has our name
        due = {name for name, at in self._wakes.items() if at <= self.now}
        return [name for name in self.groups if name in due or name in agenda.concerned]

    def begin(self, name: str) -> None:
        """Makes this group the one that decides, and that `wake` applies to. Empty: the node."""
        self._deciding = name
        self._wakes.pop(name, None)

    def mark(self, name: str) -> Callable[[], None]:
        """Returns what undoes everything that is decided about this group from now on."""
        state, group = self.state, self.groups[name]
        actions, transitions = len(self._actions), len(self._transitions)

        def undo() -> None:
            self.state, self.groups[name] = state, group
            del self._actions[actions:], self._transitions[transitions:]
            self._writing = {write.key for write in state.requests.pending.values()}
            self._deciding = name

        return undo

    def report(self, name: str, error: Exception) -> None:
        """Notes that the decision about this group failed."""
        self._failures.append((name, error))

    def put(self, **changes: Any) -> None:
        """Changes parts of the node's state."""
        self.state = replace(self.state, **changes)

    def concern_all(self) -> None:
        """Makes all groups decide anew, in this turn."""
        self.put(agenda=replace(self.state.agenda, concerned=None))

    def begin_round_now(self) -> None:
        """Makes the next round begin as soon as none is under way."""
        self.state = self.state.with_round_at(self.now)

    def put_group(self, name: str, **changes: Any) -> GroupState:
        """Changes parts of one group."""
        self.groups[name] = replace(self.groups[name], **changes)
        return self.groups[name]

    def forget(self, name: str) -> None:
        """Drops the group, and the moment that it would have woken at."""
        del self.groups[name]
        self._wakes.pop(name, None)

    def act(self, action: ev.Action) -> None:
        """Orders an action."""
        self._actions.append(action)

    def wake(self, at: float | None) -> None:
        """Has the group, or the node, decide again at this moment at the latest."""
        if at is not None:
            self._wakes[self._deciding] = min(at, self._wakes.get(self._deciding, at))

    def due_or_wake(self, at: float) -> bool:
        """Returns whether this moment has come. If not, calls `wake` with it."""
        if self.now >= at:
            return True
        self.wake(at)
        return False

    def record_transition(self, name: str, after: Role, reason: Reason, detail: str) -> None:
        """Enters a role. Only `controller.core.machine` calls this: it knows which changes are legal."""
        group = self.groups[name]
        self._transitions.append(Transition(name, self.now, group.role, after, reason, detail, group.epoch))
        self.put_group(name, role=after, since=self.now)

    # --- the store ---

    def busy(self, key: str) -> bool:
        """Returns whether a write of the key is in flight. There is at most one at a time."""
        return key in self._writing

    def write(self, key: str, purpose: Purpose, record: Record | None, expected: Version | None) -> None:
        """Orders a compare-and-swap."""
        requests = self.state.requests
        number = requests.last + 1
        value = None if record is None else encode(record)
        pending = {**requests.pending, number: Pending(key, purpose, record, value)}
        self._writing.add(key)
        self.put(requests=replace(requests, last=number, pending=pending))
        self.act(ev.Write(number, key, value, expected))

    def read(self) -> None:
        """Orders a listing, unless one is under way."""
        requests = self.state.requests
        if requests.reading is None:
            number = requests.last + 1
            self.put(requests=replace(requests, last=number, reading=number, read_due=False))
            self.act(ev.Read(number))

    # --- steps ---

    def run(self, name: str, step: Step, reason: str) -> None:
        """Orders one step of a group. A step that is still running is superseded."""
        before = self.groups[name]
        group = self.put_group(name, steps=replace(before.steps, running=step))
        expires_at = self.now if group.right.expires_at is None else group.right.expires_at
        self.act(ev.Run(name, group.epoch, step, expires_at, group.role.value, reason))
