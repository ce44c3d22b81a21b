"""Our `replace` makes the same value as `dataclasses.replace`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from controller.core.group import GroupState
from controller.core.records import Ownership, Session
from controller.core.state import Phase, State
from controller.core.values import replace


@dataclass(frozen=True, slots=True)
class One:
    only: int = 1


@dataclass(frozen=True, slots=True)
class More(One):
    more: str = "more"


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        (State(), {"phase": Phase.MEMBER, "groups": {"web": GroupState()}}),
        (GroupState(epoch=3), {"why": "checks"}),
        (Ownership(epoch=9), {}),
        (Session(node="a"), {"fenced": True}),
        (One(), {"only": 2}),
        (More(), {"only": 2}),
    ],
)
def test_a_change_makes_what_the_standard_library_makes(value: object, changes: dict[str, object]) -> None:
    before = repr(value)
    changed = replace(value, **changes)  # type: ignore[type-var]
    assert changed == dataclasses.replace(value, **changes)  # type: ignore[type-var]
    assert type(changed) is type(value)
    assert repr(value) == before


def test_what_is_no_field_is_refused() -> None:
    with pytest.raises(AttributeError):
        replace(One(), other=1)  # type: ignore[call-arg]
