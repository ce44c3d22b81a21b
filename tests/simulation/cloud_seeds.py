"""One seed in one cloud's network: a troubled cluster, then a calm one in which a former owner's old requests land."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from multiprocessing import Pool
from random import Random
from traceback import format_exc
from typing import TYPE_CHECKING, Any

from providers.cloud.moving import _AGAIN_SECONDS
from tests.simulation import aws_model, azure_model, gcp_model, gcp_route_model
from tests.simulation.cloud import (
    LATE_SECONDS,
    OPERATION_SECONDS,
    USUAL_SECONDS,
    Cloud,
    Mover,
    Refused,
    Request,
    Steps,
)
from tests.simulation.cloud_process import MOVE_SECONDS, PERIOD_SECONDS, CloudCluster, CloudProcess
from tests.simulation.faults import Faults
from tests.simulation.mutant import Mutant
from tests.simulation.process import Trap
from tests.simulation.profiles import Setting, draw_setting
from tests.simulation.seeds import settled_after
from tests.simulation.world import Storm, Violation, Weather, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.simulation.cluster import HostPlan
    from tests.simulation.host import Host

# The time for a look, for a move of two operations that reads up to four machines, and for the look that confirms it.
REPAIR_SECONDS = 30 * USUAL_SECONDS + 4 * OPERATION_SECONDS


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One provider: the model of the network, the model of its mover, and the daemon that runs them."""

    name: str
    cloud: type[Cloud]
    mover: type[Mover]
    late: int = 1  # how many writes of one move can land after the next owner's, one after the other
    process: type[CloudProcess] = CloudProcess


MECHANISMS = {
    each.name: each
    for each in (
        Mechanism("aws", aws_model.Aws, aws_model.Assigner),
        Mechanism("azure.ip_config", azure_model.Nics, azure_model.IpConfig, late=2),
        Mechanism("azure.route", azure_model.Tables, azure_model.Route, late=2),
        Mechanism("gcp.alias_ip", gcp_model.Interfaces, gcp_model.AliasIp, late=2),
        Mechanism("gcp.route", gcp_route_model.RoutingTable, gcp_route_model.Routes),
    )
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a seed.

    `broken` names what did not hold, or is None if everything held. `seen` counts what happened in the network.
    """

    mechanism: str
    seed: int
    broken: str | None
    seen: Counter[str] = field(repr=False)
    story: tuple[str, ...] = field(default=(), repr=False)


class CloudFaults(Faults):
    """Faults that also freeze and kill daemons between calls to the cloud."""

    def _trap(self, host: Host, spring: Callable[[], None]) -> None:
        cluster = self._cluster
        assert isinstance(cluster, CloudCluster)
        if self._rng.random() < 0.5:
            super()._trap(host, spring)
        else:
            kind = self._rng.choice(("call", "answer", "thread"))
            verbs = ("", *(request.__name__ for request in cluster.cloud.writes))
            host.trap(Trap(kind, "" if kind == "thread" else self._rng.choice(verbs), spring))


def build(
    mechanism: Mechanism, hosts: list[HostPlan], weather: Weather, rng: Random, *, listening: bool = False
) -> CloudCluster:
    """Build a cluster in the network of this mechanism."""
    mutant = Mutant("cloud", "", "", process=mechanism.process)
    cluster = CloudCluster(World(), hosts, weather, mutant, listening=listening)
    cluster.cloud = mechanism.cloud(cluster.world, rng, tuple(cluster.hosts), cluster.story)
    cluster.mover = mechanism.mover
    return cluster


def run_seed(seed: int, mechanism: Mechanism, *, listening: bool = False) -> Outcome:
    """Run one seed to its end or to its first violation."""
    rng = Random(seed)
    setting = draw_setting(rng)
    storm = Storm(rng, setting.trip)
    cluster = build(mechanism, setting.hosts, storm, rng, listening=listening)
    broken = None
    try:
        _live_through(cluster, CloudFaults(cluster, setting, storm, rng), setting, mechanism.late, rng)
    except Violation as violation:
        broken = f"at {cluster.world.now:.4f}: {violation}"
    except Exception as error:  # noqa: BLE001  (any error of the core is a finding)
        broken = f"at {cluster.world.now:.4f}: {error!r}\n{format_exc()}"
    finally:
        cluster.close()
    story = tuple(cluster.story.text()) if listening else ()
    return Outcome(mechanism.name, seed, broken, cluster.cloud.seen, story)


def run_seeds(seeds: Iterable[int], mechanisms: Iterable[Mechanism]) -> list[Outcome]:
    """Run each seed with each mechanism, in two processes."""
    with Pool(2) as pool:
        return pool.starmap(run_seed, product(seeds, mechanisms), chunksize=2)


def _live_through(cluster: CloudCluster, faults: Faults, setting: Setting, late: int, rng: Random) -> None:
    world = cluster.world
    faults.begin()
    world.run(setting.faults_last)
    faults.heal()
    cluster.cloud.troubled = False
    world.run(world.now + 2 * LATE_SECONDS + settled_after(setting))  # all requests land and take effect
    settle(cluster, longer=_undoing(cluster))
    for group in cluster.groups:
        land_late(cluster, group, 1, rng)
        settle(cluster)
    for group in cluster.groups:
        land_late(cluster, group, late, rng)
    world.run(world.now + LATE_SECONDS)
    settle(cluster, longer=_AGAIN_SECONDS + _undoing(cluster))


def _undoing(cluster: CloudCluster) -> float:
    """Return the seconds until all groups stay moved.

    Groups that move at the same time can undo each other's moves, so each period settles only one of them.
    """
    return cluster.cloud.overwrites * (len(cluster.groups) - 1) * (PERIOD_SECONDS + MOVE_SECONDS)


def land_late(cluster: CloudCluster, group: str, writes: int, rng: Random) -> None:
    """Let this many writes of a former owner of the group land from now on."""
    owner = cluster.invariants.serving()[group]
    former = rng.choice([name for name in cluster.hosts if name != owner])
    process = cluster.hosts[owner].process
    assert isinstance(process, CloudProcess)
    Ghost(cluster, former, group, process.epoch(group) - 1, writes).go_on()


def settle(cluster: CloudCluster, longer: float = 0.0) -> None:
    """Wait one period, then check that everything is as it should be.

    `longer` adds seconds for a write that lands while a repair waits to be confirmed, so that the daemon moves again.
    """
    cluster.world.run(cluster.world.now + PERIOD_SECONDS + REPAIR_SECONDS + longer)
    cluster.invariants.check_settled()
    cluster.check_led()


class Ghost:
    """The late calls of a former owner: a number of writes, each as early as possible after the one before."""

    def __init__(self, cluster: CloudCluster, host: str, group: str, epoch: int, writes: int) -> None:
        self._cluster = cluster
        mover = cluster.mover_for(host, group)
        mover.epoch = epoch
        self._steps: Steps[Any] = mover.move()
        self._writes = writes

    def go_on(self, answer: object = None) -> None:
        """Continue the former owner's steps with an answer, until its writes are used up."""
        try:
            said = self._steps.throw(answer) if isinstance(answer, Refused) else self._steps.send(answer)
        except (StopIteration, Refused):
            return
        if not isinstance(said, Request):
            self._cluster.world.after(said, self.go_on)
            return
        self._writes -= said.writes
        if self._writes >= 0:
            self.go_on(self._cluster.cloud.land(said))
