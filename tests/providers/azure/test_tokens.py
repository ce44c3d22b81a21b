"""A token that Azure refuses before it expires by this node's clock is replaced, and the call is repeated."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from controller.stores.azure_blob import AzureBlobStore
from controller.stores.base import StoreError
from providers.azure.client import ArmOptions, credential
from providers.azure.route import Route
from providers.base import Place, ProviderError
from tests.lab.azure.arm import Arm
from tests.lab.azure.metadata import Metadata, token
from tests.lab.azure.movers import moving, soon
from tests.lab.azure.world import Node, route_table
from tests.lab.http.rest import Answer, Request, RestServer
from tests.providers.azure.conftest import Tls

TABLES = ("a", "b", "c", "d")
OUTSIDE = "10.99.0.1/32"
STORAGE = "https://storage.azure.com"
NO_BLOBS = b'<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs /><NextMarker /></EnumerationResults>'


def fetched(metadata: Metadata) -> int:
    return sum(request.path.endswith("/token") for request in metadata.requests)


@pytest.fixture
async def routes(arm: Arm, tls: Tls) -> AsyncIterator[Any]:
    """Open node 1's mover of routes that still lead to node 2. It has looked, so it has a token."""
    for table in TABLES:
        route_table(arm, table, OUTSIDE, Node(2).address)
    where = {"endpoint": arm.audience, "ca_file": tls.ca_file, "polling_seconds": 0.1}
    async with moving(Route, where, OUTSIDE, route_tables=TABLES) as (mover, _):
        assert (await mover.look(soon())).place is Place.ELSEWHERE
        yield mover


async def test_all_calls_of_a_move_go_on_with_one_new_token(arm: Arm, metadata: Metadata, routes: Any) -> None:
    before = fetched(metadata)
    metadata.number = arm.oldest_token = 2
    await routes.move(soon())
    assert (await routes.look(soon())).place is Place.HERE
    assert fetched(metadata) == before + 1
    assert len({request.path for request in arm.writes}) == len(TABLES)


async def test_a_new_token_that_is_refused_too_is_the_end_of_it(arm: Arm, metadata: Metadata, routes: Any) -> None:
    arm.oldest_token = 9
    asked = len(arm.requests)
    with pytest.raises(ProviderError, match="ExpiredAuthenticationToken"):
        await routes.look(soon())
    assert len(arm.requests) == asked + 2 * len(TABLES)


def test_threads_that_are_refused_at_once_fetch_one_token(metadata: Metadata) -> None:
    refused = threading.Barrier(4)
    with closing(credential(ArmOptions())) as who, ThreadPoolExecutor(refused.parties) as threads:
        first = who.get_token(ArmOptions().scope).token

        def work() -> str:
            now = who.get_token(ArmOptions().scope).token
            if now != first:
                return now
            refused.wait(30)
            error = HttpResponseError("refused")
            error.status_code = 401
            raise error

        metadata.number = 2
        renewed = set(threads.map(lambda _: who.asked(work), range(refused.parties)))
    assert len(renewed) == 1
    assert fetched(metadata) == 2


# --- the store ---------------------------------------------------------------------------------------------------


@dataclass
class Blobs:
    """A fake account of Azure Storage without blobs, as strict about tokens as the real one."""

    oldest_token: int = 1
    asked: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        known = {token("system", STORAGE, number) for number in range(self.oldest_token, 10)}
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in known:
            where = "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/oauth2/authorize"
            error = (
                b"<?xml version='1.0'?><Error><Code>InvalidAuthenticationInfo</Code><Message>expired</Message></Error>"
            )
            challenge = f"Bearer authorization_uri={where} resource_id={STORAGE}"
            headers = {"WWW-Authenticate": challenge, "x-ms-error-code": "InvalidAuthenticationInfo"}
            return Answer(401, error, {**headers, "Content-Type": "application/xml"})
        if request.method == "PUT":
            return Answer(201, None, {"ETag": '"0x1"', "Last-Modified": "Sun, 22 Nov 2026 12:00:00 GMT"})
        return Answer(200, NO_BLOBS, {"Content-Type": "application/xml"})


@pytest.fixture
def blobs(tls: Tls, metadata: Metadata) -> Iterator[tuple[Blobs, str]]:
    fake = Blobs()
    with RestServer(fake.answer, tls=tls.server) as server:
        yield fake, f"{server.url}/shop"


@pytest.fixture
async def store(blobs: tuple[Blobs, str], tls: Tls) -> AsyncIterator[AzureBlobStore]:
    options = {"account": "shop", "container": "anyvip", "endpoint": blobs[1], "ca_file": tls.ca_file}
    made = AzureBlobStore.open(AzureBlobStore.Options.model_validate(options), cluster="test", call_timeout=20)
    yield made
    await made.close()


async def test_the_store_goes_on_with_a_new_token(
    blobs: tuple[Blobs, str], metadata: Metadata, store: AzureBlobStore
) -> None:
    assert await store.read("") == {}
    before = fetched(metadata)
    metadata.number = blobs[0].oldest_token = 2
    read, version = await asyncio.gather(store.read(""), store.swap("groups/web", b"mine", None))
    assert (read, version) == ({}, '"0x1"')
    assert fetched(metadata) == before + 1


async def test_the_store_says_so_where_there_is_no_better_one(
    blobs: tuple[Blobs, str], metadata: Metadata, store: AzureBlobStore
) -> None:
    blobs[0].oldest_token = 9
    with pytest.raises(StoreError, match="401 InvalidAuthenticationInfo"):
        await store.read("")
    assert fetched(metadata) == 2, "the first one, and the one in its place"
