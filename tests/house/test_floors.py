"""The page with the floors agrees with the imports, and the check behind it detects an invalid plan."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
DRAWN = runpy.run_path(str(DOCS / "diagram.py"))
ORDER = [{"roof"}, {"east", "west"}, {"cellar"}]
SOUND = {"roof": {"east", "cellar"}, "east": {"cellar"}, "west": {"cellar"}, "cellar": set[str]()}


def test_the_page_is_the_one_the_imports_draw() -> None:
    assert (DOCS / "floors.md").read_text() == DRAWN["floor_plan"](), "run: make docs"


def test_a_sound_plan_has_no_problem() -> None:
    assert DRAWN["problems"](SOUND, ORDER) == []
    assert DRAWN["floors"](SOUND) == [["cellar"], ["east", "west"], ["roof"]]


@pytest.mark.parametrize(
    ("door", "imports", "problem"),
    [
        ("cellar", {"roof"}, "cellar imports roof, which is not below it"),
        ("cellar", {"east"}, "a circle: cellar -> east -> cellar"),
        ("cellar", {"roof"}, "a circle: cellar -> roof -> cellar"),
        ("west", {"east"}, "west imports east, which is not below it"),
        ("shed", {"cellar"}, "shed is in no layer of pyproject.toml"),
    ],
)
def test_a_plan_that_is_none_is_noticed(door: str, imports: set[str], problem: str) -> None:
    assert problem in DRAWN["problems"]({**SOUND, door: imports}, ORDER)


def test_a_long_circle_is_told_once() -> None:
    ring = {"a": {"b"}, "b": {"c"}, "c": {"a"}}
    assert [said for said in DRAWN["problems"](ring, []) if "circle" in said] == ["a circle: a -> b -> c -> a"]


def test_a_tenth_door_is_one_too_many() -> None:
    doors = {f"door{number}": set[str]() for number in range(10)}
    assert DRAWN["problems"](doors, [set(doors)]) == ["10 doors, at most 9 are allowed"]
    del doors["door9"]
    assert DRAWN["problems"](doors, [set(doors)]) == []


def test_the_order_is_that_of_the_linter() -> None:
    order = DRAWN["declared_order"]("providers")
    assert order[0] == {"providers.auto"}
    assert {"providers.aws", "providers.azure", "providers.gcp"} in order
