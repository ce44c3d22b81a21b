"""What a node claims: the addresses that it serves or could serve, and in which group. Part of `observe` and `decide`.

A group's record keeps two nodes from serving one group. It does not keep them from serving one address in two groups,
as they would while a group is renamed on one node after the other. For that, each session names in its record what it
claims for each group. What a claim is about is a *token*: an address, or something else that a provider moves.

A node takes a group only when its claim is *clear*: it is known to have landed, and a listing that was sent after that
showed no other session with the same token in another group. Of two nodes that claim and then look, the later one finds
the claim of the other. A claim stays until the group is shut, so a claim that is clear stays clear. Sessions that are
fenced do not count. A node that finds another claim withdraws its own, and tries again when the other one is gone.

Claims are made ahead: a standby claims what it would serve. A change of owner therefore costs no request more.

An address that goes to another group of the same node is served in the old group until no other node has it there. If
the old group waits for addresses itself, it is then given up: two groups that exchange addresses would wait for ever.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

from controller.core.group import AT_REST, Claim, GroupState, Role
from controller.core.records import SESSIONS, Membership, Session, SessionId, Stake
from controller.core.state import Policy, State
from controller.core.turn import Turn
from controller.core.values import replace

_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Blocker:
    """Another claim on what we want. `session` is None for another group of this node."""

    session: SessionId | None
    stake: Stake
    what: str  # for people to read


@lru_cache(4096)
def digest(tokens: frozenset[str]) -> str:
    """Returns a name of these tokens: equal for equal tokens, and in practice never equal for others (64 bits)."""
    summed = hashlib.blake2s("\n".join(sorted(tokens)).encode(), digest_size=8).digest()
    return urlsafe_b64encode(summed).decode().rstrip("=")


# --- what the store shows ----------------------------------------------------------------------------------------


def note_landed(state: State, now: float) -> State:
    """Notes that our session's record says now what it was last written to say. A read follows if that is news."""
    return _note_said(state, lambda name, _: state.session.saying.get(name, _NOTHING), now)


def note_doubt(state: State, now: float) -> State:
    """Notes that our last write might have landed or not: only what both records say is known to be said."""
    return _note_said(state, lambda name, said: said & state.session.saying.get(name, _NOTHING), now)


def note_record(state: State, record: Session, now: float) -> State:
    """Notes what our session's record was found to say: what we wrote last, or what we knew before."""

    def find(name: str, said: frozenset[str]) -> frozenset[str]:
        member = record.groups.get(name)
        for tokens in (state.session.saying.get(name, _NOTHING), said):
            if member is not None and member.digest == digest(tokens):
                return tokens
        return _NOTHING

    return _note_said(state, find, now)


def adopt(state: State, record: Session, now: float, policy: Policy) -> State:
    """Notes the claims of the life whose session we adopt. They are ours if the configuration is still the same."""
    groups = dict(state.groups)
    for name, own in policy.groups.items():
        member = record.groups.get(name)
        if member is not None and policy.rules.adopts_claim(_is_same(member, own.uses)):
            held = Claim(raised=own.uses, said=own.uses, said_at=now, clear=own.uses)
            groups[name] = replace(groups[name], claim=held)
    return replace(state, groups=groups)


def note_gap(state: State, gap: float, now: float, policy: Policy) -> State:
    """Notes for how long our record was not known to be there: others may have forgotten what it claims.

    `gap` is in seconds. A group that is served is not concerned: its grant is younger. Listings sent so far do not
    count, as the claim is new to the others.
    """
    if policy.rules.clear_lasts(gap, policy.timing.renew_deadline):
        return state
    groups = {
        name: group if _is_let_pass(group) else replace(group, claim=replace(group.claim, clear=_NOTHING, said_at=now))
        for name, group in state.groups.items()
    }
    return replace(state, groups=groups).with_read_due()


def _is_let_pass(group: GroupState) -> bool:
    return group.arming.opened and (group.right.adoptable or group.right.owned is not None)


def _is_same(member: Membership, tokens: frozenset[str]) -> bool:
    """Returns whether the earlier life served these tokens. A version without claims served what it was told to."""
    return not member.digest or (member.stake is Stake.HOLDS and member.digest == digest(tokens))


