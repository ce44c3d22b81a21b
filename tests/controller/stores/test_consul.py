"""The Consul store against a strict fake: tokens, options, blocking queries; and that the fake is strict."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
import trustme

from controller.contracts.watch import watching
from controller.stores.base import Conflict, Entry, StoreError
from controller.stores.consul import ConsulStore
from tests.lab.http.serving import serving
from tests.lab.stores.backends import Backend, eventually, says
from tests.lab.stores.consul import LONGEST, Consul

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEY = "groups/web"
TOKEN = "b1gs33cr3t-0000-4444-8888-cccccccccccc"


@pytest_asyncio.fixture
async def fake() -> Consul:
    return Consul()


@pytest_asyncio.fixture
async def place(fake: Consul) -> AsyncIterator[Backend]:
    async with serving(fake.application()) as endpoint:
        backend = Backend("consul", {"endpoints": [endpoint]})
        yield backend
        await backend.close()


# --- tokens ----------------------------------------------------------------------------------------------------------


async def test_the_token_is_a_header(fake: Consul, place: Backend) -> None:
    fake.tokens = {TOKEN: ("anyvip/", "anyvip/")}
    store = place.open(token=TOKEN)
    version = await store.swap(KEY, b"one", None)
    assert await store.read("") == {KEY: Entry(b"one", version)}
    assert set(fake.seen_tokens) == {TOKEN}


async def test_the_token_may_be_in_the_environment(
    fake: Consul, place: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake.tokens = {TOKEN: ("", "")}
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", TOKEN)
    assert await place.open().read("") == {}
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "another")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN_FILE", str(tmp_path / "token"))
    assert await place.open().read("") == {}


async def test_a_token_that_was_replaced_in_its_file_is_read_again(
    fake: Consul, place: Backend, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("the-first\n")
    fake.tokens = {"the-first": ("", "")}
    store = place.open(token_file=str(file))
    version = await store.swap(KEY, b"one", None)
    fake.tokens = {"the-second": ("", "")}
    with pytest.raises(StoreError, match="ACL not found"):
        await store.read("")
    file.write_text("the-second\n")
    assert await store.swap(KEY, b"two", version), "what is refused was not done"
    assert fake.seen_tokens[-2:] == ["the-first", "the-second"]


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        ({"other": ("", "")}, "403 Permission denied: ACL not found"),
        ({TOKEN: ("anyvip/", "theirs/")}, "Permission denied"),
    ],
)
async def test_who_may_not_write_is_told(
    fake: Consul, place: Backend, tokens: dict[str, tuple[str, str]], says: str
) -> None:
    fake.tokens = tokens
    with pytest.raises(StoreError, match=says) as error:
        await place.open(token=TOKEN).swap(KEY, b"", None)
    assert TOKEN not in str(error.value)


async def test_keys_that_the_token_may_not_read_are_not_taken_for_missing(fake: Consul, place: Backend) -> None:
    await place.open().swap(KEY, b"one", None)
    fake.tokens = {TOKEN: ("theirs/", "")}
    store = place.open(token=TOKEN)
    with pytest.raises(StoreError, match="is not allowed to read all of anyvip/shop/"):
        await store.read("")
    with pytest.raises(StoreError, match="allow the token to read, too"):
        await store.swap("groups/other", b"", None)


@pytest.mark.parametrize("shown", [True, False], ids=["with our certificate", "without"])
async def test_both_sides_may_show_certificates(fake: Consul, tmp_path: Path, shown: bool) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ours = authority.issue_cert("anyvip")
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "n1.pem"))
    ours.private_key_pem.write_to_path(str(tmp_path / "n1.key"))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("consul.test").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    options = {"ca_file": str(tmp_path / "ca.pem"), "server_name": "consul.test"}
    if shown:
        options |= {"cert_file": str(tmp_path / "n1.pem"), "key_file": str(tmp_path / "n1.key")}
    async with serving(fake.application(), server) as endpoint:
        backend = Backend("consul", {"endpoints": [endpoint], **options})
        store = backend.open(call_timeout=20.0 if shown else 0.5)
        if shown:
            version = await store.swap(KEY, b"one", None)
            assert await store.read("") == {KEY: Entry(b"one", version)}
        else:
            with pytest.raises(StoreError):
                await store.swap(KEY, b"one", None)
            assert fake.pairs == {}
        await backend.close()


# --- what Consul does otherwise than one would think -----------------------------------------------------------------


async def test_every_write_of_the_same_bytes_has_a_version_of_its_own(place: Backend) -> None:
    store = place.open()
    first = await store.swap(KEY, b"same", None)
    assert await store.swap(KEY, b"same", first) != first


async def test_deleting_what_is_gone_conflicts(place: Backend) -> None:
    store = place.open()
    version = await store.swap(KEY, b"one", None)
    await store.swap(KEY, None, version)
    with pytest.raises(Conflict):
        await store.swap(KEY, None, version)


async def test_a_watch_goes_on_where_the_index_has_gone_back(fake: Consul, place: Backend) -> None:
    store, other = place.open(), place.open()
    fake.index = 5_000
    await other.swap(KEY, b"one", None)
    async with watching(store, "groups/") as hints:
        await hints.next()
        await eventually(lambda: asyncio.sleep(0, fake.ailments.asked["GET"] == 2))  # it waits at Consul again
        fake.wipe()
        await hints.next()
        await other.swap("groups/new", b"", None)  # at an index far below what the watch has seen
        while "groups/new" not in hints.told:
            await hints.next()


async def test_a_watch_asks_once_a_minute_while_nothing_happens(fake: Consul, place: Backend) -> None:
    store = place.open()
    async with watching(store, "groups/") as hints:
        await hints.next()
        await eventually(lambda: asyncio.sleep(0, fake.ailments.asked["GET"] == 2))
        await asyncio.sleep(0.3)
        assert fake.ailments.asked["GET"] == 2


async def test_a_watch_leaves_a_server_with_the_calls(fake: Consul, place: Backend) -> None:
    async with serving(Consul().application()) as second:
        store = place.open(endpoints=[*place.options["endpoints"], second], call_timeout=0.4)
        async with watching(store, "groups/") as hints:
            await hints.next()
            fake.ailments.slow_seconds = 5.0
            with pytest.raises(StoreError):
                await store.read("")
            await hints.next()
            await place.open(endpoints=[second]).swap(KEY, b"there", None)
            while KEY not in hints.told:
                await hints.next()


async def test_another_server_is_asked_where_one_has_no_leader(place: Backend) -> None:
    bad = Consul()
    bad.ailments.refusing = 1_000
    bad.ailments.refusal = lambda: aiohttp.web.Response(status=500, text="No cluster leader")
    async with serving(bad.application()) as leaderless:
        store = place.open(endpoints=[leaderless, *place.options["endpoints"]])
        assert await store.read("") == {}
        assert bad.ailments.asked["GET"] == 1
        lone = place.open(endpoints=[leaderless])
        with pytest.raises(StoreError, match="No cluster leader"):
            await lone.swap(KEY, b"", None)
        assert bad.ailments.asked["PUT"] == 1, "a write of unknown outcome is not tried again"


async def test_the_datacenter_is_named(place: Backend) -> None:
    store = place.open(datacenter="dc1")
    version = await store.swap(KEY, b"one", None)
    assert await store.read("") == {KEY: Entry(b"one", version)}
    elsewhere = place.open(datacenter="dc2", call_timeout=0.3)
    await eventually(lambda: says(elsewhere.read(""), "No path to datacenter"))
    await eventually(lambda: says(elsewhere.swap(KEY, b"", None), "No path to datacenter"))


async def test_a_value_that_is_too_large_is_refused_and_said(place: Backend) -> None:
    with pytest.raises(StoreError, match="413 Request body too large"):
        await place.open().swap(KEY, b"x" * LONGEST, None)


async def test_prefixes_do_not_see_each_other(place: Backend) -> None:
    ours, theirs = place.open(prefix="one/"), place.open(prefix="one/two/")
    await ours.swap(KEY, b"ours", None)
    await theirs.swap(KEY, b"theirs", None)
    assert [entry.value for entry in (await ours.read("")).values()] == [b"ours"]
    assert [entry.value for entry in (await theirs.read("")).values()] == [b"theirs"]


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"endpoints": []}, "at least 1 item"),
        ({"endpoints": ["10.0.0.9:8500"]}, "is not http://host:port"),
        ({"prefix": "anyvip"}, "must end in '/'"),
        ({"prefix": "/anyvip/"}, "must be words"),
        ({"prefix": "a=b/"}, "should match pattern"),
        ({"token": "x", "token_file": __file__}, "not both"),
        ({"token_file": "/no/such/file"}, "does not point to a file"),
        ({"ca_file": __file__}, "need endpoints that begin with https"),
        ({"datacenter": "a b"}, "should match pattern"),
        ({"endpoint": "http://10.0.0.9:8500"}, "Extra inputs"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ConsulStore.Options.model_validate(options)


def test_a_token_does_not_show() -> None:
    assert TOKEN not in repr(ConsulStore.Options.model_validate({"token": TOKEN}))


# --- the fake is strict ----------------------------------------------------------------------------------------------


CAS = {"Verb": "cas", "Key": "a", "Index": 0, "Value": "", "Flags": 1}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([{"KV": CAS}], 200),
        ([{"KV": CAS | {"Index": 7}}], 409),
        ([{"KV": CAS | {"Index": "0"}}], 400),
        ([{"KV": CAS | {"Value": "%"}}], 400),
        ([{"KV": CAS | {"Verb": "set"}}], 400),
        ([{"KV": CAS | {"Extra": 1}}], 400),
        ([{"KV": CAS | {"Key": "a b"}}], 400),
        ([{"KV": CAS | {"Key": "a/../b"}}], 400),
        ([{"KV": CAS | {"Key": "app.js"}}], 400),
        ([{"KV": CAS | {"Key": "/a"}}], 400),
        ([{"Node": {}}], 400),
        ([{"KV": {"Verb": "check-index", "Key": "none", "Index": 1}}], 409),
        ([{"KV": {"Verb": "delete-cas", "Key": "none", "Index": 1}}], 200),
        ([{"KV": CAS}] * 65, 413),
        ([], 413),
        ("text", 400),
    ],
)
async def test_transactions_are_looked_at(place: Backend, body: Any, status: int) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.put(f"{place.options['endpoints'][0]}/v1/txn", json=body) as answer,
    ):
        assert answer.status == status


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("recurse&consistent", 404),
        ("recurse", 400),
        ("recurse&consistent&stale", 400),
        ("recurse&consistent&index=0", 400),
        ("recurse&consistent&index=3&wait=soon", 400),
        ("recurse&consistent&token=x", 400),
        ("recurse&consistent&dc=dc2", 500),
    ],
)
async def test_queries_are_looked_at(place: Backend, query: str, status: int) -> None:
    url = f"{place.options['endpoints'][0]}/v1/kv/anyvip/?{query}"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == status


async def test_a_transaction_is_all_or_nothing(fake: Consul, place: Backend) -> None:
    url = f"{place.options['endpoints'][0]}/v1/txn"
    body = [{"KV": CAS}, {"KV": CAS | {"Key": "b", "Index": 7}}]
    async with aiohttp.ClientSession() as http, http.put(url, json=body) as answer:
        assert answer.status == 409
    assert fake.pairs == {}


async def test_writing_what_is_there_keeps_the_index(fake: Consul, place: Backend) -> None:
    url = f"{place.options['endpoints'][0]}/v1/txn"
    async with aiohttp.ClientSession() as http:
        for index in (0, 11):
            async with http.put(url, json=[{"KV": CAS | {"Index": index}}]) as answer:
                assert (await answer.json())["Results"][0]["KV"]["ModifyIndex"] == 11
