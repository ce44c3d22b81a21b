"""A cloud's network step by step: events between two writes, and the landing of a former owner's last write.

Each schedule holds for the movers as they are, and finds movers that lack a rule (`tests.mutants.clouds`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Any

from controller.core.events import Asked
from controller.daemon.reconcile import SOON_SECONDS
from providers.cloud.moving import _AGAIN_SECONDS
from tests.mutants import clouds as mutants
from tests.simulation import azure_model
from tests.simulation.cloud import OPERATION_SECONDS
from tests.simulation.cloud_process import PERIOD_SECONDS
from tests.simulation.cloud_scene import GROUP, Scene
from tests.simulation.cloud_seeds import MECHANISMS, REPAIR_SECONDS
from tests.simulation.gcp_route_model import SPAN, WORST, Route, RoutingTable
from tests.simulation.world import Violation


def changes_hands(scene: Scene) -> None:
    """The VIP changes hands, and nothing else goes wrong."""
    scene.takes_over(scene.a, scene.b)
    scene.takes_over(scene.b, scene.a)
    scene.undone(scene.b)


def dies_between_two_writes(scene: Scene) -> None:
    """A node dies after it removed the address and before it added it. The next owner adds it."""
    verb = scene.cloud.writes[0].__name__
    scene.takes_over(scene.a, scene.b)
    scene.at(scene.b, f"call {verb}", lambda: scene.at(scene.b, f"call {verb}", scene.b.kill))
    scene.a.kill()
    scene.b.start()
    scene.until(lambda: scene.b.process is None, "b does not come to its second write")
    scene.leads_to()
    scene.takes_over(scene.a, scene.b)
    scene.undone(scene.a)


def removes_late(scene: Scene, *, heeds: bool) -> None:
    """A former owner's removal lands when the other node has the address again."""
    assert isinstance(scene.cloud, azure_model.Nics)
    scene.cloud.heeds = heeds
    scene.takes_over(scene.a, scene.b)
    scene.late(scene.b, "Put", dies=False)
    scene.takes_over(scene.b, scene.a)
    scene.takes_over(scene.a, scene.b)
    scene.lands()
    scene.leads_to(*("a" if heeds else ""))
    scene.expect(scene.cloud.seen["Put refused: stale"] == heeds, "the etag is not respected")
    scene.undone(scene.a)


def removes_once_more(scene: Scene) -> None:
    """A second removal lands when the repair of the first has ended but is not confirmed yet. The owner moves again."""
    assert isinstance(scene.cloud, azure_model.Nics)
    nics = scene.cloud.resources
    scene.takes_over(scene.a, scene.b)
    scene.run(sum(seconds for seconds in SOON_SECONDS if seconds < PERIOD_SECONDS))

    def remove() -> None:
        if nics["a"].settled and GROUP in nics["a"].content:
            scene.cloud.land(azure_model.Put("a", frozenset(), None))
        else:
            scene.at(scene.a, f"answer Get {GROUP}", remove)

    remove()
    scene.run(2 * OPERATION_SECONDS)
    scene.leads_to()
    remove()
    scene.until(lambda: GROUP in nics["a"].effective, "it is not repaired")
    scene.until(lambda: GROUP not in nics["a"].effective, "it is not removed once more")
    scene.run(_AGAIN_SECONDS + REPAIR_SECONDS)
    scene.cluster.check_led()


def leaves_late(scene: Scene) -> None:
    """A node gives the VIP up, dies and gets it back. Then its removal lands, because the fingerprint fits again."""
    scene.takes_over(scene.a, scene.b)
    scene.b.start()
    scene.run(5)
    scene.late(scene.a, "Patch")
    scene.a.post(Asked(GROUP, "b"))
    scene.serves(scene.b)
    scene.takes_over(scene.a, scene.b)
    scene.lands()
    scene.leads_to()
    scene.undone(scene.a)


def points_late(scene: Scene) -> None:
    """A former owner's last write points one of two tables to it."""
    scene.takes_over(scene.a, scene.b)
    scene.late(scene.b, "Put")
    scene.a.kill()
    scene.b.start()
    scene.until(lambda: scene.b.process is None, "b does not write")
    scene.takes_over(scene.a, scene.b)
    scene.lands()
    scene.leads_to("a", "b")
    scene.undone(scene.a)


def inserts_late(scene: Scene) -> None:
    """A former owner's late route never wins, and is deleted."""
    assert isinstance(scene.cloud, RoutingTable)
    scene.takes_over(scene.a, scene.b)
    scene.late(scene.b, "Insert")
    scene.a.kill()
    scene.b.start()
    scene.until(lambda: scene.b.process is None, "b does not insert")
    scene.takes_over(scene.a, scene.b)
    scene.lands()
    scene.expect(len(scene.cloud.to(GROUP)) == 2, "it has not landed")
    scene.leads_to("a")
    scene.undone(scene.a)


def inserts_late_before_the_count(scene: Scene) -> None:
    """The same after the numbers have wrapped around: the late route wins until it is deleted."""
    assert isinstance(scene.cloud, RoutingTable)
    scene.cluster.world.now = float(SPAN - 2 - _first_epoch() % SPAN)  # the second one after it is a multiple
    scene.takes_over(scene.a, scene.b)
    scene.late(scene.b, "Insert")
    scene.a.kill()
    scene.b.start()
    scene.until(lambda: scene.b.process is None, "b does not insert")
    scene.takes_over(scene.a, scene.b)
    scene.lands()
    numbers = [route.number for route in scene.cloud.to(GROUP)]
    scene.expect(
        numbers == [WORST, WORST - SPAN + 1],
        f"{numbers} do not wrap around",
    )
    scene.leads_to("b")
    scene.undone(scene.a)