def _note_said(state: State, find: Callable[[str, frozenset[str]], frozenset[str]], now: float) -> State:
    groups, news = dict(state.groups), False
    for name, group in state.groups.items():
        claim = group.claim
        said = find(name, claim.said)
        if said != claim.said:
            said_at = claim.said_at if said <= claim.said else now
            groups[name] = replace(group, claim=replace(claim, said=said, said_at=said_at, clear=claim.clear & said))
            news = news or not said <= claim.clear
    state = replace(state, groups=groups)
    return state.with_read_due() if news else state


def look(state: State, sent_at: float, certain: Callable[[str], bool], policy: Policy) -> State:
    """Clears the claims that a listing shows to be alone. `certain` tells whether it counts for a key."""
    groups = dict(state.groups)
    for name, group in state.groups.items():
        claim = group.claim
        # what a write on its way withdraws is no longer claimed, even if it comes back in the next one
        said = claim.said & claim.raised & state.session.saying.get(name, _NOTHING)
        if said <= claim.clear or not policy.rules.look_counts(sent_at, claim.said_at):
            continue
        if next(find_blockers(state, policy, name, said - claim.clear, certain), None) is None:
            groups[name] = replace(group, claim=replace(claim, clear=said))
    return replace(state, groups=groups)


def find_blockers(
    state: State, policy: Policy, name: str, tokens: frozenset[str], certain: Callable[[str], bool] = lambda _: True
) -> Iterator[Blocker]:
    """Yields who else might serve one of these tokens in another group."""
    yield from _find_own(state, name, tokens)
    for key in state.store.unsure:
        yield Blocker(sid := SessionId(key.removeprefix(SESSIONS)), Stake.HOLDS, f"session {sid} is being read again")
    for key, seen in state.store.sightings.items():
        if not key.startswith(SESSIONS) or key == state.session.key:
            continue
        sid = SessionId(key.removeprefix(SESSIONS))
        record = seen.record
        if sid in state.life.past or (isinstance(record, Session) and record.fenced):
            continue
        if not isinstance(record, Session) or not certain(key):
            if policy.rules.missing_blocks():
                yield Blocker(sid, Stake.HOLDS, f"the record of session {sid} is missing or cannot be read")
            continue
        for other, member in record.groups.items():
            if other != name and member.stake is not Stake.WAITS:
                yield from _compare(state, policy, _Other(sid, record.node, other, member), tokens)


def _find_own(state: State, name: str, tokens: frozenset[str]) -> Iterator[Blocker]:
    """Yields this node's other groups that still have one of the tokens."""
    for other, group in state.groups.items():
        shared = tokens & (group.claim.raised | group.claim.said)
        if other != name and shared and not is_shut(group):
            yield Blocker(None, Stake.HOLDS, f"this node still has {min(shared)} in group {other}")


@dataclass(frozen=True, slots=True)
class _Other:
    """What one session says of one group."""

    session: SessionId
    node: str
    group: str
    member: Membership


def _compare(state: State, policy: Policy, other: _Other, tokens: frozenset[str]) -> Iterator[Blocker]:
    theirs = _read_tokens(state, policy, other.group, other.member)
    stake, who = other.member.stake, other.node
    if theirs is None:
        if policy.rules.unknown_blocks():
            yield Blocker(other.session, stake, f"{who} has not said which addresses group {other.group} has")
    elif shared := tokens & theirs:
        yield Blocker(other.session, stake, f"{who} has {min(shared)} in group {other.group}")


def _read_tokens(state: State, policy: Policy, group: str, member: Membership) -> frozenset[str] | None:
    """Returns what another session claims for the group. None: unknown, because the session does not say it in full."""
    if member.claims is not None:
        return frozenset(member.claims)
    own = policy.groups.get(group)
    known = [state.groups[group].claim.raised] if group in state.groups else []
    for tokens in [*known, *([own.claims] if own is not None else [])]:
        if member.digest in ("", digest(tokens)):  # a version that says nothing: configured like us, if at all
            return tokens
    return None


# --- what follows ------------------------------------------------------------------------------------------------


def is_shut(group: GroupState) -> bool:
    """Returns whether the group is at rest, and the kernel lets none of its traffic pass."""
    return group.role in AT_REST and group.arming.shut and group.right.owned is None


