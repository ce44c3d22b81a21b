"""Claims on one address, searched exhaustively: two sessions, two group names, every order of steps. Pure.

A session names in its record the group under which it claims the address. A step of the store's is three steps here:
the request leaves, it takes effect, the reply arrives. There is no clock: whoever is slow may be slow for ever. The
election is abstracted to what it guarantees: a group's record names one owner, and a session is fenced only when its
guard has ended.

`search` returns the shortest trace to a state in which both sessions let the address pass, or None. The rules are those
of `controller.core.rules`; a subclass weakens one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

NONE = "-"
GROUPS = ("g", "h")


class ClaimRules:
    """What a session must know before it opens the guard for the address."""

    def look_counts(self, *, fresh: bool) -> bool:
        """A listing counts only if it was sent after the claim had landed."""
        return fresh

    def needs_clear(self) -> bool:
        """A guard is opened only under a claim that was looked at and found alone."""
        return True

    def blocks(self, other: Seen, name: str, met: bool) -> bool:
        """Another session blocks while it may serve the address under another name."""
        if other.fenced:
            return False
        if other.present:
            return other.claim not in (NONE, name)
        return self.missing_blocks() and (met or other.owns not in (NONE, name))

    def missing_blocks(self) -> bool:
        """A session whose record is missing blocks what it was seen to claim, and what a group's record gives it."""
        return True

    def may_change_claim(self, opened: str) -> bool:
        """A claim is given up only when the guard is shut."""
        return opened == NONE

    def serves_renamed(self) -> bool:
        """Whether a node that serves goes on under a new name without a claim. It must not."""
        return False


@dataclass(frozen=True, slots=True)
class Seen:
    """What a listing shows of the other session."""

    claim: str
    present: bool
    fenced: bool
    owns: str


@dataclass(frozen=True, slots=True)
class Node:
    """One session, and its record in the store (`claim`, `present`, `fenced`)."""

    name: str  # the group that the configuration has the address in
    said: str = NONE  # the claim that is known to have landed
    clear: bool = False
    opened: str = NONE
    writing: str | None = None  # a claim on its way
    looking: tuple[bool, Seen] | None = None  # whether no claim has landed since the listing left, and what it reads
    met: bool = False  # the other's record was seen
    claim: str = NONE
    present: bool = True
    fenced: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """Both sessions, who owns each group, and how many edits and deletions are left."""

    nodes: tuple[Node, Node]
    owners: tuple[int | None, int | None] = (None, None)
    edits: int = 1
    deletions: int = 1


def search(rules: ClaimRules, most: int = 5_000_000) -> tuple[list[str] | None, int]:
    """Return the shortest trace that breaks exclusion, or None, and how many states were searched."""
    first = World((Node("g"), Node("g")))
    came: dict[World, tuple[World, str] | None] = {first: None}
    todo = deque([first])
    while todo:
        world = todo.popleft()
        if all(node.opened != NONE for node in world.nodes):
            return _trace(came, world), len(came)
        for step, after in _steps(world, rules):
            if after not in came:
                came[after] = (world, step)
                todo.append(after)
        assert len(came) <= most, "the model has grown"
    return None, len(came)


def _trace(came: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    steps: list[str] = []
    while (before := came[world]) is not None:
        world, step = before
        steps.append(step)
    return steps[::-1]


def _steps(world: World, rules: ClaimRules) -> Iterator[tuple[str, World]]:
    for i in (0, 1):
        for step, after in _moves(world, i, rules):
            yield f"{'AB'[i]} {step}", after
    if world.deletions:
        yield from _deletions(world)


def _put(world: World, i: int, node: Node) -> World:
    nodes = (node, world.nodes[1]) if i == 0 else (world.nodes[0], node)
    return replace(world, nodes=nodes)


def _moves(world: World, i: int, rules: ClaimRules) -> Iterator[tuple[str, World]]:
    node = world.nodes[i]
    if world.edits:
        renamed = replace(node, name="h" if node.name == "g" else "g")
        if rules.serves_renamed() and node.opened != NONE:
            renamed = replace(renamed, opened=renamed.name)
        yield f"is edited: {renamed.name}", replace(_put(world, i, renamed), edits=world.edits - 1)
    if node.fenced:
        return
    yield from ((step, _put(world, i, after)) for step, after in _claim(node, rules))
    yield from ((step, _put(world, i, after)) for step, after in _look(world, i, rules))
    yield from _serve(world, i, rules)


def _claim(node: Node, rules: ClaimRules) -> Iterator[tuple[str, Node]]:
    if node.writing is not None:
        if node.present:
            looking = None if node.looking is None else (False, node.looking[1])
            yield (
                f"lands claim {node.writing}",
                replace(node, writing=None, claim=node.writing, said=node.writing, looking=looking),
            )
    elif rules.may_change_claim(node.opened):
        for claim in {NONE, node.name} - {node.said}:
            yield f"sends claim {claim}", replace(node, writing=claim, clear=False)


def _look(world: World, i: int, rules: ClaimRules) -> Iterator[tuple[str, Node]]:
    node, other = world.nodes[i], world.nodes[1 - i]
    if node.looking is None:
        owns = next((name for name, owner in zip(GROUPS, world.owners, strict=True) if owner == 1 - i), NONE)
        if not node.clear and (node.said != NONE or rules.look_counts(fresh=False)):
            seen = Seen(other.claim, other.present, other.fenced, owns)
            yield "lists", replace(node, looking=(True, seen))
        return
    fresh, seen = node.looking
    counts = node.writing is None and node.said != NONE and rules.look_counts(fresh=fresh)
    clear = node.clear or (counts and not rules.blocks(seen, node.said, node.met))
    yield "hears the listing", replace(node, looking=None, clear=clear, met=node.met or seen.present)


def _serve(world: World, i: int, rules: ClaimRules) -> Iterator[tuple[str, World]]:
    node, other = world.nodes[i], world.nodes[1 - i]
    if node.opened != NONE:
        yield "shuts", _put(world, i, replace(node, opened=NONE))
    for at, name in enumerate(GROUPS):
        owner = world.owners[at]
        if owner == i:
            if node.opened == NONE:
                yield f"releases {name}", _own(world, at, None)
                fit = node.name == name and ((node.said == name and node.clear) or not rules.needs_clear())
                if fit:
                    yield f"opens as {name}", _put(world, i, replace(node, opened=name))
        elif node.name == name and (owner is None or other.fenced) and other.opened != name:
            yield f"takes {name}", _own(world, at, i)
    if other.opened == NONE and not other.fenced:
        yield "fences the other", _put(world, 1 - i, replace(other, fenced=True))


def _own(world: World, at: int, owner: int | None) -> World:
    owners = (owner, world.owners[1]) if at == 0 else (world.owners[0], owner)
    return replace(world, owners=owners)


def _deletions(world: World) -> Iterator[tuple[str, World]]:
    left = replace(world, deletions=world.deletions - 1)
    for i in (0, 1):
        if world.nodes[1 - i].met and world.nodes[i].present and not world.nodes[i].fenced:
            yield f"{'AB'[i]}'s session is deleted", _put(left, i, replace(world.nodes[i], present=False))
    for at, name in enumerate(GROUPS):
        if world.owners[at] is not None:
            yield f"{name}'s record is deleted", _own(left, at, None)
