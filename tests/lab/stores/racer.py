"""One of several processes that race for the same keys: ``python -m tests.lab.stores.racer '<json>'``.

It prints a line when it is ready, and begins when it reads one. It does the same after its first read of the counter,
so that all processes have read it before the first adds to it. At the end it prints what it won as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from controller.stores.base import Conflict, Store, StoreError, Version
from controller.stores.registry import store_type

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTER = "groups/counter"


@dataclass
class Score:
    """The results of one process. `unsure` counts writes with an unknown outcome."""

    created: list[int] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)
    unsure: int = 0
    conflicts: int = 0


async def race(store: Store, name: str, rounds: int) -> Score:
    """In each round, try to create the round's key, then try to add one to the counter."""
    score = Score()
    for number in range(rounds):
        if await _won(store, score, f"groups/round{number}", name.encode(), None):
            score.created.append(number)
        await _count(store, score, together=number == 0)
    return score


async def _count(store: Store, score: Score, *, together: bool) -> None:
    """Add one to the counter, with `together` only when all other processes have read it, too."""
    entry, readable = None, True
    try:
        entry = (await store.read(COUNTER)).get(COUNTER)
    except StoreError:
        readable = False
    if together:
        await _meet("read")
    if not readable:
        return
    following = int(entry.value) + 1 if entry else 1
    if await _won(store, score, COUNTER, str(following).encode(), entry.version if entry else None):
        score.counted.append(following)


async def _won(store: Store, score: Score, key: str, value: bytes, expected: Version | None) -> bool:
    try:
        await store.swap(key, value, expected)
    except Conflict:
        score.conflicts += 1
        return False
    except StoreError:
        score.unsure += 1
        return False
    return True


async def _meet(word: str) -> None:
    """Report that this process has come so far, and continue when it reads a line."""
    print(word, flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def main(arguments: Sequence[str]) -> None:
    """Race as the only argument says."""
    what: dict[str, Any] = json.loads(arguments[0])
    kind = store_type(what["type"])
    options = kind.Options.model_validate(what["options"])
    store = kind.open(options, cluster="race", call_timeout=what["call_timeout"])
    await store.read("")
    await _meet("ready")
    print(json.dumps(asdict(await race(store, what["name"], what["rounds"]))), flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
