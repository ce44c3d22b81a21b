"""What only the stores of AWS and Azure can meet: expired credentials, deleted tables, 409s, pages, other people's servers."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from pydantic import ValidationError

from controller.stores.base import Conflict, Entry, StoreError
from controller.stores.kit.keys import Keys
from controller.stores.registry import store_type
from tests.lab.stores import azurite, moto
from tests.lab.stores.backends import Backend, eventually, says
from tests.lab.stores.clouds import CLOUDS, CloudLab, aws_error, xml_error
from tests.lab.stores.moto import start_moto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.lab.host.servers import Server

KEY = "groups/web"


@pytest.fixture(params=sorted(CLOUDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def lab(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CloudLab]:
    server: Server = request.getfixturevalue("blobs" if kind == "azure_blob" else "moto")
    async with CLOUDS[kind](azurite.account_url(server) if kind == "azure_blob" else server.url, tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def s3(moto: Server, tmp_path: Path) -> AsyncIterator[CloudLab]:
    async with CLOUDS["s3"](moto.url, tmp_path) as made:
        yield made


# --- what an operator does ---------------------------------------------------------------------------------------


async def test_what_is_deleted_is_an_error_that_names_it_and_never_an_empty_store(lab: CloudLab) -> None:
    store = lab.open()
    version = await store.swap(KEY, b"one", None)
    lab.destroy()
    replacing, deleting = partial(store.swap, KEY, b"two", version), partial(store.swap, KEY, None, version)
    creating = partial(store.swap, "groups/new", b"", None)
    calls: list[Callable[[], Awaitable[object]]] = [partial(store.read, ""), replacing, deleting, creating]
    for call in calls:
        with pytest.raises(StoreError, match=rf"{lab.names}.*{lab.gone}"):
            await call()
    lab.make()
    assert await store.read("") == {}
    for value in (b"two", None):
        with pytest.raises(Conflict):
            await store.swap(KEY, value, version)
    again = await store.swap(KEY, b"one", None)
    assert await store.read("") == {KEY: Entry(b"one", again)}


async def test_prefixes_keep_clusters_of_one_name_apart(lab: CloudLab) -> None:
    places = [("", "shop"), ("eu/", "shop"), ("us/", "shop"), ("", "eu/shop"), ("eu/x/", "shop")]
    stores = [lab.open(cluster, prefix=prefix) for prefix, cluster in places]
    for number, store in enumerate(stores):
        await store.swap(KEY, str(number).encode(), None)
    for number, store in enumerate(stores):
        (entry,) = (await store.read("")).values()
        assert entry.value == str(number).encode()
        await store.swap(KEY, None, entry.version)
    for store in stores:
        assert await store.read("") == {}


@pytest.mark.parametrize("prefix", ["eu", "/eu/", "../", "eu//", "e u/", "eu/./"])
def test_a_prefix_that_could_mean_somebody_elses_keys_is_refused(lab: CloudLab, prefix: str) -> None:
    with pytest.raises(ValidationError, match="prefix"):
        store_type(lab.backend.type).Options.model_validate(lab.backend.options | {"prefix": prefix})


def test_names_are_of_one_kind_and_come_back() -> None:
    keys = Keys.of("eu/", "../shöp")
    assert keys.root == "eu/%2E%2E%2Fsh%C3%B6p/"
    for key in ("groups/..", 'groups/"ü"%2E', "sessions/n-1_x", "\u4e2d"):
        assert keys.key(keys.name(key)) == key
        assert keys.name(key).startswith(keys.name(key[:-1]))


# --- credentials -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dynamodb", "s3"])
async def test_expired_credentials_are_replaced_and_the_request_made_again(lab: CloudLab) -> None:
    store = lab.open()
    version = await store.swap(KEY, b"one", None)
    lab.ailments.refusal = lambda: aws_error(
        lab.backend.type, "ExpiredTokenException", "The security token has expired"
    )
    lab.ailments.refusing = 1
    version = await store.swap(KEY, b"two", version)
    lab.ailments.refusing = 1
    assert await store.read("") == {KEY: Entry(b"two", version)}


@pytest.mark.parametrize("kind", ["dynamodb", "s3"])
async def test_credentials_that_stay_expired_are_said(lab: CloudLab) -> None:
    store = lab.open(call_timeout=2.0)
    lab.ailments.refusal = lambda: aws_error(
        lab.backend.type, "ExpiredTokenException", "The security token has expired"
    )
    lab.ailments.refusing = 10_000
    said = r"ExpiredTokenException.*The security token has expired"
    await eventually(lambda: says(store.read(""), said))
    await eventually(lambda: says(store.swap(KEY, b"one", None), said))


@pytest.mark.parametrize("kind", ["dynamodb", "s3"])
async def test_no_credentials_are_said(lab: CloudLab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in moto.CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    store = lab.open(call_timeout=2.0)
    await eventually(lambda: says(store.read(""), "Unable to locate credentials"))


@pytest.mark.parametrize("kind", ["dynamodb", "s3"])
async def test_what_is_not_allowed_is_said_at_once(lab: CloudLab) -> None:
    store = lab.open(call_timeout=60.0)
    code = "AccessDeniedException" if lab.backend.type == "dynamodb" else "AccessDenied"
    lab.ailments.refusal = lambda: aws_error(lab.backend.type, code, "not authorized to perform this", 403)
    for call in (partial(store.read, ""), partial(store.swap, KEY, b"one", None)):
        lab.ailments.refusing = 1
        with pytest.raises(StoreError, match=rf"{code}.*not authorized"):
            await call()


async def test_a_key_that_is_wrong_is_said_and_never_shown(blobs: Server, tmp_path: Path) -> None:
    async with CLOUDS["azure_blob"](azurite.account_url(blobs), tmp_path) as lab:
        wrong = tmp_path / "wrong"
        wrong.write_text(azurite.KEY.replace("E", "F"))
        with pytest.raises(StoreError, match=r"403 AuthorizationFailure|403 AuthenticationFailed") as error:
            await lab.open(account_key_file=str(wrong)).read("")
        assert wrong.read_text() not in str(error.value)


async def test_credentials_are_never_logged(
    lab: CloudLab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AWS_SESSION_TOKEN", token := "session-token-that-nobody-logs")
    store = lab.open()
    version = await store.swap(KEY, b"one", None)
    await store.read("")
    with pytest.raises(Conflict):
        await store.swap(KEY, b"two", None)
    lab.ailments.losing = True
    with pytest.raises(StoreError) as error:
        await store.swap(KEY, b"two", version)
    said = [str(error.value), repr(store), repr(vars(store)), *(str(record.__dict__) for record in caplog.records)]
    for secret in (moto.SECRET, token, azurite.KEY):
        assert not [text for text in said if secret in text]


def test_a_token_is_not_sent_in_the_clear() -> None:
    options = {"account": "example", "container": "anyvip", "endpoint": "http://127.0.0.1:10000/example"}
    with pytest.raises(ValidationError, match="over https:// only"):
        store_type("azure_blob").Options.model_validate(options)


def test_a_key_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    kind = store_type("azure_blob")
    file = tmp_path / "key"
    file.write_bytes(b"\xff\xfe")
    options = kind.Options.model_validate({"account": "example", "container": "anyvip", "account_key_file": str(file)})
    with pytest.raises(StoreError, match="store azure_blob: "):
        kind.open(options, cluster="shop", call_timeout=1.0)


# --- what is asked -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["azure_blob", "s3"])
async def test_only_changed_objects_are_fetched_again(lab: CloudLab) -> None:
    store, other = lab.open(), lab.open()
    versions = [await other.swap(f"groups/{number}", b"{}", None) for number in range(12)]
    own = await store.swap("sessions/1", b"0", None)
    asked: list[int] = []
    for step in ("all", "nothing", "own", "one", "deleted"):
        if step == "own":
            own = await store.swap("sessions/1", b"1", own)
        elif step == "one":
            versions[3] = await other.swap("groups/3", b"new", versions[3])
        elif step == "deleted":
            await other.swap("groups/3", None, versions[3])
        before = lab.ailments.asked["GET"]
        entries = await store.read("")
        asked.append(lab.ailments.asked["GET"] - before)
    assert asked == [1 + 12, 1, 1, 2, 1]
    assert len(entries) == 12
    assert entries["sessions/1"] == Entry(b"1", own)


async def test_an_object_that_goes_between_listing_and_fetching_is_gone(s3: CloudLab) -> None:
    store, other = s3.open(), s3.open()
    kept = await other.swap("groups/kept", b"kept", None)
    await other.swap(KEY, b"one", None)

    def delete_what_is_fetched(path: str) -> str:
        if "list-type=2" not in path:
            moto.s3_client(s3.passage.target).delete_object(Bucket=s3.names, Key="shop/groups/web")
        return path

    s3.passage.asking = delete_what_is_fetched
    assert await store.read("") == {"groups/kept": Entry(b"kept", kept)}


async def test_connections_are_kept(lab: CloudLab) -> None:
    """Of records as the daemon writes them: Azure's SDK gives up the connection on which it fetches an empty blob."""
    store = lab.open()
    version = await store.swap("sessions/1", b"{}", None)
    lab.passage.connections.clear()
    for _ in range(15):
        version, _ = await asyncio.gather(store.swap("sessions/1", b"{}", version), store.read(""))
    assert len(lab.passage.connections) <= 2, "one for the write, one for the read: its calls follow each other"


