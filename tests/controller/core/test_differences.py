"""In what two nodes' configurations differ, in words."""

from __future__ import annotations

import pytest

from controller.core import differences
from controller.core.differences import Facts, compare, digest
from controller.core.election import Sighting
from controller.core.machine import Policy, State
from controller.core.records import Session
from controller.core.state import Knowledge
from controller.core.timing import Timing

HERE: Facts = {"": {"lease.duration_seconds": "3"}, "web": {"vips": "10.77.0.100/24", "checks": ""}}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (HERE, []),
        ({**HERE, "web": {"vips": "10.77.0.101/24"}}, ["web: vips 10.77.0.101/24, here 10.77.0.100/24"]),
        ({**HERE, "web": {"vips": "10.77.0.100/24", "checks": "app"}}, ["web: checks app, here none"]),
        ({**HERE, "": {"lease.duration_seconds": "5"}}, ["lease.duration_seconds 5, here 3"]),
        ({**HERE, "db": {}}, ["has group db, which is not configured here"]),
        ({"": HERE[""]}, ["has no group web"]),
    ],
)
def test_a_difference_names_group_key_and_both_values(there: Facts, said: list[str]) -> None:
    assert list(compare(HERE, there)) == said
    assert (digest(there) == digest(HERE)) == (not said)


def knowing(**sessions: Session | None) -> State:
    seen = {f"sessions/{sid}": Sighting(0.0, 0.0, record=record) for sid, record in sessions.items()}
    return State(store=Knowledge(sightings=seen))


def test_only_sessions_that_say_otherwise_differ() -> None:
    policy = Policy("n1", "boot", Timing.derive(3.0), {}, config=digest(HERE), facts=HERE)
    other: Facts = {**HERE, "web": {"vips": "10.77.0.101/24", "checks": ""}}
    state = knowing(
        same=Session("n2", config=digest(HERE)),
        older=Session("n3"),
        fenced=Session("n4", fenced=True, config=digest(other)),
        missing=None,
        silent=Session("n5", config=digest(other)),
        said=Session("n6", config=digest(other), facts=other),
    )
    assert differences.find(state, policy) == {
        "silent": ("differs, and has not said yet in what",),
        "said": ("web: vips 10.77.0.101/24, here 10.77.0.100/24",),
    }
