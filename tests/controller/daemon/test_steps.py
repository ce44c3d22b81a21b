"""A group's steps: a bind that takes longer than one grant lasts goes on while the grant is renewed, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import replace

import pytest

from controller.core.events import Run, Step
from controller.daemon.clock import boottime
from controller.daemon.hooks import HookContext, HookRunner, run_hook
from controller.daemon.steps import GroupSteps, HookCommands
from providers.base import Grant, GuardState, ProviderError
from providers.cloud.moving import Moving
from providers.linux.unguarded import Unguarded
from tests.lab.cloud.small_cloud import Cloud, moving
from tests.lab.host.processes import LIVENESS, until

GRANT_SECONDS = 2.0


class Lasting:
    """A provider that binds at once, and notes for how long each time."""

    def __init__(self) -> None:
        self.until: list[float] = []

    async def bind(self, grant: Grant) -> None:
        self.until.append(grant.expires_at)

    async def extend(self, grant: Grant) -> None:
        self.until.append(grant.expires_at)
        raise ProviderError("an extension that fails ends no bind")


@pytest.fixture
def cloud() -> Cloud:
    """Each of its calls takes most of a grant."""
    made = Cloud()
    made.seconds = 1.4
    return made


@pytest.fixture
async def provider(cloud: Cloud) -> AsyncIterator[Moving]:
    made, _ = moving(cloud)
    yield made
    await made.close()


def steps(
    granted: Callable[[str], float | None], *providers: Moving | Lasting | Bound, hook: HookRunner = run_hook
) -> GroupSteps:
    return GroupSteps(
        group="web",
        node="n1",
        providers=providers,  # type: ignore[arg-type]  # what is not asked here is left out
        hooks=HookCommands(prepare=("start",), promote=("start",), timeout=LIVENESS),
        guard=Unguarded(),
        clock=boottime,
        granted=granted,
        hook=hook,
    )


def order(step: Step) -> Run:
    return Run("web", 1, step, boottime() + GRANT_SECONDS, "promoting", "test")


async def test_a_bind_goes_on_while_the_grant_is_renewed(cloud: Cloud, provider: Moving) -> None:
    cloud.shows_after = 1
    beside = Lasting()
    await steps(lambda _: boottime() + GRANT_SECONDS, provider, beside).run(order(Step.BIND))
    assert (cloud.asked[0], cloud.asked[-1], cloud.holder) == ("move", "look", "me")
    assert len(beside.until) > 3, "what was bound at once is kept meanwhile"
    assert beside.until == sorted(beside.until)


@pytest.mark.parametrize("granted", [lambda _: None, lambda _: 0.0])
async def test_a_bind_ends_with_a_grant_that_is_not(
    cloud: Cloud, provider: Moving, granted: Callable[[str], float | None]
) -> None:
    cloud.shows_after = 3
    with pytest.raises((TimeoutError, ProviderError)):
        await steps(granted, provider).run(order(Step.BIND))
    assert len(cloud.asked) < 3


async def test_a_refresh_ends_with_the_grant_that_it_was_ordered_with(cloud: Cloud, provider: Moving) -> None:
    """The next one comes with the next grant."""
    cloud.shows_after = 3
    with pytest.raises((TimeoutError, ProviderError)):
        await steps(lambda _: boottime() + GRANT_SECONDS, provider).run(order(Step.REFRESH))


@pytest.mark.parametrize("step", [Step.PREPARE, Step.PROMOTE])
async def test_addresses_stay_bound_while_a_hook_takes_longer_than_a_grant(step: Step) -> None:
    beside, ended = Bound(), asyncio.Event()

    async def hook(argv: Sequence[str], *, context: HookContext, timeout: float) -> None:  # noqa: ASYNC109
        assert (argv, context.group, timeout) == (("start",), "web", LIVENESS)
        await ended.wait()

    made = steps(lambda _: boottime() + 0.2, beside, hook=hook)
    running = asyncio.create_task(made.run(replace(order(step), expires_at=boottime() + 0.2)))
    await until(lambda: len(beside.until) > 2)
    ended.set()
    await running
    assert beside.until == sorted(beside.until)
    count = len(beside.until)
    await asyncio.sleep(0.3)
    assert len(beside.until) == count, "nothing is bound after the hook has ended"


async def test_a_short_hook_binds_nothing() -> None:
    beside = Bound()

    async def hook(argv: Sequence[str], *, context: HookContext, timeout: float) -> None:  # noqa: ASYNC109
        """Ends at once."""

    await steps(lambda _: boottime() + GRANT_SECONDS, beside, hook=hook).run(order(Step.PREPARE))
    assert beside.until == []


class Bound:
    """A provider that notes for how long it was told to bind each time, and fails."""

    def __init__(self) -> None:
        self.until: list[float] = []

    async def bind(self, grant: Grant) -> None:
        self.until.append(grant.expires_at)
        raise ProviderError("a refresh that fails ends no hook")


class Noting:
    """A guard and a provider that note what is asked of them, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def start(self, slot: int, seconds: float) -> None:
        """Not asked here."""

    async def arm(self, slot: int, groups: Collection[str]) -> None:
        """Not asked here."""

    async def shut(self, groups: Collection[str]) -> None:
        self.asked.append(f"shut {' '.join(groups)}")

    async def inspect(self) -> GuardState:
        return GuardState(frozenset(), None)

    async def unbind(self) -> None:
        self.asked.append("unbind")

    async def reset(self) -> None:
        self.asked.append("reset")


def noted(noting: Noting) -> GroupSteps:
    return GroupSteps(
        group="web",
        node="n1",
        providers=[noting],  # type: ignore[list-item]  # what is not asked here is left out
        hooks=HookCommands(),
        guard=noting,
        clock=boottime,
    )


async def test_a_group_is_shut_before_its_addresses_go() -> None:
    noting = Noting()
    await noted(noting).run(order(Step.SHUT))
    assert noting.asked == ["shut web", "unbind"]


async def test_connections_are_reset_when_that_is_ordered() -> None:
    """Or clients wait for their own timeouts: no RST leaves when the guard is shut."""
    noting = Noting()
    await noted(noting).run(order(Step.RESET))
    assert noting.asked == ["reset"]
