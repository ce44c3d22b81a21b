"""The contract of every provider, on any platform: see `providers.base.Provider`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import ClassVar, Final, Protocol

import pytest
import pytest_asyncio

from controller.contracts.clock import LogicalClock
from controller.contracts.rules import raises, rule
from providers.base import Closer, Finding, Grant, Lasting, Place, Provider, ProviderError, StaleGrant

GRANT_SECONDS = 3600.0  # by the logical clock, so that no test depends on speed
_TICK_SECONDS = 0.01
_FASTER = 20
CODE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")

MakeProvider = Callable[[str, LogicalClock], Provider]
"""The author's `make_provider(node, clock)`. It returns a node's provider, always of the same group.

All providers of one test share one platform, on which nothing is bound at the beginning.
"""


class OpenProvider(Protocol):
    """Makes the provider of one more node on the platform of this test. The contract closes it."""

    def __call__(self, node: str = "n1") -> Provider:
        """`node`: n1 or n2."""


def grant(clock: LogicalClock, epoch: int = 1, seconds: float = GRANT_SECONDS) -> Grant:
    """Return a grant that ends `seconds` from now."""
    return Grant("web", epoch, clock() + seconds)


async def is_here(provider: Provider) -> bool:
    """Return whether the provider's platform reports that the VIPs are here."""
    return (await provider.inspect()).place is Place.HERE


def assert_coded(findings: Iterable[Finding]) -> None:
    """Requires findings, and of each a code as `providers.base.Finding` describes it."""
    for finding in findings:
        assert isinstance(finding, Finding), f"{finding!r} is no Finding"
        assert CODE.fullmatch(finding.code), f"the code {finding.code!r} is not dotted lower-case, as in linux.guard"


@asynccontextmanager
async def passing(clock: LogicalClock) -> AsyncIterator[None]:
    """Let the clock run by itself inside the context, faster than real time."""

    async def pass_on() -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            clock.advance(_FASTER * _TICK_SECONDS)

    passing_on = asyncio.create_task(pass_on())
    try:
        yield
    finally:
        passing_on.cancel()


