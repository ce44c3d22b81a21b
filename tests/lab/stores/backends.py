"""Backends of the contract tests: each kind of store on a real service, and processes that race on it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, Any, Protocol, cast

import pytest

from controller.contracts.rules import PATIENCE_SECONDS
from controller.stores.base import Conflict, Store, StoreError, Version, Watcher
from controller.stores.memory import MemoryStore, Shelf
from controller.stores.registry import store_type
from tests.lab.stores.etcd import EtcdCluster, missing, start_etcd
from tests.lab.stores.racer import Score

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


class WatchedStore(Store, Watcher, Protocol):
    """The type of `Backend.open`'s stores. Tests watch only those stores that can be watched."""


ROOT = Path(__file__).parents[3]


@dataclass
class Backend:
    """One backend, and the stores that were opened on it."""

    type: str
    options: dict[str, Any] = field(default_factory=dict)
    shelf: Shelf = field(default_factory=Shelf)
    opened: list[Store] = field(default_factory=list)

    def open(self, cluster: str = "shop", call_timeout: float = 20.0, **options: Any) -> WatchedStore:
        store = self._open(cluster, call_timeout, self.options | options)
        self.opened.append(store)
        return cast("WatchedStore", store)

    def _open(self, cluster: str, call_timeout: float, options: dict[str, Any]) -> Store:
        if self.type == "memory":
            return MemoryStore(self.shelf, cluster)
        kind = store_type(self.type)
        return kind.open(kind.Options.model_validate(options), cluster=cluster, call_timeout=call_timeout)

    async def close(self) -> None:
        for store in self.opened:
            await store.close()


@dataclass
class Racers:
    """Processes that race on one backend. Tests can freeze and thaw them, and all are killed at the end."""

    processes: list[Popen[str]]

    def go(self) -> None:
        """Start the race. All processes read the counter before the first one adds to it."""
        self._say("go")
        self._hear("read")
        self._say("add")

    def await_ready(self) -> None:
        """Return when each process has opened its store."""
        self._hear("ready")

    def _say(self, word: str) -> None:
        for racer in self.processes:
            assert racer.stdin
            racer.stdin.write(f"{word}\n")
            racer.stdin.flush()

    def _hear(self, word: str) -> None:
        for racer in self.processes:
            assert racer.stdout
            assert racer.stdout.readline() == f"{word}\n"

    def scores(self, limit: float = 100) -> list[Score]:
        return [Score(**json.loads(racer.communicate(timeout=limit)[0])) for racer in self.processes]


@contextmanager
def racing(backend: Backend, number: int, rounds: int, call_timeout: float = 60.0) -> Iterator[Racers]:
    what = {"type": backend.type, "options": backend.options, "rounds": rounds, "call_timeout": call_timeout}
    command = [sys.executable, "-m", "tests.lab.stores.racer"]
    racers = Racers([])
    try:
        for n in range(number):
            argument = json.dumps(what | {"name": f"racer{n}"})
            racers.processes.append(Popen([*command, argument], cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True))
        racers.await_ready()
        yield racers
    finally:
        for racer in racers.processes:
            racer.kill()
            racer.communicate()


async def eventually(attempt: Callable[[], Awaitable[Any]], *errors: type[Exception]) -> Any:
    """Return the first true result of `attempt`, which can raise these errors before.

    Fails the test after PATIENCE_SECONDS.
    """
    failure: Exception | None = None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    if result := await attempt():
                        return result
                except errors as error:
                    failure = error
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"did not happen within {PATIENCE_SECONDS:g} s; last error: {failure!r}")


@contextmanager
def etcd_or_skip(members: int, directory: Path, **keywords: Any) -> Iterator[EtcdCluster]:
    """Start members with etcd's default timeouts, because shorter ones cause new elections on a busy machine."""
    if reason := missing():
        pytest.skip(reason)
    with start_etcd(members, directory, heartbeat_ms=100, election_ms=1000, **keywords) as cluster:
        yield cluster


async def says(call: Awaitable[object], pattern: str) -> bool:
    """Report whether the call fails with a message that matches the pattern."""
    try:
        await call
    except StoreError as error:
        return re.search(pattern, str(error)) is not None
    return False


async def warmed_up(store: Store, direct: Store, key: str) -> Version:
    """Warm up both stores by reads and writes, leave `key` as "one", and return its version.

    On a slow machine the first requests, which make clients, connections and proofs, can take several deadlines of
    `store`, which can be short. The deadline of `direct` is long.
    """
    stale = await direct.swap(key, b"none", None)
    version = await direct.swap(key, b"one", stale)

    async def refused() -> bool:
        try:
            await store.swap(key, b"never", stale)
        except Conflict:
            return True
        return False

    assert await eventually(refused, StoreError), "a write on an old version succeeded"
    await eventually(lambda: store.read(key), StoreError)
    return version
