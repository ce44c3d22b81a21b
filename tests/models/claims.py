"""Claims on one address, searched exhaustively: two nodes, two group names, every order of steps. Pure.

A session names in its record the group under which it claims the address. A step of the store's is three steps here:
the request leaves, it takes effect, the reply arrives. There is no clock: whoever is slow may be slow for ever. The
election is abstracted to what it guarantees: a group's record names one owner, and a session is fenced only when its
guard has ended. To fence it can fail at any time. The node of a fenced session begins a new one. A session whose record
is deleted is forgotten once its grant has ended, and the record may come back. Nobody deletes a session that the other
node has not seen yet: the rules do not cover that case (docs/guarantees.md).

`search` returns the shortest trace to a state in which both nodes let the address pass, or None. The rules are those of
`controller.core.rules`; a subclass weakens one. Two states are one if they differ only in which node is A, or in what
can no longer matter. With one edit and one deletion there are 36,127 states, with one edit and two writes that are not
answered, which may land later or never, 75,111.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache, partial
from typing import NamedTuple

NONE = ""
GROUPS = "gh"


class ClaimRules:
    """What a node must know before it opens the guard for the address."""

    def look_counts(self, *, fresh: bool) -> bool:
        """A listing counts only if it was sent after the claim had landed."""
        return fresh

    def needs_clear(self) -> bool:
        """A guard is opened only under a claim that was looked at and found alone."""
        return True

    def missing_blocks(self) -> bool:
        """A session whose record is missing blocks if it was seen before, or if a group's record names it."""
        return True

    def remembers_session(self) -> bool:
        """A session that could not be fenced is still known."""
        return True

    def clear_lasts(self) -> bool:
        """Whether a claim that was found alone counts after the others may have forgotten it. It must not."""
        return False

    def record_counts(self, *, anew: bool) -> bool:
        """What our record says counts only at a version that we did not know."""
        return anew

    def may_change_claim(self, opened: str) -> bool:
        """A claim is given up only when the guard is shut."""
        return opened == NONE

    def serves_renamed(self) -> bool:
        """Whether a node that serves goes on under a new name without a claim. It must not."""
        return False

    def forgets(self) -> bool:
        """Whether the node of a fenced session no longer knows the other session, as after a restart."""
        return False


class Look(NamedTuple):
    """A listing on its way back."""

    fresh: bool  # no claim of ours has landed since it left
    clears: str  # the groups under which the address is free, by what it shows
    shows: bool  # it shows the record of the other's session


class Node(NamedTuple):
    """One node with its session, and its session's record in the store (`claim`, `present`)."""

    name: str = "g"  # the group that the configuration has the address in
    said: str = NONE  # the claim that is known to have landed
    clear: bool = False
    opened: str = NONE
    owns: str = NONE  # the groups whose records name the session
    writing: str | None = None  # a claim on its way
    late: str | None = None  # a claim in an earlier write that is not known to have landed, and still can
    sent: str = NONE  # the claim in the last write that we sent
    anew: bool = False  # the record has a version that we do not know
    look: Look | None = None
    met: bool = False  # the record of the other's session was seen
    claim: str = NONE
    present: bool = True
    lapsed: bool = False  # its grant has ended since its record was deleted, and it does not know


