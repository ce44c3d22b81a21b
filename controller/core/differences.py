"""Tells in what the configurations of two nodes differ. Pure.

Each session names a digest of its node's facts: the keys that are meant to be equal on all nodes. Where two digests
differ, both sessions list their facts in full, so that each node can say in what the other one differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from controller.core.records import SESSIONS, Session, SessionId
from controller.core.state import Policy, State

Facts: TypeAlias = Mapping[str, Mapping[str, str]]  # by group (empty: what holds for all groups), then by key


def digest(facts: Facts) -> str:
    """Returns a name of these facts: equal for equal facts, and in practice never equal for others (64 bits)."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2s(text.encode(), digest_size=8).hexdigest()


def compare(here: Facts, there: Facts) -> Iterator[str]:
    """Yields each difference as a phrase that follows the other node's name."""
    for group in sorted(here.keys() | there.keys()):
        about = f"{group}: " if group else ""
        if group not in there:
            yield f"has no group {group}"
        elif group not in here:
            yield f"has group {group}, which is not configured here"
        else:
            ours, theirs = here[group], there[group]
            for key in sorted(ours.keys() | theirs.keys()):
                if ours.get(key, "") != theirs.get(key, ""):
                    yield f"{about}{key} {theirs.get(key) or 'none'}, here {ours.get(key) or 'none'}"


def find(state: State, policy: Policy) -> Mapping[SessionId, tuple[str, ...]]:
    """Returns in what the other nodes' configurations differ from ours. Sessions that say nothing are left out."""
    found: dict[SessionId, tuple[str, ...]] = {}
    for sid, record in list_others(state):
        if record.config == policy.config or not record.config:
            continue
        unknown = ("differs, and has not said yet in what",)
        found[sid] = unknown if record.facts is None else tuple(compare(policy.facts, record.facts))
    return found


def list_others(state: State) -> Iterator[tuple[SessionId, Session]]:
    """Yields the other sessions that are not fenced."""
    for key, seen in state.store.sightings.items():
        record = seen.record
        if isinstance(record, Session) and not record.fenced and key != state.session.key:
            yield SessionId(key.removeprefix(SESSIONS)), record
