"""The working copy of one decision: the state so far, and what has been decided. Pure."""

from __future__ import annotations

from typing import Any

from controller.core import events as ev
from controller.core.election import View
from controller.core.events import Step
from controller.core.records import GROUPS, Ownership, Record, encode
from controller.core.state import Decision, GroupState, Pending, Policy, Purpose, Reason, Role, State, Transition
from controller.core.values import replace
from controller.stores.base import Version


class Turn:
    """Collects what one call of `decide` changes and orders. Lives for that call only."""

    def __init__(self, state: State, now: float, policy: Policy) -> None:
        self.state = state
        self.now = now
        self.policy = policy
        self.groups = dict(state.groups)
        self._actions: list[ev.Action] = []
        self._transitions: list[Transition] = []
        self._wakes = {name: at for name, at in state.wakes.items() if name}
        self._deciding = ""  # the group that decides; empty: the node
        self._writing = {write.key for write in state.pending.values()}

    def decision(self) -> Decision:
        """What was decided."""
        wakes = self._wakes
        self.put(groups=self.groups, wakes=wakes, concerned=frozenset(), decided_by=self.policy)
        return Decision(self.state, tuple(self._actions), min(wakes.values(), default=None), tuple(self._transitions))

    def concerned(self) -> list[str]:
        """The groups that have to decide: those that something happened to, and those whose time has come."""
        state = self.state
        if state.concerned is None or state.decided_by is not self.policy:
            return list(self.groups)
        due = {name for name, at in self._wakes.items() if at <= self.now}
        return [name for name in self.groups if name in due or name in state.concerned]

    def begin(self, name: str) -> None:
        """From now on this group decides (empty: the node), and wakes are its."""
        self._deciding = name
        self._wakes.pop(name, None)

    def put(self, **changes: Any) -> None:
        """Change the node's part of the state."""
        self.state = replace(self.state, **changes)

    def put_group(self, name: str, **changes: Any) -> GroupState:
        """Change one group."""
        self.groups[name] = replace(self.groups[name], **changes)
        return self.groups[name]

    def forget(self, name: str) -> None:
        """The group is no concern of this node any more; what it would have woken for is none, either."""
        del self.groups[name]
        self._wakes.pop(name, None)

    def act(self, action: ev.Action) -> None:
        """Order an action."""
        self._actions.append(action)

    def wake(self, at: float | None) -> None:
        """Decide again at this moment, at the latest."""
        if at is not None:
            self._wakes[self._deciding] = min(at, self._wakes.get(self._deciding, at))

    def due(self, at: float) -> bool:
        """Whether this moment has come; if not, wake then."""
        if self.now >= at:
            return True
        self.wake(at)
        return False

    def record_transition(self, name: str, after: Role, reason: Reason, detail: str) -> None:
        """Enter a role. Only `controller.core.machine` calls this, which knows the legal ones."""
        group = self.groups[name]
        self._transitions.append(Transition(name, self.now, group.role, after, reason, detail, group.epoch))
        self.put_group(name, role=after, since=self.now)

    # --- the store ---

    def busy(self, key: str) -> bool:
        """Whether a write of the key is in flight: one at a time."""
        return key in self._writing

    def write(self, key: str, purpose: Purpose, record: Record | None, expected: Version | None) -> None:
        """Order a compare-and-swap."""
        request = self.state.requests + 1
        value = None if record is None else encode(record)
        pending = {**self.state.pending, request: Pending(key, purpose, record, value)}
        self._writing.add(key)
        self.put(requests=request, pending=pending)
        self.act(ev.Write(request, key, value, expected))

    def read(self) -> None:
        """Order a listing, unless one is under way."""
        if self.state.reading is None:
            request = self.state.requests + 1
            self.put(requests=request, reading=request, look=False)
            self.act(ev.Read(request))

    def ownership(self, name: str) -> tuple[Ownership | None, Version | None]:
        """The group's record as last seen, and its version."""
        seen = self.state.sightings.get(GROUPS + name)
        if seen is None or not isinstance(seen.record, Ownership):
            return None, None
        return seen.record, seen.version

    @property
    def stopping(self) -> bool:
        """Whether this daemon was asked to leave."""
        return self.state.stop_by is not None

    def view(self, name: str) -> View:
        """What a judgement about the group rests on."""
        state, policy = self.state, self.policy
        assert state.session is not None
        return View(
            state.session, state.writer, state.past, state.sightings, self.now, policy.timing, policy.rules,
            policy.groups[name].priority, policy.node,
        )  # fmt: skip

    # --- steps ---

    def run(self, name: str, step: Step, reason: str) -> None:
        """Order one step of a group; one that is still running is superseded."""
        group = self.put_group(name, step=step)
        expires_at = self.now if group.expires_at is None else group.expires_at
        self.act(ev.Run(name, group.epoch, step, expires_at, group.role.value, reason))