@pytest.mark.asyncio
class ProviderContract:
    """Subclass it, and give it the fixture `make_provider`, which returns `MakeProvider`.

    A provider whose platform several nodes share keeps `TakeoverContract` instead.
    """

    stays_after_unbind: ClassVar[bool] = False
    """Set it if the platform leads here until the next owner moves the VIPs, and only the guard refuses traffic."""

    @pytest.fixture
    def clock(self) -> LogicalClock:
        """The clock, which stands still."""
        return LogicalClock()

    @pytest_asyncio.fixture
    async def open_provider(self, make_provider: MakeProvider, clock: LogicalClock) -> AsyncIterator[OpenProvider]:
        """Make providers, and close them at the end."""
        opened: list[Provider] = []

        def open_provider(node: str = "n1") -> Provider:
            opened.append(make_provider(node, clock))
            return opened[-1]

        yield open_provider
        for provider in opened:
            if isinstance(provider, Closer):
                await provider.close()

    # --- bind

    @rule
    async def test_bound_is_inspected_as_here(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """After bind has returned, inspect must report that the VIPs are here."""
        provider = open_provider()
        await provider.bind(grant(clock))
        assert await is_here(provider)

    @rule
    async def test_bind_is_idempotent(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """Bind is idempotent: a second bind with the same grant must succeed and change nothing."""
        provider, given = open_provider(), grant(clock)
        await provider.bind(given)
        await provider.bind(given)
        assert await is_here(provider)

    @rule
    async def test_bind_is_idempotent_for_a_new_provider(
        self, open_provider: OpenProvider, clock: LogicalClock
    ) -> None:
        """Bind is idempotent: a restarted daemon must be able to bind what its previous life has bound."""
        await open_provider().bind(grant(clock))
        again = open_provider()
        await again.bind(grant(clock, epoch=2))
        assert await is_here(again)

    @rule
    async def test_a_renewed_grant_binds_on(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """Bind with a renewed grant of the same epoch must succeed, any number of times."""
        provider = open_provider()
        for _ in range(5):
            await provider.bind(grant(clock))
            clock.advance(GRANT_SECONDS / 3)
        assert await is_here(provider)

    @rule
    async def test_a_grant_that_has_ended_binds_nothing(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """Bind must raise StaleGrant when the grant has ended, and bind nothing."""
        provider, given = open_provider(), grant(clock)
        clock.advance(GRANT_SECONDS + 1)
        with raises(StaleGrant):
            await provider.bind(given)
        assert not await is_here(open_provider())

    # --- unbind

    @rule
    async def test_unbound_is_inspected_as_not_here(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """After unbind, inspect must report, without an error, that the VIPs are not here."""
        provider = open_provider()
        await provider.bind(grant(clock))
        await provider.unbind()
        assert await is_here(provider) is self.stays_after_unbind

    @rule
    async def test_unbind_of_what_was_never_bound(self, open_provider: OpenProvider) -> None:
        """Unbind must succeed when nothing is bound."""
        provider = open_provider()
        await provider.unbind()
        assert not await is_here(provider)

    @rule
    async def test_unbind_is_idempotent(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """Unbind is idempotent: a second one must succeed when nothing is bound anymore."""
        provider = open_provider()
        await provider.bind(grant(clock))
        await provider.unbind()
        await provider.unbind()
        assert await is_here(provider) is self.stays_after_unbind

    @rule
    async def test_what_was_unbound_is_bound_again(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """After unbind, bind with the grant of a later epoch must bind again."""
        provider = open_provider()
        for epoch in (1, 2, 3):
            await provider.bind(grant(clock, epoch))
            assert await is_here(provider)
            await provider.unbind()

    # --- reading

    @rule
    async def test_inspect_only_reads(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """Inspect only reads: asking where the VIPs are must not bring them here, nor take them away."""
        provider = open_provider()
        for _ in range(3):
            assert not await is_here(provider)
        await provider.bind(grant(clock))
        for _ in range(3):
            assert await is_here(provider)

    @rule
    async def test_preflight_changes_nothing(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """Preflight must return findings with a code each, and must change nothing, bound or not."""
        provider = open_provider()
        assert_coded(await provider.preflight())
        assert not await is_here(provider)
        await provider.bind(grant(clock))
        await provider.preflight()
        assert await is_here(provider)

    @rule
    async def test_getting_ready_binds_nothing(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """Extend must not bind a provider that is not bound."""
        provider = open_provider()
        if isinstance(provider, Lasting):
            await provider.extend(grant(clock))
        assert not await is_here(provider)

    @rule
    async def test_closing_leaves_what_is_bound(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """Closing a provider must raise nothing, may be done twice, and must not unbind what another life serves."""
        former = open_provider()
        await former.bind(grant(clock))
        current = open_provider()
        await current.bind(grant(clock, epoch=2))
        if isinstance(former, Closer):
            await former.close()
            await former.close()
        assert await is_here(current)


class TakeoverContract(ProviderContract):
    """`ProviderContract`, and what must hold between two nodes. It calls `make_provider` with n1 and n2."""

    @rule
    async def test_another_node_takes_over(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """Bind must take the VIPs from any node that has them, without that node's help."""
        former, owner = open_provider("n1"), open_provider("n2")
        await former.bind(grant(clock))
        await owner.bind(grant(clock, epoch=2))
        assert await is_here(owner)
        assert not await is_here(former)

    @rule
    async def test_a_late_unbind_leaves_what_is_another_s(
        self, open_provider: OpenProvider, clock: LogicalClock
    ) -> None:
        """Unbind gives up only what is still ours: what the next owner has must stay."""
        former, owner = open_provider("n1"), open_provider("n2")
        await former.bind(grant(clock))
        await owner.bind(grant(clock, epoch=2))
        await former.unbind()
        assert await is_here(owner)

    @rule
    async def test_who_never_bound_takes_nothing(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """Unbind by a node that never had the VIPs must leave them where they are."""
        owner, standby = open_provider("n1"), open_provider("n2")
        await owner.bind(grant(clock))
        await standby.unbind()
        assert await is_here(owner)

    @rule
    async def test_a_standby_that_asks_takes_nothing(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """Inspect and preflight only read: a standby that asks must leave the VIPs where they are."""
        owner, standby = open_provider("n1"), open_provider("n2")
        await owner.bind(grant(clock))
        assert not await is_here(standby)
        await standby.preflight()
        assert await is_here(owner)

    @rule
    async def test_a_former_owner_takes_nothing_back(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """Bind must raise StaleGrant when the grant has ended, and leave the VIPs with the next owner."""
        former, owner, old = open_provider("n1"), open_provider("n2"), grant(clock)
        await former.bind(old)
        clock.advance(GRANT_SECONDS + 1)
        await owner.bind(grant(clock, epoch=2))
        with raises(StaleGrant):
            await former.bind(old)
        assert await is_here(owner)

    @rule
    async def test_two_who_bind_at_once(self, open_provider: OpenProvider, clock: LogicalClock) -> None:
        """When two nodes bind at the same time, the VIPs must lead to at most one, and a later bind must decide."""
        one, two = open_provider("n1"), open_provider("n2")
        async with passing(clock):  # the node that lost polls for a while
            binding = (one.bind(grant(clock)), two.bind(grant(clock, epoch=2)))
            outcomes = await asyncio.gather(*binding, return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, ProviderError) for outcome in outcomes), outcomes
        assert [await is_here(one), await is_here(two)] != [True, True]
        await one.unbind()
        await two.bind(grant(clock, epoch=3))
        assert await is_here(two)
