"""One seed: a cluster, its faults, and what must hold during and after them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from traceback import format_exc

from tests.simulation.cluster import Cluster
from tests.simulation.faults import Faults
from tests.simulation.mutant import NONE, Mutant
from tests.simulation.profiles import Setting, draw_setting
from tests.simulation.world import Storm, Violation, World


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a seed.

    `broken` names what did not hold, or is None if everything held. `cluster_seconds` is the time that passed.
    """

    seed: int
    profile: str
    broken: str | None
    cluster_seconds: float
    story: tuple[str, ...] = ()


def settled_after(setting: Setting) -> float:
    """Return the seconds after the last fault by which each group must have exactly one owner.

    One lease to watch the sessions left behind, one if a record is missing or the store went back, one for a session
    that is fenced in between, and some rounds for turns and writes.
    """
    return 3 * setting.timing.lease_duration * (1 + setting.timing.drift) + 10 * setting.timing.retry_period


def run_seed(seed: int, mutant: Mutant = NONE, *, profile: str | None = None, listening: bool = False) -> Outcome:
    """Run one seed to its end or to its first violation."""
    rng = Random(seed)
    setting = draw_setting(rng, profile)
    world = World()
    storm = Storm(rng, setting.trip)
    cluster = Cluster(world, setting.hosts, storm, mutant, listening=listening)
    cluster.fair = setting.profile.fair
    broken = None
    try:
        _live_through(cluster, Faults(cluster, setting, storm, rng), setting)
    except Violation as violation:
        broken = f"at {world.now:.4f}: {violation}"
    except Exception as error:  # noqa: BLE001  (any error of the core is a finding)
        broken = f"at {world.now:.4f}: {type(error).__name__}: {error}\n{format_exc()}"
    finally:
        cluster.close()
    story = (*_cast(seed, setting), *cluster.story.text(), broken or "every promise held") if listening else ()
    return Outcome(seed, setting.profile.name, broken, world.now, story)


def _live_through(cluster: Cluster, faults: Faults, setting: Setting) -> None:
    faults.begin()
    cluster.world.run(setting.faults_last)
    faults.heal()
    cluster.world.run(setting.faults_last + settled_after(setting))
    cluster.invariants.check_settled()
    serving = cluster.invariants.serving()
    cluster.world.run(cluster.world.now + cluster.timing.lease_duration)
    cluster.invariants.check_settled()
    preempting = any(policy.preempt for plan in setting.hosts for policy in plan.groups.values())
    if not preempting and cluster.invariants.serving() != serving:
        raise Violation(f"without any event, {serving} became {cluster.invariants.serving()}")


def _cast(seed: int, setting: Setting) -> tuple[str, ...]:
    timing = setting.timing
    hosts = (
        f"  {plan.name}: node {plan.node}, clock rate {plan.clock.rate:.4f}, lease {plan.timing.lease_duration}, "
        + ", ".join(f"{name} {policy}" for name, policy in plan.groups.items())
        for plan in setting.hosts
    )
    return (f"seed {seed}, profile {setting.profile.name}", f"  {timing}", *hosts)