async def test_a_listing_of_several_pages_is_read_to_its_end(s3: CloudLab) -> None:
    store = s3.open()
    keys = {f"groups/{number}" for number in range(7)}
    for key in keys:
        await store.swap(key, key.encode(), None)
    s3.passage.asking = lambda path: f"{path}&max-keys=3" if "list-type=2" in path else path
    before = s3.passage.listed
    assert set(await store.read("")) == keys
    assert s3.passage.listed == before + 3


@pytest.mark.parametrize("kind", ["dynamodb"])
async def test_more_than_a_page_of_items_is_read_to_its_end(lab: CloudLab) -> None:
    store = lab.open()
    for number in range(6):
        await store.swap(f"groups/{number}", bytes([number]) * 220_000, None)
    before = lab.ailments.asked["POST"]
    assert [entry.value[0] for entry in (await store.read("")).values()] == list(range(6))
    assert lab.ailments.asked["POST"] == before + 2


# --- S3 ----------------------------------------------------------------------------------------------------------


async def test_s3_says_409_to_writes_that_cross_and_nothing_was_written(s3: CloudLab) -> None:
    store = s3.open()
    version = await store.swap(KEY, b"one", None)
    message = "The conditional request cannot succeed due to a conflicting operation against this resource."
    s3.ailments.refusal = lambda: xml_error(409, "ConditionalRequestConflict", message)
    for key, value, expected in ((KEY, b"two", version), (KEY, None, version), ("groups/new", b"", None)):
        s3.ailments.refusing = 1
        with pytest.raises(Conflict):
            await store.swap(key, value, expected)
    assert await store.read("") == {KEY: Entry(b"one", version)}
    await store.swap(KEY, b"two", version)