def may_use(state: State, group: str, tokens: frozenset[str]) -> bool:
    """Returns whether a configuration that moves these tokens can be put in place of the group's present one."""
    known = state.groups.get(group)
    return known is None or is_shut(known) or (tokens <= known.claim.clear and known.claim.kept <= tokens)


def may_open(turn: Turn, name: str) -> bool:
    """Returns whether all that the group moves is clear."""
    own = turn.policy.groups.get(name)
    return own is None or turn.policy.rules.needs_clear(own.uses, turn.groups[name].claim.clear)


def is_in_the_way(turn: Turn, name: str) -> bool:
    """Returns whether the group must be given up: it waits, and another group of this node waits for what it has."""
    claim, own = turn.groups[name].claim, turn.policy.groups[name]
    if not claim.blocked or claim.kept:
        return False
    return any(own.leaves & other.claims for heir, other in turn.policy.groups.items() if heir != name)


def _find_kept(turn: Turn, name: str) -> frozenset[str]:
    """Returns what the group must not let go of yet: another group of this node gets it, but another node still has it.

    Without this, nobody would serve an address between the edits of two nodes.
    """
    kept = set[str]()
    leaves = turn.policy.groups[name].leaves if name in turn.policy.groups else _NOTHING
    for heir, other in turn.policy.groups.items() if leaves else ():
        for token in leaves & other.claims if heir != name else ():
            blockers = find_blockers(turn.state, turn.policy, heir, frozenset({token}))
            if any(blocker.session is not None for blocker in blockers):
                kept.add(token)
    return frozenset(kept)


def update(turn: Turn, name: str) -> None:
    """Claims what the group needs, or withdraws the claim. A change is said at once, by the next renewal."""
    group, own = turn.groups[name], turn.policy.groups.get(name)
    claim = group.claim
    raised, blocked = _choose(turn, name)
    uses = _NOTHING if own is None else own.uses
    clear = claim.clear & raised
    complete = Stake.HOLDS if uses <= clear else Stake.WAITS
    stake = complete if raised <= clear else Stake.ASKS
    changed = replace(claim, raised=raised, clear=clear, stake=stake, blocked=blocked, kept=_find_kept(turn, name))
    if changed != claim:
        turn.put_group(name, claim=changed)
        if own is not None and own.leaves and blocked:
            turn.wake(turn.now)  # it can be in the way from now on
        if (raised, stake) != (claim.raised, claim.stake):
            turn.begin_round_now()


def update_blocked(turn: Turn) -> None:
    """Updates the claims that another claim blocks: the other one can be that of a group that was shut just now."""
    for name, group in turn.groups.items():
        if group.claim.blocked:
            update(turn, name)


def _choose(turn: Turn, name: str) -> tuple[frozenset[str], str]:
    """Returns what to claim now, and what keeps us from claiming all that the configuration names."""
    group, own = turn.groups[name], turn.policy.groups.get(name)
    claim = group.claim
    in_use = claim.raised if own is None else claim.raised & own.uses
    kept = turn.policy.rules.keeps_claim(in_use, shut=is_shut(group))
    if own is None or (group.role is Role.FAULT and not kept):
        return kept, ""
    wanted = own.claims
    new = wanted - claim.clear
    blockers = list(find_blockers(turn.state, turn.policy, name, new)) if new else []
    if not blockers:
        return wanted | kept, ""
    what = next((blocker for blocker in blockers if blocker.session is not None), blockers[0]).what
    if wanted <= claim.raised and all(_yields_to(blocker, turn.state.session.id) for blocker in blockers):
        return claim.raised, what
    return kept, what


def _yields_to(blocker: Blocker, me: SessionId | None) -> bool:
    """Returns whether the other one withdraws, because both only ask: the session with the lower id goes on."""
    return blocker.session is not None and blocker.stake is Stake.ASKS and str(me) < blocker.session


def list_in_full(state: State, groups: Collection[str]) -> frozenset[str]:
    """Returns the groups whose tokens our record must list: those that another session has otherwise, or not at all."""
    full = set[str]()
    for key, seen in state.store.sightings.items():
        record = seen.record
        if not isinstance(record, Session) or record.fenced or key == state.session.key:
            continue
        for name in groups:
            member = record.groups.get(name)
            if member is None or member.digest not in ("", digest(state.groups[name].claim.raised)):
                full.add(name)
    return frozenset(full)
