"""The kinds of trouble that a seed can draw, and the clusters that meet it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from controller.core.machine import GroupPolicy
from controller.core.timing import Timing, longest_renew_deadline
from tests.simulation.cluster import HostPlan
from tests.simulation.world import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulation.world import Storm


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of trouble.

    `faults` maps each fault to its weight. `pause` is the average number of leases between two faults. The other fields
    limit the weather.
    """

    name: str
    faults: Mapping[str, int]
    pause: float = 0.7
    slow: float = 0.0
    lose: float = 0.0
    copy: float = 0.0
    fail: float = 0.0
    kernel_fail: float = 0.0
    deaf: float = 0.3
    fair: bool = False

    @property
    def deletes(self) -> bool:
        """Whether records can vanish. Then all leases must be equal, because a gap does not show its owner's lease."""
        return bool(self.faults.keys() & {"delete_group", "delete_session", "wipe", "scribble", "restore"})

    def set_weather(self, storm: Storm, rng: Random, lease: float) -> None:
        """Draw this seed's weather."""
        storm.slow, storm.lose, storm.copy = (rng.random() * most for most in (self.slow, self.lose, self.copy))
        storm.fail, storm.kernel_fail = (rng.random() * most for most in (self.fail, self.kernel_fail))
        storm.deaf = rng.choice((0.0, self.deaf, 1.0)) if self.deaf else 0.0
        storm.terse = rng.choice((0.0, 0.0, 0.5, 1.0))
        storm.slowest = rng.uniform(0.2, 3.0) * lease


EDITED = "edited"  # the configurations of the nodes differ in what their groups move
_PLANNED = {"ask": 6, "unfit": 3, "stop": 2, "pause": 1}
_BAD = {"freeze": 3, "freeze_at": 6, "kill": 4, "kill_at": 3, "cut": 4, "flush": 1, "drift": 1, "fail": 2, "reload": 2}

PROFILES = (
    Profile("calm", _PLANNED, pause=2.0, fair=True),
    Profile("frozen", {"freeze": 2, "freeze_at": 10, "ask": 2, "unfit": 1, "late_beat": 2, "late_answer": 3}, slow=0.1),
    Profile("late", {"late_give_up": 8, "late_take": 3, "late_beat": 3, "late_answer": 4, "kill_at": 3, "cut": 2}, slow=0.1),
    Profile("lives", {**_BAD, **_PLANNED, "kill": 12, "kill_at": 8, "late_give_up": 4}, copy=0.1, kernel_fail=0.05),
    Profile("network", {**_PLANNED, "cut": 6, "blind": 3, "kill": 2, "outage": 2}, slow=0.3, lose=0.3, copy=0.4, fail=0.2),
    Profile(
        "operator",
        {**_PLANNED, "delete_group": 5, "delete_session": 6, "wipe": 1, "scribble": 1, "outage": 1, "restore": 3, "kill": 3,
         "freeze_at": 3, "late_answer": 2, "late_beat": 2, "cut": 2},
        slow=0.1,
        copy=0.3,
    ),
    Profile(
        EDITED,
        {**_PLANNED, **_BAD, "edit": 25, "late_beat": 3, "late_answer": 3, "late_give_up": 2, "delete_group": 2},
        pause=0.4, slow=0.1, lose=0.05, copy=0.1, kernel_fail=0.02,
    ),
    Profile(
        "mixed",
        {**_PLANNED, **_BAD, "late_give_up": 4, "late_take": 2, "late_beat": 2, "late_answer": 3, "blind": 2, "delete_group": 1,
         "delete_session": 2, "outage": 1, "restore": 1, "scribble": 1},
        slow=0.2, lose=0.1, copy=0.1, fail=0.1, kernel_fail=0.05,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """The cluster of one seed. `timing` has the cluster's longest lease, `trip` is the usual seconds to the store."""

    profile: Profile
    timing: Timing
    hosts: list[HostPlan]
    trip: float
    faults_last: float  # seconds


def draw_setting(rng: Random, wanted: str | None = None) -> Setting:
    """Draw a cluster from the seed. `wanted` names a profile to use instead of the drawn one."""
    drawn = rng.choice(PROFILES)
    profile = next((profile for profile in PROFILES if profile.name == wanted), drawn)
    timing = _timing(rng)
    names = ["a", "b", "c", "d"][: rng.choice((2, 2, 2, 3, 3, 4))]
    groups = ["web", "db", "log"][: rng.choice((2, 2, 3) if profile.name == EDITED else (1, 1, 2, 3))]
    policies = [_policies(rng, groups, timing) for _ in names]
    for policy in policies[:2]:  # so that two different nodes can always serve
        policy.update({group: replace(p, priority=max(p.priority, 1)) for group, p in policy.items()})
    _draw_hooks(policies, Random(f"{timing} {names}"))  # drawn apart, so that it changes no other draw
    twin = len(names) > 2 and rng.random() < 0.15
    unlike = not profile.deletes and rng.random() < 0.1  # leases differ, as while an operator changes them
    hosts = [
        HostPlan(
            name,
            "b" if twin and name == names[-1] else name,
            _clock(rng, timing),
            policy,
            _scaled(timing, rng.choice((0.4, 0.7))) if unlike and rng.random() < 0.5 else timing,
        )
        for name, policy in zip(names, policies, strict=True)
    ]
    trip = min(0.005, timing.retry_period / 20) if profile.fair else rng.choice((0.002, 0.02)) * timing.retry_period
    return Setting(profile, timing, hosts, trip, rng.uniform(4, 14) * timing.lease_duration)


def _scaled(timing: Timing, factor: float) -> Timing:
    deadline = longest_renew_deadline(timing.lease_duration * factor, timing.drift, timing.overshoot)
    return Timing(timing.lease_duration * factor, deadline, deadline * 0.3, timing.drift, timing.overshoot)


def _timing(rng: Random) -> Timing:
    lease = rng.choice((5.0, 10.0, 20.0))
    drift = rng.choice((0.0005, 0.01, 0.05))
    overshoot = rng.choice((0.0, 0.05, 1.0))
    if rng.random() < 0.3:
        return Timing.derive(lease, drift=drift, overshoot=overshoot)
    deadline = longest_renew_deadline(lease, drift, overshoot)
    return Timing(lease, deadline, deadline * rng.uniform(0.2, 0.45), drift, overshoot)


def _policies(rng: Random, groups: list[str], timing: Timing) -> dict[str, GroupPolicy]:
    return {
        group: GroupPolicy(
            rng.choice((100, 100, 100, 150, 50, 0)),
            rng.random() < 0.2,
            rng.choice((0.0, rng.random() * 2 * timing.lease_duration)),
            claims=frozenset({f"{group}-1", f"{group}-2"}),
        )
        for group in groups
    }


def _draw_hooks(policies: list[dict[str, GroupPolicy]], rng: Random) -> None:
    """Give some groups the hooks that run behind a shut guard, on all machines."""
    for group in policies[0]:
        prepare, cleanup = rng.random() < 0.3, rng.random() < 0.3
        for policy in policies:
            policy[group] = replace(policy[group], prepare=prepare, cleanup=cleanup)


def _clock(rng: Random, timing: Timing) -> Clock:
    rate = rng.choice((1 - timing.drift, 1.0, 1 + timing.drift, rng.uniform(1 - timing.drift, 1 + timing.drift)))
    return Clock(rng.uniform(0, 1e6), rate)
