"""A thousand troubled clusters in a cloud's network: in the end it leads to whoever serves, late calls or not."""

from __future__ import annotations

import os
from functools import partial
from multiprocessing import Pool
from random import Random
from traceback import format_exc
from typing import TYPE_CHECKING

from tests.simulation.cloud import (
    LATE_SECONDS,
    PERIOD_SECONDS,
    USUAL_SECONDS,
    Careless,
    CloudCluster,
    CloudProcess,
    Network,
)
from tests.simulation.faults import Faults
from tests.simulation.mutants import Mutant
from tests.simulation.profiles import draw_setting
from tests.simulation.seeds import settled_after
from tests.simulation.world import Storm, Violation, World

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulation.process import Process

SEEDS = int(os.environ.get("ANYVIP_CLOUD_SEEDS", "12"))
REPAIR_SECONDS = 10 * USUAL_SECONDS  # a look, a move, and a look that it shows


def run(seed: int, process: type[Process] = CloudProcess) -> str | None:
    """What did not hold; None if everything did."""
    rng = Random(seed)
    setting = draw_setting(rng)
    world, storm = World(), Storm(rng, setting.trip)
    cluster = CloudCluster(world, setting.hosts, storm, Mutant("cloud", "", "", process=process))
    cluster.cloud = Network(rng)
    try:
        faults = Faults(cluster, setting, storm, rng)
        faults.begin()
        world.run(setting.faults_last)
        faults.heal()
        cluster.cloud.troubled = False
        world.run(world.now + LATE_SECONDS + settled_after(setting))
        settle(cluster)
        land_late(cluster, rng)
        settle(cluster)
    except Violation as violation:
        return f"at {world.now:.4f}: {violation}"
    except Exception as error:  # noqa: BLE001  (whatever the core raises is a finding)
        return f"at {world.now:.4f}: {error!r}\n{format_exc()}"
    return None


def settle(cluster: CloudCluster) -> None:
    """One period later all is as it should be."""
    cluster.world.run(cluster.world.now + PERIOD_SECONDS + REPAIR_SECONDS)
    cluster.invariants.check_settled()
    cluster.check_led()


def land_late(cluster: CloudCluster, rng: Random) -> None:
    """A call that somebody else sent five seconds ago lands now, after all is calm."""
    for group, owner in cluster.invariants.serving().items():
        others = [name for name in cluster.hosts if name != owner]
        cluster.cloud.land(cluster.world.now, group, rng.choice(others))


def broken(seeds: Iterable[int], process: type[Process] = CloudProcess) -> list[tuple[int, str]]:
    with Pool(2) as pool:
        found = zip(seeds, pool.imap(partial(run, process=process), seeds, chunksize=5), strict=True)
        return [(seed, what) for seed, what in found if what is not None]


def test_the_network_leads_to_whoever_serves() -> None:
    assert broken(range(SEEDS)) == []


def test_who_never_looks_again_is_found_out() -> None:
    found = broken(range(3), Careless)
    assert len(found) == 3  # a late call stays for ever
    assert "the network leads to" in found[0][1]
