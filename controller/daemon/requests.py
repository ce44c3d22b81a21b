"""Carries out what operators ask for, waits for the outcome, and withdraws what has failed.

What is reported as failed does not happen later. A request that has reached the store in time might have landed all the
same: then the message says so, and `anyvip status` shows what has become of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import TypeVar

from controller.api.server import Code, Moved, PauseRequest, RequestRefused
from controller.core import events as ev
from controller.core.group import Role
from controller.core.records import CLUSTER, GROUPS, SESSIONS, Ownership, Session
from controller.core.state import Phase, State
from controller.daemon.clock import Clock
from controller.daemon.node import Node

_POLL_SECONDS = 0.02  # between two requests to the store whether the new owner serves yet
_SETTLE_SECONDS = 2.0  # how long an operator waits for the withdrawal, once the request has failed

T = TypeVar("T")


class Requests:
    """The requests of operators to one node."""

    def __init__(self, node: Node, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._tickets = count(1)

    # --- pause and resume ---

    async def pause(self, request: PauseRequest, seconds: float) -> None:
        """Pause or resume the cluster, and return once a listing shows it. Raises RequestRefused."""
        ticket = next(self._tickets)
        self._node.post(
            ev.PauseAsked(request.paused, ticket, request.seconds, request.by, request.reason, round(time.time()))
        )
        withdrawn = ev.Withdrawn(ticket)
        try:
            await self._within(seconds, withdrawn, self._node.until(lambda state: _answered(state, ticket)))
        except TimeoutError as error:
            await self._give_up_pause(withdrawn, request, seconds, error)
        self._check_paused(request)

    def _check_paused(self, request: PauseRequest) -> None:
        """Raises RequestRefused if the wish was dropped without being carried out."""
        state = self._node.state
        seen = state.store.sightings.get(CLUSTER)
        if seen is not None and seen.problem:
            raise RequestRefused(Code.BAD_RECORD, f"the store's record {CLUSTER!r} cannot be read: {seen.problem}")
        if state.paused is not request.paused:
            raise RequestRefused(Code.STORE, "another request came first: see `anyvip status`")

    async def _give_up_pause(
        self, withdrawn: ev.Withdrawn, request: PauseRequest, seconds: float, late: TimeoutError
    ) -> None:
        """Wait until the withdrawal has settled. Raises RequestRefused, unless the request was carried out."""
        await self._settled(lambda state: state.wishes.withdrawn >= withdrawn.ticket and state.wishes.pause is None)
        what = "paused" if request.paused else "resumed"
        said = f"the store has not confirmed it within {seconds:g} s"
        state = self._node.state
        if state.wishes.pause is not None:
            text = f"{said}: the cluster may be {what} all the same, see `anyvip status`"
            raise RequestRefused(Code.TIMEOUT, text) from late
        if state.paused is not request.paused:
            text = f"{said}: the cluster is not {what}, and will not be by this request"
            raise RequestRefused(Code.TIMEOUT, text) from late

    # --- switchover ---

    async def switchover(self, asked: ev.Asked, before: Ownership, seconds: float) -> Moved:
        """Hand the group over, and return once the new owner serves it. Raises RequestRefused."""
        group, to = asked.group, asked.to
        began_at, ticket = self._clock(), next(self._tickets)
        withdrawn = ev.Withdrawn(ticket, group)
        self._node.post(replace(asked, ticket=ticket))
        try:
            return await self._within(seconds, withdrawn, self._wait_for_owner(group, before, began_at))
        except TimeoutError as error:
            moved = await self._give_up_switchover(withdrawn, group, before, began_at)
            if moved is not None:
                return moved
            who = to or "another node"
            late = f"{who} does not serve {group} within {seconds:g} s"
            raise RequestRefused(Code.TIMEOUT, f"{late}; {self._describe_rest(group, before)}") from error
        except RequestRefused:
            self._node.post(withdrawn)
            raise

    async def _wait_for_owner(self, group: str, before: Ownership, began_at: float) -> Moved:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            moved = self._find_moved(group, before, began_at)
            if moved is not None:
                return moved
            state = self._node.state
            if state.phase is Phase.GONE:
                raise RequestRefused(Code.STOPPING, "this daemon is stopping")
            record = record_of(state, group)
            if record is not None and record.session not in (None, before.session):
                self._node.post(ev.Hint())  # a watch reports the new owner; only a listing shows that it serves

    async def _give_up_switchover(
        self, withdrawn: ev.Withdrawn, group: str, before: Ownership, began_at: float
    ) -> Moved | None:
        """Wait until the withdrawal has settled. Returns the move if it was completed meanwhile."""
        await self._settled(
            lambda state: state.wishes.withdrawn >= withdrawn.ticket and not _is_pending(state, group, withdrawn.ticket)
        )
        return self._find_moved(group, before, began_at)

    def _describe_rest(self, group: str, before: Ownership) -> str:
        """Return what might still happen after a switchover was withdrawn."""
        state = self._node.state
        own, record = state.groups.get(group), record_of(state, group)
        leaving = own is not None and own.role is Role.DEMOTING
        if leaving or (record is not None and record.session != before.session):
            return "it is being handed over, which goes on: see `anyvip status`"
        if own is not None and own.campaign.ask is not None:
            return (
                "the store has not confirmed that the request is withdrawn, so it may happen yet: see `anyvip status`"
            )
        if before.session == state.session.id:
            return "the request is withdrawn"
        return f"the request is withdrawn; if {before.node} has just begun to hand over, that goes on"

    def _find_moved(self, group: str, before: Ownership, began_at: float) -> Moved | None:
        state = self._node.state
        record = record_of(state, group)
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

    # --- both ---

    async def _within(self, seconds: float, withdrawn: ev.Withdrawn, work: Awaitable[T]) -> T:
        """Wait for the work. Withdraws the request when its time is over, or when the client has hung up."""
        try:
            async with asyncio.timeout(seconds):
                return await work
        except (TimeoutError, asyncio.CancelledError):
            self._node.post(withdrawn)
            raise

    async def _settled(self, holds: Callable[[State], bool]) -> None:
        """Wait for this state for a moment."""
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                await self._node.until(holds)
        except TimeoutError:
            pass


def record_of(state: State, group: str) -> Ownership | None:
    """Return the group's record as this node has last seen it."""
    seen = state.store.sightings.get(GROUPS + group)
    return seen.record if seen is not None and isinstance(seen.record, Ownership) else None


def _answered(state: State, ticket: int) -> bool:
    """Return whether a pause is no longer waited for: it was carried out, dropped, or replaced by a later request."""
    wish = state.wishes.pause
    return state.wishes.heard >= ticket and (wish is None or wish.ticket != ticket)


def _is_pending(state: State, group: str, ticket: int) -> bool:
    own = state.groups.get(group)
    return own is not None and own.campaign.ask is not None and own.campaign.ask.ticket == ticket