async def test_what_somebody_else_put_into_the_bucket_is_handed_on_as_it_is(s3: CloudLab) -> None:
    store, client = s3.open(), moto.s3_client(s3.passage.target)
    client.put_object(Bucket=s3.names, Key="shop/groups/web", Body=b"notes of mine\nand more")
    entry = (await store.read(""))[KEY]
    assert entry.value == b"notes of mine\nand more"
    await store.swap(KEY, b"ours", entry.version)
    body = client.get_object(Bucket=s3.names, Key="shop/groups/web")["Body"].read()
    assert body.startswith(b"anyvip ")
    assert body.endswith(b"\nours")


@pytest.mark.parametrize("lost", ["if-none-match", "if-match"])
async def test_a_server_that_ignores_conditions_is_found_out_before_the_first_write(s3: CloudLab, lost: str) -> None:
    s3.passage.without = frozenset({lost})
    store = s3.open()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"this server ignores If-.*two nodes could be active"):
            await store.swap(KEY, b"one", None)
    assert await store.read("") == {}
    s3.passage.without = frozenset()
    await store.swap(KEY, b"one", None)
    assert set(await store.read("")) == {KEY}


async def test_several_nodes_try_a_server_at_once(s3: CloudLab) -> None:
    stores = [s3.open() for _ in range(4)]
    await asyncio.gather(*(store.swap(f"sessions/{n}", b"", None) for n, store in enumerate(stores)))
    assert len(await stores[0].read("")) == 4


# --- clocks ------------------------------------------------------------------------------------------------------


async def test_a_cloud_whose_clock_is_a_day_ahead_is_no_matter(tmp_path: Path, aws_credentials: None) -> None:
    with start_moto(tmp_path / "log", ahead=86_400.0) as server:
        at = {"region": moto.REGION, "endpoint_url": server.url}
        places = [
            Backend("s3", {"bucket": moto.make_bucket(server.url), **at}),
            Backend("dynamodb", {"table": moto.make_table(server.url), **at}),
        ]
        for place in places:
            store = place.open()
            version = await store.swap(KEY, b"one", None)
            version = await store.swap(KEY, b"two", version)
            assert await store.read("") == {KEY: Entry(b"two", version)}
            await place.close()
        listed = moto.s3_client(server.url).list_objects_v2(Bucket=places[0].options["bucket"])["Contents"]
        assert all(item["LastModified"].timestamp() > time.time() + 80_000 for item in listed), "its clock is not ahead"
