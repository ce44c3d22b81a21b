"""Draws the roles of a node and the floors of the code. `python docs/diagram.py` writes roles.md and floors.md.

The roles come from `controller.core.machine.TRANSITIONS`, the floors from the imports. A circle, an import that does
not run down, and too many doors to a folder are errors. Tests compare both pages with what this draws.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import grimp

from controller.core.machine import TRANSITIONS, Role

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

DOCS = Path(__file__).parent
ROOT = DOCS.parent
FOLDERS = ("controller", "providers")
MOST_DOORS = 9

_ROLES = """# Roles

A node has one role in each group. The diagram shows every change of role that can happen. `make docs` generates this
page from `controller/core/machine.py`, which asserts that each change is one of these.

```mermaid
stateDiagram-v2
    [*] --> {first}
"""

_MEANING = {
    Role.INIT: "The node has no session yet, or no check has answered yet.",
    Role.STANDBY: "The node is fit and would take over.",
    Role.PROMOTING: "The node owns the group. It binds, runs the prepare hook, arms the guard, announces and runs the "
    "promote hook.",
    Role.ACTIVE: "The node serves. Only in this role does the health endpoint answer 200.",
    Role.DEMOTING: "The node answers 503, runs the demote hook, resets connections, shuts the guard, runs the "
    "cleanup hook and releases the group. If it has already lost the right to serve, it shuts the guard first.",
    Role.FAULT: "The node is unfit: a check fails, its priority is 0, another live session has its name, or a bug "
    "stopped the decision about the group.",
    Role.PAUSED: "The cluster is paused, and the node does not own the group.",
}

_FLOORS = """# Floors

A door is a package or a file directly under `controller/` or `providers/`. This page shows which doors import which: a
door stands one floor above the highest door that it imports. `make docs` generates the page from the imports. It fails
when imports form a circle, when an import does not run down the layers in `pyproject.toml`, and when a folder has more
than {most} doors.

`controller` also imports `providers` and `health`. These two import neither `controller` nor each other, except that
`providers.base` imports `health.errors`, the root of the project's errors.
"""


class FloorPlanError(Exception):
    """The imports break the rules of the floor plan; each line names one problem."""


def diagram() -> str:
    """Render the page with the roles."""
    lines = [f"    {before} --> {after}" for before in Role for after in sorted(TRANSITIONS[before])]
    table = [f"| {role} | {_MEANING[role]} |" for role in Role]
    return "\n".join(
        [_ROLES.format(first=Role.INIT) + "\n".join(lines), "```", "", "| role | meaning |", "|---|---|", *table, ""]
    )


def floor_plan() -> str:
    """Render the page with the floors. Raises FloorPlanError."""
    graph = grimp.build_graph(*FOLDERS)
    plans = {folder: imports_between(graph, folder) for folder in FOLDERS}
    found = [problem for folder, plan in plans.items() for problem in problems(plan, declared_order(folder))]
    if found:
        raise FloorPlanError("\n".join(found))
    return "\n".join([_FLOORS.format(most=MOST_DOORS), *(_section(folder, plan) for folder, plan in plans.items())])


def imports_between(graph: grimp.ImportGraph, folder: str) -> dict[str, frozenset[str]]:
    """Map each door of the folder to the doors that something behind it imports."""
    doors = graph.find_children(folder)
    return {
        door: frozenset(
            other
            for other in doors - {door}
            if graph.direct_import_exists(importer=door, imported=other, as_packages=True)
        )
        for door in sorted(doors)
    }


def declared_order(folder: str) -> list[frozenset[str]]:
    """Return the folder's layers as the import linter's contract in pyproject.toml has them, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = (
        contract["layers"]
        for contract in settings["contracts"]
        if contract["type"] == "layers" and contract["layers"][0].startswith(f"{folder}.")
    )
    return [frozenset(layer.replace("|", " ").split()) for layer in layers]


def problems(imports: Mapping[str, Collection[str]], order: Sequence[Collection[str]]) -> list[str]:
    """Return what is wrong with a floor plan, one line each. Pure.

    `imports`: for each door the doors that it imports. `order`: the layers from the highest to the lowest.
    """
    layer = {door: number for number, doors in enumerate(order) for door in doors}
    return [
        *([f"{len(imports)} doors, at most {MOST_DOORS} are allowed"] if len(imports) > MOST_DOORS else []),
        *(f"{door} is in no layer of pyproject.toml" for door in imports if door not in layer),
        *(f"a circle: {' -> '.join(way)}" for way in _circles(imports)),
        *(
            f"{door} imports {other}, which is not below it"
            for door, others in imports.items()
            for other in sorted(others)
            if door in layer and other in layer and layer[other] <= layer[door]
        ),
    ]


def floors(imports: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Sort the doors by floor, the lowest first. The plan must have no circle. Pure."""
    height: dict[str, int] = {}

    def climb(door: str) -> int:
        if door not in height:
            height[door] = 1 + max(map(climb, imports[door]), default=-1)
        return height[door]

    found: list[list[str]] = [[] for _ in range(1 + max(map(climb, imports), default=-1))]
    for door in sorted(imports):
        found[height[door]].append(door)
    return found


def _circles(imports: Mapping[str, Collection[str]]) -> Iterator[list[str]]:
    """Yield one circle for each door that is on one and comes first in it by name."""
    for start in sorted(imports):
        ways = [[start]]
        seen: set[str] = set()
        while ways:
            way = ways.pop(0)
            for door in sorted(imports.get(way[-1], ())):
                if door == start:
                    yield [*way, start]
                    ways.clear()
                    break
                if door > start and door not in seen:
                    seen.add(door)
                    ways.append([*way, door])


def _section(folder: str, imports: Mapping[str, Collection[str]]) -> str:
    numbered = list(enumerate(floors(imports)))[::-1]
    boxes = [
        line
        for number, doors in numbered
        for line in (f"    subgraph floor{number} [floor {number}]", *(f"        {_name(d)}" for d in doors), "    end")
    ]
    arrows = [f"    {_name(door)} --> {_name(other)}" for door in imports for other in sorted(imports[door])]
    rows = [
        f"| {number} | `{_name(door)}` | {_purpose(door)} | {', '.join(map(_name, sorted(imports[door])))} |"
        for number, doors in numbered
        for door in doors
    ]
    return "\n".join(
        [
            f"## {folder}/",
            "",
            f"{len(imports)} doors on {len(numbered)} floors, {len(arrows)} imports between them.",
            "",
            *("```mermaid", "flowchart TB", *boxes, *arrows, "```", ""),
            *("| floor | door | what it holds | imports |", "|---|---|---|---|", *rows, ""),
        ]
    )


def _name(door: str) -> str:
    return door.rpartition(".")[2]


def _purpose(door: str) -> str:
    """Return the first line of the door's docstring."""
    path = ROOT / door.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].replace("|", "\\|")


def main() -> None:
    """Write both pages. Exits with code 1 and the problems if the floor plan breaks a rule."""
    (DOCS / "roles.md").write_text(diagram(), encoding="utf-8")
    try:
        (DOCS / "floors.md").write_text(floor_plan(), encoding="utf-8")
    except FloorPlanError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