def _first_epoch() -> int:
    """Return the first epoch when the world begins at 0. Epochs follow the time."""
    with closing(Scene("gcp.route")) as scene:
        assert isinstance(scene.cloud, RoutingTable)
        scene.takes_over(scene.a, scene.b)
        return scene.cloud.to(GROUP)[0].epoch


def finds_its_number_taken(scene: Scene) -> None:
    """A route from before the store was wiped has the number of the next epoch."""
    assert isinstance(scene.cloud, RoutingTable)
    old = Route(GROUP, 1, "b", WORST - _first_epoch() % SPAN)
    scene.cloud.routes = {old.name: old}
    scene.takes_over(scene.a, scene.b)
    scene.undone(scene.a)


def fails_to_write(scene: Scene, *, times: int) -> None:
    """A write that failed does not count and is written again."""
    scene.takes_over(scene.a, scene.b)
    scene.cloud.failures = times
    scene.takes_over(scene.b, scene.a)
    scene.undone(scene.b)


def was_frozen_before_it_wrote(scene: Scene) -> None:
    """A thread that thaws checks the grant again. Another node is the owner, so it writes nothing."""
    scene.takes_over(scene.a, scene.b)
    scene.at(scene.b, f"thread {scene.cloud.writes[0].__name__}", scene.b.freeze)
    scene.a.kill()
    scene.b.start()
    scene.until(lambda: scene.b.process is not None and not scene.b.awake, "b does not write")
    scene.a.start()
    scene.serves(scene.a)
    scene.run(2 * OPERATION_SECONDS)
    changes = len(scene.cloud.effects)
    scene.b.thaw()
    scene.run(PERIOD_SECONDS)
    scene.expect(len(scene.cloud.effects) == changes, "it has written|there is no route")
    scene.undone(scene.a)


Schedule = Callable[[Scene], None]

HOLDS: list[tuple[Schedule, str]] = [
    *((changes_hands, name) for name in MECHANISMS),
    (dies_between_two_writes, "azure.ip_config"),
    (dies_between_two_writes, "gcp.alias_ip"),
    (partial(removes_late, heeds=True), "azure.ip_config"),
    (partial(removes_late, heeds=False), "azure.ip_config"),
    (removes_once_more, "azure.ip_config"),
    (points_late, "azure.route"),
    (leaves_late, "gcp.alias_ip"),
    (inserts_late, "gcp.route"),
    (inserts_late_before_the_count, "gcp.route"),
    (finds_its_number_taken, "gcp.route"),
    *((partial(fails_to_write, times=times), name) for name in MECHANISMS if name != "aws" for times in (1, 2)),
    *((was_frozen_before_it_wrote, name) for name in MECHANISMS),
]

# The schedule, the mechanism, what the mechanism lacks, and the violation that the schedule finds.
FINDS: list[tuple[Schedule, str, dict[str, Any], str]] = [
    (inserts_late, "gcp.route", {"mover": mutants.SameNumber}, "same priority"),
    (inserts_late, "gcp.route", {"mover": mutants.BetterThanSeen}, "same priority"),
    (inserts_late, "gcp.route", {"mover": mutants.DeletesFirst}, "there is no route"),
    (inserts_late, "gcp.route", {"mover": mutants.LeavesOver}, "left over"),
    (finds_its_number_taken, "gcp.route", {"mover": mutants.NumberMayBeTaken}, "same priority"),
    (partial(fails_to_write, times=1), "gcp.route", {"mover": mutants.DeletesAtOnce}, "there is no route"),
    (partial(fails_to_write, times=2), "azure.ip_config", {"mover": mutants.TakesFailedForDone}, "led to"),
    (changes_hands, "azure.ip_config", {"mover": mutants.AddsWithoutRemoving}, "does not serve"),
    (
        changes_hands,
        "azure.ip_config",
        {"mover": mutants.AddsWithoutRemoving, "cloud": mutants.NicsThatShare},
        "a VIP is on two",
    ),
    (changes_hands, "gcp.alias_ip", {"mover": mutants.TakesWithoutAsking}, "does not serve"),
    (
        changes_hands,
        "gcp.alias_ip",
        {"mover": mutants.TakesWithoutAsking, "cloud": mutants.InterfacesThatShare},
        "a VIP is on two",
    ),
    (partial(removes_late, heeds=False), "azure.ip_config", {"process": mutants.LooksSoonOnly}, "leads to nobody"),
    (leaves_late, "gcp.alias_ip", {"process": mutants.NeverRepairs}, "leads to nobody"),
    (removes_once_more, "azure.ip_config", {"process": mutants.MovesOnce}, "leads to nobody"),
    (points_late, "azure.route", {"process": mutants.NeverLooks}, "leads to a, b"),
    (changes_hands, "azure.route", {"mover": mutants.OneTableOnly}, "does not serve"),
    *(
        (was_frozen_before_it_wrote, name, {"process": mutants.LooksAtTheGrantOnce}, "it has written|there is no route")
        for name in MECHANISMS
    ),
]


def survives(schedule: Schedule, mechanism: str, lacking: Mapping[str, Any], finds: str) -> str | None:
    """Return why the schedule does not find the missing rule, or None if it does."""
    with closing(Scene(mechanism, **lacking)) as scene:
        try:
            schedule(scene)
        except Violation as violation:
            return None if re.search(finds, str(violation)) else f"it finds {violation}, not {finds}"
    return "the schedule holds without the rule"