class Budget(NamedTuple):
    """How many edits, deletions and writes without an answer there are, or are left."""

    edits: int = 0
    deletions: int = 0
    silences: int = 0

    def less(self, other: Budget) -> Budget:
        return Budget(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


class World(NamedTuple):
    """Both nodes, and what is left."""

    one: Node
    two: Node
    left: Budget


class Step(NamedTuple):
    """What one of the nodes does, or what happens to it, and both nodes after it."""

    what: str
    own: Node
    other: Node
    cost: Budget = Budget()


class Came(NamedTuple):
    """How a state was reached first."""

    before: World
    who: int  # which of the nodes of `before` made the step
    what: str
    swapped: bool  # whether the nodes changed places then


def search(
    rules: ClaimRules, edits: int = 1, deletions: int = 1, silences: int = 0, *, merged: bool = True
) -> tuple[list[str] | None, int]:
    """Return the shortest trace that breaks exclusion, or None, and how many states were searched.

    Without `merged`, states that differ in nothing that matters are searched one by one.
    """
    first = World(Node(), Node(), Budget(edits, deletions, silences))
    came: dict[World, Came | None] = {first: None}
    todo = deque([first])
    alone = cache(partial(_list_alone, rules))
    while todo:
        world = todo.popleft()
        if world.one.opened and world.two.opened:
            return _trace(came, world), len(came)
        for who in (0, 1):
            own, other = (world.one, world.two) if who == 0 else (world.two, world.one)
            steps = [Step(what, after, other, cost) for what, after, cost in alone(own)]
            steps += [*_acts(own, other, rules), *_deletions(own, other), *_returns(own, other, rules)]
            for step in steps:
                nodes = (step.own, step.other) if who == 0 else (step.other, step.own)
                plain = World(*nodes, world.left.less(step.cost))
                if min(plain.left) < 0:
                    continue
                after, swapped = _merge(plain) if merged else (plain, False)
                if after not in came:
                    came[after] = Came(world, who, step.what, swapped)
                    todo.append(after)
    return None, len(came)


def _merge(world: World) -> tuple[World, bool]:
    """Return the state that stands for all that are like this one, and whether the nodes changed places."""
    one, two, left = world
    if not left.deletions:
        one, two = _forget(one, two), _forget(two, one)
    swapped = _order(two) < _order(one)
    return World(two, one, left) if swapped else World(one, two, left), swapped


def _forget(node: Node, other: Node) -> Node:
    """Return the node without what it has seen of a session that is there, and stays there."""
    if not other.present or not (node.met or (node.look and node.look.shows)):
        return node
    return node._replace(met=False, look=node.look and node.look._replace(shows=False))


@cache
def _order(node: Node) -> str:
    return repr(node)


def _trace(came: dict[World, Came | None], world: World) -> list[str]:
    path: list[Came] = []
    while (step := came[world]) is not None:
        world = step.before
        path.append(step)
    names, told = "AB", []
    for step in reversed(path):
        told.append(f"{names[step.who]} {step.what}")
        names = names[::-1] if step.swapped else names
    return told


# --- what a node does ---------------------------------------------------------------------------------------------


def _list_alone(rules: ClaimRules, node: Node) -> list[tuple[str, Node, Budget]]:
    """Return the steps that do not depend on the other node, and what each costs."""
    return list(_acts_alone(node, rules))


def _acts_alone(node: Node, rules: ClaimRules) -> Iterator[tuple[str, Node, Budget]]:
    renamed = node._replace(name="h" if node.name == "g" else "g")
    if rules.serves_renamed() and node.opened:
        renamed = renamed._replace(opened=renamed.name)
    yield f"is edited: {renamed.name}", renamed, Budget(edits=1)
    if not node.lapsed:
        for what, after in (*_claims(node, rules), *_hears(node, rules), *_serves(node, rules)):
            yield what, after, Budget()
        for what, after in _unanswered(node):
            yield what, after, Budget(silences=1)
    for what, after in _late(node, rules):
        yield what, after, Budget()


def _claims(node: Node, rules: ClaimRules) -> Iterator[tuple[str, Node]]:
    if node.writing is None:
        for claim in {NONE, node.name} - {node.said} if rules.may_change_claim(node.opened) else ():
            yield f"sends claim {claim or '-'}", node._replace(writing=claim, sent=claim, clear=False)
        if node.late is not None or node.anew:
            yield "reads its record", _read_own(node, rules)
        return
    if node.present and not node.anew:
        look = node.look and _outdate(node.look, rules)
        landed = node._replace(writing=None, late=None, claim=node.writing, said=node.writing, look=look)
        yield f"lands claim {node.writing or '-'}", landed
    if node.anew:
        yield f"is refused claim {node.writing or '-'}", _give_up(node, NONE)


def _unanswered(node: Node) -> Iterator[tuple[str, Node]]:
    """Yield that there is no answer to a write. It may land later; a second one is lost."""
    if node.writing is not None:
        said = node.said if node.said == node.writing else NONE
        late = node.writing if node.late is None else node.late
        yield f"has no answer to claim {node.writing or '-'}", _give_up(node, said)._replace(late=late)


def _give_up(node: Node, said: str) -> Node:
    return node._replace(writing=None, said=said, clear=node.clear and said != NONE)


def _read_own(node: Node, rules: ClaimRules) -> Node:
    """Return the node after it has read its record, of which a late write may have made another version."""
    counts = rules.record_counts(anew=node.anew) and node.claim == node.sent
    said = node.claim if counts else node.said
    return node._replace(said=said, anew=False, clear=node.clear and said == node.said)


def _late(node: Node, rules: ClaimRules) -> Iterator[tuple[str, Node]]:
    """Yield that the earlier write lands after all: on the version that it expects, so no other write of ours has."""
    if node.late is not None and node.present:
        look = node.look and _outdate(node.look, rules)
        yield (
            f"lands the late claim {node.late or '-'}",
            node._replace(late=None, claim=node.late, anew=True, look=look),
        )


def _outdate(look: Look, rules: ClaimRules) -> Look:
    return look._replace(fresh=False, clears=look.clears if rules.look_counts(fresh=False) else NONE)


def _hears(node: Node, rules: ClaimRules) -> Iterator[tuple[str, Node]]:
    if node.look is not None:
        said = node.said if node.writing is None and rules.look_counts(fresh=node.look.fresh) else NONE
        found = said != NONE and said in node.look.clears
        yield "hears", node._replace(look=None, clear=node.clear or found, met=node.met or node.look.shows)


def _serves(node: Node, rules: ClaimRules) -> Iterator[tuple[str, Node]]:
    if node.opened:
        yield "shuts", node._replace(opened=NONE)
        return
    for name in node.owns:
        yield f"releases {name}", node._replace(owns=node.owns.replace(name, ""))
        if node.name == name and ((node.said == name and node.clear) or not rules.needs_clear()):
            yield f"opens as {name}", node._replace(opened=name)


def _acts(own: Node, other: Node, rules: ClaimRules) -> list[Step]:
    """Return the steps that read what the other node has in the store, or change it."""
    if own.lapsed:
        return []
    steps = []
    if own.look is None and not own.clear and (own.said or rules.look_counts(fresh=False)):
        steps.append(Step("lists", own._replace(look=_look(own, other, rules)), other))
    if own.name not in own.owns + other.owns + other.opened:
        owns = "".join(sorted(own.owns + own.name))
        steps.append(Step(f"takes {own.name}", own._replace(owns=owns), other))
    if not other.opened:
        anew = Node(other.name, met=other.met and not rules.forgets())
        steps.append(Step("fences the other", _note_fenced(own), anew))
    if own.met or other.present:
        steps.append(Step("cannot fence the other", _note_refused(own, rules), other))
    if own.met and not (other.present or other.opened):
        steps.append(Step("forgets the other", own._replace(met=False), other._replace(lapsed=True, look=None)))
    return steps


def _look(own: Node, other: Node, rules: ClaimRules) -> Look:
    names = GROUPS if rules.look_counts(fresh=False) else own.said
    clears = "".join(name for name in names if not _blocks(other, name, own.met, rules))
    return Look(fresh=True, clears=clears, shows=other.present)


def _blocks(other: Node, name: str, met: bool, rules: ClaimRules) -> bool:
    """Return whether the other node may serve the address under another name, as far as a listing shows."""
    if other.present:
        return other.claim not in (NONE, name)
    return rules.missing_blocks() and (met or other.owns.replace(name, "") != NONE)


def _note_fenced(node: Node) -> Node:
    """Return the node after it has fenced the other session, which then counts no more."""
    look = node.look and node.look._replace(clears=GROUPS if node.look.clears else NONE, shows=False)
    return node._replace(met=False, look=look)


def _note_refused(node: Node, rules: ClaimRules) -> Node:
    """Return the node after it could not fence the other session: the listing on its way does not count for it."""
    known = rules.remembers_session()
    found = NONE if known else GROUPS if rules.look_counts(fresh=False) else node.said
    return node._replace(met=node.met and known, look=node.look and node.look._replace(clears=found, shows=False))


def _deletions(own: Node, other: Node) -> Iterator[Step]:
    """Yield what operators delete: the session's record, once the other node knows it, or that of a group."""
    if other.met and own.present:
        yield Step("loses its session's record", own._replace(present=False), other, Budget(deletions=1))
    for name in own.owns:
        yield Step(f"loses {name}'s record", own._replace(owns=own.owns.replace(name, "")), other, Budget(deletions=1))


def _returns(own: Node, other: Node, rules: ClaimRules) -> Iterator[Step]:
    """Yield that the session's record comes back: the write that created it arrives again, or an operator puts it back.

    Only after the other node has forgotten it: before, the session is like one whose record was never gone.
    """
    if own.lapsed:
        back = own._replace(present=True, lapsed=False, clear=own.clear and rules.clear_lasts())
        yield Step("gets its session's record back", back, other)
