"""Carries out what operators ask of a running daemon: status, history, switchover, pause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from importlib.metadata import version

from controller.api.server import Code, Moved, RequestRefused
from controller.api.status import GroupView, Member, MemberGroup, NodeStatus, StoreView
from controller.config.model import Config
from controller.core import events as ev
from controller.core.election import live_sessions
from controller.core.group import GroupState, Role
from controller.core.records import GROUPS, SESSIONS, Ownership, Session, SessionId
from controller.core.state import Phase, State
from controller.daemon.clock import Clock
from controller.daemon.node import Node
from controller.daemon.redundancy import explain_unfit, find_owner, find_standbys, is_served, is_silent, list_left
from controller.telemetry.chronicle import ChronicleEntry
from controller.telemetry.history import HistoryEntry
from controller.telemetry.telemetry import Telemetry

_POLL_SECONDS = 0.02  # between two requests to the store whether the new owner serves yet


class Control:
    """Answers the requests of `controller.api.server` from the state of one node."""

    def __init__(self, node: Node, config: Callable[[], Config], clock: Clock, telemetry: Telemetry) -> None:
        self._node = node
        self._config = config
        self._clock = clock
        self._telemetry = telemetry
        self._began_at = clock()

    def status(self) -> NodeStatus:
        """Return the present status of this node."""
        state, config, now = self._node.state, self._config(), self._clock()
        live = {
            session for session, _ in live_sessions(state.store.sightings, now, self._node.policy.timing.lease_duration)
        }
        return NodeStatus(
            version=version("anyvip"),
            cluster=config.cluster,
            node=config.node,
            session=state.session.id,
            paused=state.paused,
            uptime_seconds=now - self._began_at,
            store=self._store(config, now),
            groups={name: self._group(name, config, now, live) for name in config.groups},
            members=self._members(now),
            left=list_left(state, now),
        )

    def history(self) -> list[HistoryEntry]:
        """Return the recorded transitions, oldest first."""
        return self._telemetry.history.entries()

    def chronicle(self) -> list[ChronicleEntry]:
        """Return what this node has seen of the whole cluster, oldest first."""
        return self._telemetry.chronicle.entries()

    async def switchover(self, group: str, to: str | None, by: str = "") -> Moved:
        """Hand the group over, and return once the new owner serves it. `by`: who asks. Raises RequestRefused."""
        began_at = self._clock()
        before = self._check(group, to)
        self._node.post(ev.Asked(group, to, f"{by} on {self._config().node}".strip()))
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            moved = self._find_moved(group, before, began_at)
            if moved is not None:
                return moved
            state = self._node.state
            if state.phase is Phase.GONE:
                raise RequestRefused(Code.STOPPING, "this daemon is stopping")
            record = _record(state, group)
            if record is not None and record.session not in (None, before.session):
                self._node.post(ev.Hint())  # a watch reports the new owner; only a listing shows that it serves

    async def pause(self, paused: bool) -> None:
        """Pause or resume the cluster, and return once a listing shows it."""
        self._node.post(ev.PauseAsked(paused))
        await self._node.until(lambda state: state.wishes.paused is None and state.paused is paused)

    # --- switchover ---

    def _check(self, group: str, to: str | None) -> Ownership:
        """Return the group's record before the switchover. Raises RequestRefused when the switchover is impossible."""
        state = self._node.state
        if group not in self._config().groups:
            raise RequestRefused(
                Code.UNKNOWN_GROUP, f"no group {group!r}; there is {', '.join(sorted(self._config().groups))}"
            )
        if self._node.state.stopping:
            raise RequestRefused(Code.STOPPING, "this daemon is stopping")
        if state.paused:
            raise RequestRefused(Code.PAUSED, "the cluster is paused: run `anyvip resume` first")
        if self._telemetry.reachable is False:
            raise RequestRefused(Code.STORE, f"the {self._config().store.type} store does not answer: nothing can move")
        record = _record(state, group)
        if record is None or record.session is None:
            raise RequestRefused(Code.NOBODY_ACTIVE, f"no node is active for {group}, so there is nothing to hand over")
        if to is not None and record.node == to:
            raise RequestRefused(Code.ALREADY_ACTIVE, f"{to} is already active for {group}")
        self._check_target(group, to, record)
        return record

    def _check_target(self, group: str, to: str | None, record: Ownership) -> None:
        members = [member for member in self._members(self._clock()) if member["session"] != record.session]
        named = [member for member in members if to in (None, member["node"])]
        live = [member for member in named if member["live"] is not False]
        fit = [m for m in live if group in m["groups"] and m["groups"][group]["healthy"] and m["campaigning"]]
        who = to or "another node"
        if not named:
            nodes = ", ".join(sorted(member["node"] for member in members)) or "no other node"
            unknown = "" if to is None else f"no node {to!r}; "
            raise RequestRefused(Code.UNKNOWN_NODE, f"{unknown}there is {nodes} to hand over to")
        if not live:
            raise RequestRefused(Code.NOT_LIVE, f"{who} has not renewed its session for a whole lease")
        if not any(m["groups"][group]["priority"] > 0 for m in fit):
            raise RequestRefused(Code.NOT_HEALTHY, f"{who} is not fit to serve {group}: see `anyvip status` there")

    def _find_moved(self, group: str, before: Ownership, began_at: float) -> Moved | None:
        state = self._node.state
        record = _record(state, group)
        if record is None or record.session is None or record.session == before.session:
            return None
        seen = state.store.sightings.get(f"{SESSIONS}{record.session}")
        session = seen.record if seen is not None else None
        if not isinstance(session, Session):
            return None
        member = session.groups.get(group)
        own = state.groups.get(group)
        here = record.session == state.session.id and own is not None and own.role is Role.ACTIVE
        if not here and (member is None or member.serving != record.epoch):
            return None
        return Moved(group, before.node, session.node, record.epoch, self._clock() - began_at)

    # --- status ---

    def _store(self, config: Config, now: float) -> StoreView:
        contact = self._telemetry.contact_at
        return StoreView(
            type=config.store.type,
            reachable=self._telemetry.reachable is True,
            contact_seconds=None if contact is None else now - contact,
            cut_off_since=self._telemetry.cut_off_since,
            error=self._telemetry.store_error,
        )

    def _group(self, name: str, config: Config, now: float, live: Collection[SessionId]) -> GroupView:
        state, lease = self._node.state, self._node.policy.timing.lease_duration
        group = state.groups.get(name, GroupState())
        last = self._telemetry.history.last(name)
        return GroupView(
            role=group.role.value,
            role_seconds=max(0.0, now - (group.since or self._began_at)),
            reason=last["reason"] if last else "",
            detail=last["detail"] if last else "",
            active=find_owner(state, name, now, lease),
            epoch=group.epoch,
            vips=[str(vip) for vip in config.groups[name].vips],
            priority=config.groups[name].priority,
            healthy=group.healthy,
            why=group.why,
            grant_seconds_left=None if group.right.expires_at is None else max(0.0, group.right.expires_at - now),
            waits_for=self._waits_for(name, group, live),
            error=group.steps.error,
            served=is_served(state, name, now, lease),
            standbys=find_standbys(state, name, now, lease),
            not_standby=explain_unfit(state, name, now, lease),
        )

    def _waits_for(self, name: str, group: GroupState, live: Collection[SessionId]) -> str:
        """Return why this standby does not take the group; empty while the group has an owner that renews."""
        state = self._node.state
        seen, record = state.store.sightings.get(GROUPS + name), _record(state, name)
        if seen is not None and seen.problem:
            return seen.problem
        renewed = record is not None and record.session in live
        return "" if renewed or group.role is not Role.STANDBY else group.campaign.waits_for

    def _members(self, now: float) -> list[Member]:
        state, lease = self._node.state, self._node.policy.timing.lease_duration
        members = []
        for key, seen in sorted(state.store.sightings.items()):
            record = seen.record
            if not isinstance(record, Session) or record.fenced:
                continue
            groups = {
                name: MemberGroup(priority=m.priority, healthy=m.healthy, serving=m.serving)
                for name, m in record.groups.items()
            }
            session, silent = key.removeprefix(SESSIONS), is_silent(state, seen.since, now, lease)
            members.append(
                Member(
                    node=record.node,
                    session=session,
                    here=session == state.session.id,
                    live=None if silent is None else not silent,
                    seen_seconds=now - seen.since,
                    campaigning=record.campaigning,
                    groups=groups,
                )
            )
        return members


def _record(state: State, group: str) -> Ownership | None:
    seen = state.store.sightings.get(GROUPS + group)
    return seen.record if seen is not None and isinstance(seen.record, Ownership) else None
