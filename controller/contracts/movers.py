"""The contract of every mover, tested with a scripted cloud: see `providers.cloud.mover.Mover`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Protocol

import pytest

from controller.contracts.clock import LogicalClock
from controller.contracts.providers import assert_coded
from controller.contracts.rules import raises, rule
from controller.contracts.script import Fate, Script
from providers.base import Place, ProviderError
from providers.cloud.deadline import Deadline, GrantEnd
from providers.cloud.mover import Mover, Starter, SyncCloser

MOVE_SECONDS = 60.0  # by the logical clock
BETWEEN_SECONDS = 25.0  # that an unanswered request takes, by the logical clock

MakeMover = Callable[[str, LogicalClock], Mover]
"""The author's `make_mover(node, clock)`. It returns a node's mover, always of the same group.

All movers of one test talk to one fake, which leads nowhere at the beginning and hands each request to the fixture
`script` (see `Script.serve`). Movers make every call with `Calls.run`, whose threads the author ends.
"""


class OpenMover(Protocol):
    """Makes the mover of one more node. The contract closes it."""

    def __call__(self, node: str = "n1", epoch: int = 1) -> Mover:
        """`node`: n1 or n2. `epoch`: of the promotion that its moves are for."""


@pytest.mark.asyncio
class MoverContract:
    """Subclass it, and give it the fixture `make_mover`, which returns `MakeMover` and has the fake ask `script`."""

    @pytest.fixture
    def clock(self) -> LogicalClock:
        """The clock, which stands still."""
        return LogicalClock()

    @pytest.fixture
    def script(self) -> Script:
        """The scripted cloud. The fake must hand each of its requests to `serve`."""
        return Script()

    @pytest.fixture
    def open_mover(self, make_mover: MakeMover, clock: LogicalClock) -> Iterator[OpenMover]:
        """Make movers, and close them at the end."""
        opened: list[Mover] = []

        def open_mover(node: str = "n1", epoch: int = 1) -> Mover:
            mover = make_mover(node, clock)
            if isinstance(mover, Starter):
                mover.begin(epoch)
            opened.append(mover)
            return mover

        yield open_mover
        for mover in opened:
            if isinstance(mover, SyncCloser):
                mover.close()

    # --- move

    @rule
    async def test_moved_is_seen_here(self, open_mover: OpenMover, clock: LogicalClock) -> None:
        """After move has returned, look must report that the network leads here."""
        mover = open_mover()
        await mover.move(soon(clock))
        assert await leads_here(mover, clock)

    @rule
    async def test_move_is_idempotent(self, open_mover: OpenMover, clock: LogicalClock) -> None:
        """Move is idempotent: a second one must succeed, and the network must still lead here."""
        mover = open_mover()
        await mover.move(soon(clock))
        await mover.move(soon(clock))
        assert await leads_here(mover, clock)

    @rule
    async def test_another_node_takes_over(self, open_mover: OpenMover, clock: LogicalClock) -> None:
        """Move must lead the network here from wherever it leads, without the other node's help."""
        former, owner = open_mover("n1"), open_mover("n2", epoch=2)
        await former.move(soon(clock))
        await owner.move(soon(clock))
        assert await leads_here(owner, clock)
        assert not await leads_here(former, clock)

    @rule
    async def test_no_call_after_the_grant(self, open_mover: OpenMover, script: Script, clock: LogicalClock) -> None:
        """No call may leave after the grant has ended: move must raise ProviderError, and ask nothing."""
        mover = open_mover()
        with raises(ProviderError):
            await mover.move(soon(clock, GrantEnd(clock())))
        assert not script.reads
        assert not script.writes

    @rule
    async def test_no_call_after_a_grant_that_ends_meanwhile(
        self, open_mover: OpenMover, script: Script, clock: LogicalClock
    ) -> None:
        """No call may leave after the grant has ended, not even when it ends between two calls of one move."""
        mover, asked = open_mover(), list[tuple[str, bool]]()
        end = GrantEnd(clock() + MOVE_SECONDS / 2)

        def fate(request: str, writes: bool) -> Fate:
            asked.append((request, writes))
            clock.advance(MOVE_SECONDS)
            return Fate.DROPPED

        with script.deciding(fate), raises(ProviderError):
            await mover.move(soon(clock, end, 1000 * MOVE_SECONDS))
        after = [request for n, (request, writes) in enumerate(asked) if n and (writes or asked[n] in asked[:n])]
        assert not after, f"after the first answer that did not come: {', '.join(after)}"  # reads may leave together

    @rule
    async def test_no_call_after_its_time(self, open_mover: OpenMover, script: Script, clock: LogicalClock) -> None:
        """No call may leave after its deadline, however long the grant lasts."""
        mover = open_mover()
        with raises(ProviderError):
            await mover.move(Deadline(clock(), clock))
        assert not script.reads
        assert not script.writes

    # --- failures of the cloud

    @rule
    async def test_a_refusal_is_an_error(self, open_mover: OpenMover, script: Script, clock: LogicalClock) -> None:
        """A write that the platform refuses must raise ProviderError, and the next move must succeed once it agrees."""
        mover = open_mover()
        with script.deciding(lambda _, writes: Fate.REFUSED if writes else Fate.SERVED), raises(ProviderError):
            await mover.move(soon(clock))
        assert not await leads_here(mover, clock)
        await mover.move(soon(clock))
        assert await leads_here(mover, clock)

    @rule
    async def test_a_reply_that_is_lost(self, open_mover: OpenMover, script: Script, clock: LogicalClock) -> None:
        """A write whose reply is lost may have landed: move must retry or raise ProviderError, and later succeed."""
        mover = open_mover()
        with script.deciding(_once(Fate.LOST)), suppress(ProviderError):
            await mover.move(soon(clock))
        await mover.move(soon(clock))
        assert await leads_here(mover, clock)

    @rule
    async def test_no_answer_is_no_placement(self, open_mover: OpenMover, script: Script, clock: LogicalClock) -> None:
        """No answer is not evidence of anything: a look that is not answered must raise ProviderError."""
        mover = open_mover()
        with script.deciding(_nothing(clock)), raises(ProviderError):
            await mover.look(soon(clock))

    @rule
    async def test_a_late_write_of_a_former_owner(
        self, open_mover: OpenMover, script: Script, clock: LogicalClock
    ) -> None:
        """The owner's look must show a former owner's late write, and its next move must undo that write."""
        former, owner = open_mover("n1"), open_mover("n2", epoch=2)
        with script.deciding(_once(Fate.LATE, then=Fate.REFUSED)), suppress(ProviderError):
            await former.move(soon(clock))
        await owner.move(soon(clock))
        script.land()
        if await leads_here(former, clock):
            assert not await leads_here(owner, clock)
        await owner.move(soon(clock))
        assert await leads_here(owner, clock)

    # --- reading

    @rule
    async def test_look_only_reads(self, open_mover: OpenMover, script: Script, clock: LogicalClock) -> None:
        """Look only reads: it must send no write, wherever the network leads."""
        owner, standby = open_mover("n1"), open_mover("n2", epoch=2)
        await standby.look(soon(clock))
        await owner.move(soon(clock))
        written = list(script.writes)
        assert await leads_here(owner, clock)
        assert not await leads_here(standby, clock)
        assert script.writes == written

    @rule
    async def test_preflight_changes_nothing(self, open_mover: OpenMover, clock: LogicalClock) -> None:
        """Preflight must return findings with a code each, and must not change where the network leads."""
        owner, standby = open_mover("n1"), open_mover("n2", epoch=2)
        await owner.move(soon(clock))
        assert_coded(await standby.preflight())
        assert await leads_here(owner, clock)

    # --- leave

    @rule
    async def test_leaving_may_be_done_twice(self, open_mover: OpenMover, clock: LogicalClock) -> None:
        """Leave must succeed when there is nothing of ours: before any move, and a second time."""
        mover = open_mover()
        await mover.leave(soon(clock))
        await mover.move(soon(clock))
        await mover.leave(soon(clock))
        await mover.leave(soon(clock))
        await mover.move(soon(clock))
        assert await leads_here(mover, clock)

    @rule
    async def test_leave_gives_up_only_what_is_ours(self, open_mover: OpenMover, clock: LogicalClock) -> None:
        """Leave gives up only what is still ours: what the next owner has must stay."""
        former, owner = open_mover("n1"), open_mover("n2", epoch=2)
        await former.move(soon(clock))
        await owner.move(soon(clock))
        await former.leave(soon(clock))
        assert await leads_here(owner, clock)

    # --- races

    @rule
    async def test_two_who_move_at_once(self, open_mover: OpenMover, clock: LogicalClock) -> None:
        """When two nodes move at the same time, the network must lead to at most one, and a later move must decide."""
        one, two = open_mover("n1"), open_mover("n2", epoch=2)
        outcomes = await asyncio.gather(one.move(soon(clock)), two.move(soon(clock)), return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, ProviderError) for outcome in outcomes), outcomes
        assert [await leads_here(one, clock), await leads_here(two, clock)] != [True, True]
        await two.move(soon(clock))
        assert await leads_here(two, clock)


def soon(clock: LogicalClock, grant: GrantEnd | None = None, seconds: float = MOVE_SECONDS) -> Deadline:
    """Return a deadline `seconds` from now."""
    return Deadline.within(seconds, clock, grant)


async def leads_here(mover: Mover, clock: LogicalClock) -> bool:
    """Return whether the cloud reports that the network leads to this mover's node."""
    return (await mover.look(soon(clock))).place is Place.HERE


def _once(fate: Fate, then: Fate = Fate.SERVED) -> Callable[[str, bool], Fate]:
    """Give the first write this fate and later writes the other one. Reads are answered."""
    fates = [fate]
    return lambda _, writes: (fates.pop() if fates else then) if writes else Fate.SERVED


def _nothing(clock: LogicalClock) -> Callable[[str, bool], Fate]:
    """Answer nothing, and let each request take time, so that retries come to an end."""

    def fate(_request: str, _writes: bool) -> Fate:
        clock.advance(BETWEEN_SECONDS)
        return Fate.DROPPED

    return fate
