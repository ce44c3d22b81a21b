"""What is fuzzed: the decoders of what a store holds, and the core with whatever events and records may come."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from controller.core import events as ev
from controller.core.events import Step
from controller.core.machine import GroupPolicy, Role, serving_until
from controller.core.records import (
    CLUSTER,
    BadRecord,
    Cluster,
    Membership,
    Ownership,
    Session,
    SessionId,
    Wanted,
    decode,
    encode,
)
from controller.stores.base import StoreError
from controller.stores.kit.keys import Keys
from controller.stores.snapshots import _unpack
from tests.fuzz.fuzzer import Target
from tests.lab.node.lone import TIMING, Lone

_KINDS: tuple[Any, ...] = (Session, Ownership, Cluster)
_RECORDS: tuple[Any, ...] = (
    Session("n2", 3, lease_duration=3.0, groups={"web": Membership(healthy=True, serving=7)}, seq=4, writer="w"),
    Ownership(SessionId("n2-x"), "n2", 7, SessionId("n1-a"), Wanted("n1", 7), "v8", new=False, seq=9, writer="w"),
    Cluster(paused=True, seq=1, writer="w"),
)
_NUMBERS = (b"-1", b"0", b"1e300", b"1e999", b"NaN", b"3600.5", b"9" * 19, b"9" * 4301, b"-9223372036854775808")
_TEXTS = (rb'"\ud800"', rb'"\u0000"', b'"n1-a"', b'"n2-x"', b'"n1"', b'""', b'"\xff"', b'"' + b"x" * 1025 + b'"')
_JSON = (
    b"null",
    b"true",
    b"false",
    b"{}",
    b"[]",
    b"[" * 20,
    b"]" * 20,
    b'{"web":',
    b"}",
    b",",
    b":",
    b'"to":',
    b'"seq":',
)
_WORDS = (
    *_NUMBERS,
    *_TEXTS,
    *_JSON,
    *(f'"{name}":'.encode() for name in ("format", "kind", "epoch", "wanted", "beat")),
)


# --- decoders ----------------------------------------------------------------------------------------------------


def decode_record(value: bytes) -> None:
    """A record, or a BadRecord of one short line. What was read is read again from its own encoding."""
    for kind in _KINDS:
        found = _decode(value, kind)
        if isinstance(found, BadRecord):
            text = str(found)
            assert (len(text) < 300, len(text.splitlines())) == (True, 1)
            text.encode()
        else:
            assert decode(encode(found), kind) == found


def _decode(value: bytes, kind: Any) -> Any:
    try:
        return decode(value, kind)
    except BadRecord as error:
        return error


def read_name(value: bytes) -> None:
    """The name of an object in a store: no two names are the same key."""
    name, keys = value.decode(errors="surrogateescape"), Keys.of("", "shop")
    key = keys.key(keys.root + name)
    assert key is None or keys.name(key) == keys.root + name
    with suppress(UnicodeDecodeError):
        assert keys.key(keys.name(value.decode())) == value.decode()


def unpack_snapshot(value: bytes) -> None:
    """A file of the store `file`: keys that are text with values that are bytes, or a StoreError."""
    with suppress(StoreError):
        snapshot = _unpack(Path("x"), 1, value)
        assert all(isinstance(key, str) and isinstance(entry.version, str) for key, entry in snapshot.entries.items())


# --- the core ----------------------------------------------------------------------------------------------------

_GROUPS = ("web", "db", "gone")
_SESSIONS = ("n1-a", "n2-x", "n3-y")
_KEYS = (*(f"groups/{name}" for name in _GROUPS), *(f"sessions/{name}" for name in _SESSIONS), CLUSTER, "else/where")
_EFFECTS = (ev.Read, ev.Write, ev.Run, ev.Arm, ev.StartTimer, ev.Clear)


class Play:
    """Reads an input as commands for one node: its store is changed, its effects fail or wait, events arrive.

    A core that does not stop deciding ends in a RecursionError, because `Lone` carries out each action at once.
    """

    def __init__(self, value: bytes) -> None:
        self._left = value
        self.node = Lone()
        self._policy = self.node.policy
        self.node.start()

    def run(self) -> None:
        """Carries out all commands, then heals everything: the node must come to rest."""
        commands = (
            self._pass_time, self._put_record, self._put_bytes, self._delete, self._fail, self._hold, self._release,
            self._tell, self._answer_nobody_asked_for, self._change_record, self._reload, self._hint,
        )  # fmt: skip
        for _ in range(40):
            if not self._left or self.node.did(ev.Exit):
                break
            commands[self._take() % len(commands)]()
            self._check()
        self.node.fails.clear()
        self._release()
        for _ in range(12):
            if not self.node.did(ev.Exit):
                self._tick(TIMING.lease_duration / 6)
                self._check()

    def _check(self) -> None:
        node = self.node
        for name, group in node.state.groups.items():
            until = serving_until(node.state, name)
            if until is not None and until > node.now:
                assert group.role is Role.ACTIVE
                assert until <= node.now + TIMING.renew_deadline
                assert group.arming.confirmed
        assert len(node.state.requests.pending) <= len(_KEYS) + 2
        del node.actions[:-50]

    def _take(self) -> int:
        byte, self._left = self._left[:1], self._left[1:]
        return byte[0] if byte else 0

    def _text(self) -> bytes:
        length = self._take()
        text, self._left = self._left[:length], self._left[length:]
        return text

    def _key(self) -> str:
        return _KEYS[self._take() % len(_KEYS)]

    def _group(self) -> str:
        return _GROUPS[self._take() % len(_GROUPS)]

    def _pass_time(self) -> None:
        for _ in range(self._take() % 8):
            self._tick(0.05 * (1 + self._take() % 16))

    def _tick(self, seconds: float) -> None:
        self.node.now += seconds
        self.node.tell(ev.Tick())

    def _put_record(self) -> None:
        record, number = _RECORDS[self._take() % 3], self._take()
        if isinstance(record, Ownership):
            session = SessionId(_SESSIONS[number % 3]) if number % 4 else None
            record = replace(record, session=session, epoch=self._take() * 100, new=bool(number & 16), wanted=None)
        elif isinstance(record, Session):
            record = replace(record, fenced=bool(number & 1), beat=number, lease_duration=float(self._take() % 8))
        self.node.put(self._key(), replace(record, seq=self._take() * 50))

    def _put_bytes(self) -> None:
        self.node.put(self._key(), self._text())

    def _change_record(self) -> None:
        """Replaces some bytes of a record by a word."""
        key, at, word = self._key(), self._take(), _WORDS[self._take() % len(_WORDS)]
        if key in self.node.store:
            value = self.node.store[key].value
            self.node.put(key, value[:at] + word + value[at + self._take() % 8 :])

    def _delete(self) -> None:
        self.node.store.pop(self._key(), None)

    def _fail(self) -> None:
        wanted = self._take()
        self.node.fails = {kind: "fails" for bit, kind in enumerate(_EFFECTS) if wanted & (1 << bit)}

    def _hold(self) -> None:
        self.node.held = (_EFFECTS[self._take() % len(_EFFECTS)],)

    def _release(self) -> None:
        self.node.held, waiting = (), self.node.waiting
        self.node.waiting = []
        for action in waiting:
            self.node.carry_out(action)

    def _tell(self) -> None:
        events: tuple[ev.Event, ...] = (
            ev.Judged(self._group(), healthy=bool(self._take() & 1), why="check"),
            ev.Asked(self._group(), (None, "n1", "n2", "")[self._take() % 4]),
            ev.PauseAsked(bool(self._take() & 1)),
            ev.Drifted(self._group(), "address"),
            ev.GuardLost(),
            ev.Tick(),
            ev.Stop(),
        )
        self.node.tell(events[self._take() % len(events)])

    def _answer_nobody_asked_for(self) -> None:
        steps = tuple(Step)
        error = "late" if self._take() & 1 else None
        events: tuple[ev.Event, ...] = (
            ev.Ran(self._group(), self._take(), steps[self._take() % len(steps)], error),
            ev.TimerStarted(self._take() % 2, self.node.now, error),
            ev.Listed(10**6, self.node.now, {}),
            ev.Failed(10**6, "late"),
        )
        self.node.tell(events[self._take() % len(events)])

    def _reload(self) -> None:
        policy = GroupPolicy(self._take(), bool(self._take() & 1), 0.1 * self._take())
        groups = {name: policy for bit, name in enumerate(_GROUPS) if self._take() & (1 << bit)} or {"web": policy}
        self.node.policy = replace(self._policy, groups=groups)
        self.node.tell(ev.Tick())

    def _hint(self) -> None:
        key = self._key()
        known = {key: self.node.store[key]} if key in self.node.store and key.startswith("groups/") else {}
        self.node.tell(ev.Hint(known))


def play(value: bytes) -> None:
    """No event and no record makes the core raise, or go on forever."""
    Play(value).run()


TARGETS = (
    Target(
        "record",
        decode_record,
        ("controller/core/bounds", "controller/core/records"),
        _WORDS,
        tuple(map(encode, _RECORDS)),
    ),
    Target(
        "name",
        read_name,
        ("controller/stores/kit/keys",),
        (b"%", b"%2F", b"%ff", b"/", b"\xff", b"groups/"),
        (b"groups/web",),
    ),
    Target(
        "snapshot",
        unpack_snapshot,
        ("controller/stores/snapshots",),
        (*_WORDS, b'"keys":', b'"lineage":', b'["groups/web","a.1",2]'),
        (b'{"lineage":"a","keys":[["groups/web","a.1",2]]}\nhi\n',),
    ),
    Target("events", play, ("controller/core/",), (), (b"\x00\x08\x00\x08", bytes(range(64)) * 2), share=7),
)
