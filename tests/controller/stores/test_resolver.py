"""The addresses of a store's servers are kept, and no lookup holds anything up."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from controller.stores.kit.resolver import KeepingResolver


@dataclass
class Names:
    """The name service of the test."""

    address: str = "127.0.0.1"
    failing: bool = False
    asked: int = 0
    dark: threading.Event = field(default_factory=threading.Event)  # cleared: it does not answer

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        self.dark.wait()
        if self.failing:
            raise socket.gaierror(socket.EAI_NONAME, f"unknown {host}")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.address, port))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names()
    made.dark.set()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.dark.set()


async def found(resolver: KeepingResolver) -> list[str]:
    return [each["host"] for each in await resolver.resolve("etcd.test", 2379)]


async def test_a_name_that_is_unknown_is_an_error_and_asked_for_again(names: Names) -> None:
    resolver = KeepingResolver()
    names.failing = True
    with pytest.raises(OSError, match=r"unknown etcd\.test"):
        await found(resolver)
    names.failing = False
    assert await found(resolver) == ["127.0.0.1"]


async def test_what_was_found_once_is_used_while_the_name_server_is_dark_or_fails(names: Names) -> None:
    resolver = KeepingResolver()
    assert await found(resolver) == ["127.0.0.1"]
    names.dark.clear()
    for _ in range(3):
        assert await found(resolver) == ["127.0.0.1"]
    assert names.asked <= 2, "one lookup at a time"
    names.failing = True
    names.dark.set()
    await asyncio.sleep(0.05)
    assert await found(resolver) == ["127.0.0.1"]


async def test_a_new_address_is_used_when_it_is_known(names: Names) -> None:
    resolver = KeepingResolver()
    assert await found(resolver) == ["127.0.0.1"]
    names.address = "127.0.0.2"
    async with asyncio.timeout(60):
        while await found(resolver) != ["127.0.0.2"]:  # noqa: ASYNC110  (the resolver is asked)
            await asyncio.sleep(0.01)


def test_a_lookup_under_way_holds_nobody_up_at_the_end(names: Names) -> None:
    names.dark.clear()

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await KeepingResolver().resolve("etcd.test", 2379)

    ended = threading.Thread(target=lambda: asyncio.run(leave()))
    ended.start()
    ended.join(60)
    assert not ended.is_alive(), "the name server is still dark"
