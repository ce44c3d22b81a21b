"""Where the contract tests store: each kind of store on something real, and processes that race on it."""

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
    """What `Backend.open` is taken to give: tests that watch do so only where the store can be watched."""


ROOT = Path(__file__).parents[3]


@dataclass
class Backend:
    """One place to store, and the stores that were opened on it."""

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
    """Processes that race on one backend. `processes` may be frozen and thawed; all are killed at the end."""

    processes: list[Popen[str]]

    def go(self) -> None:
        """Let them begin. All of them have read the counter before the first one adds to it: they do race."""
        self._say("go")
        self._hear("read")
        self._say("add")

    def await_ready(self) -> None:
        """Return when each has opened its store."""
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
    """The first true result of attempt, which may raise these errors before; fails after PATIENCE_SECONDS."""
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
    """Members with etcd's own defaults: those that elect sooner elect anew where the machine is busy."""
    if reason := missing():
        pytest.skip(reason)
    with start_etcd(members, directory, heartbeat_ms=100, election_ms=1000, **keywords) as cluster:
        yield cluster


async def says(call: Awaitable[object], pattern: str) -> bool:
    """Whether the call fails and says this."""
    try:
        await call
    except StoreError as error:
        return re.search(pattern, str(error)) is not None
    return False


async def warmed_up(store: Store, direct: Store, key: str) -> Version:
    """Let both write `key`, which says "one" then, and read; its version.

    What a store does only once (clients, connections, proofs) may take several deadlines of `store`, which may be
    short, on a slow machine; that of `direct` is long.
    """
    stale = await direct.swap(key, b"none", None)
    version = await direct.swap(key, b"one", stale)

    async def refused() -> bool:
        try:
            await store.swap(key, b"never", stale)
        except Conflict:
            return True
        return False

    assert await eventually(refused, StoreError), "a write on a version that is gone"
    await eventually(lambda: store.read(key), StoreError)
    return version
