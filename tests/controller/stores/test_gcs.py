"""The Google Cloud Storage store against a strict fake: tokens, what a list carries, limits; and that the fake is strict."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio

from controller.config.loading import from_bytes
from controller.config.problem import ConfigError
from controller.stores.base import Conflict, Entry, StoreError
from controller.stores.gcs import GcsStore, _multipart
from tests.lab.http.serving import serving
from tests.lab.stores.backends import Backend, eventually, says
from tests.lab.stores.gcs import LARGEST_METADATA, Gcs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEY = "groups/web"
TOKEN = "ya29.a-token-that-nobody-logs"


@pytest_asyncio.fixture
async def fake() -> Gcs:
    return Gcs(tokens={TOKEN}, given=TOKEN, buckets={"witness": {}})


@pytest_asyncio.fixture
async def place(fake: Gcs) -> AsyncIterator[Backend]:
    async with serving(fake.application()) as endpoint, serving(fake.metadata_server()) as metadata:
        backend = Backend("gcs", {"bucket": "witness", "endpoint": endpoint, "metadata_endpoint": metadata})
        yield backend
        await backend.close()


# --- tokens ----------------------------------------------------------------------------------------------------------


async def test_one_token_serves_many_requests(fake: Gcs, place: Backend) -> None:
    store = place.open()
    await asyncio.gather(*(store.swap(f"groups/{number}", b"{}", None) for number in range(5)), store.read(""))
    assert fake.given_times == 1
    assert set(fake.seen_tokens) == {TOKEN}


async def test_a_token_that_is_refused_is_fetched_anew_and_the_write_done_once(fake: Gcs, place: Backend) -> None:
    store = place.open()
    version = await store.swap(KEY, b"one", None)
    fake.tokens, fake.given = {"ya29.next"}, "ya29.next"
    assert await store.swap(KEY, b"two", version), "what is refused was not done"
    assert fake.seen_tokens[-2:] == [TOKEN, "ya29.next"]


async def test_an_identity_that_may_nothing_is_said(fake: Gcs, place: Backend) -> None:
    fake.tokens = {"somebody else's"}
    with pytest.raises(StoreError, match="HTTP 401 Invalid Credentials") as error:
        await place.open().read("")
    assert TOKEN not in str(error.value)


async def test_a_token_about_to_end_is_renewed_beside_the_calls(fake: Gcs, place: Backend) -> None:
    fake.given_seconds = 60.0  # google-auth takes a token for stale in its last 3:45
    store = place.open()
    await store.read("")

    async def renewed() -> bool:
        await store.read("")
        return fake.given_times >= 2

    await eventually(renewed)


async def test_a_token_that_still_holds_serves_where_no_new_one_can_be_had(fake: Gcs) -> None:
    fake.given_seconds = 60.0
    async with serving(fake.application()) as endpoint:
        async with serving(fake.metadata_server()) as metadata:
            options = {"bucket": "witness", "endpoint": endpoint, "metadata_endpoint": metadata}
            backend = Backend("gcs", options)
            store = backend.open()
            await store.read("")
        assert await store.read("") == {}
        await backend.close()


async def test_a_store_that_was_closed_before_it_had_a_token_says_so(fake: Gcs, place: Backend) -> None:
    store = place.open()
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.read("")
    assert fake.given_times == 0


async def test_no_metadata_server_is_said(fake: Gcs) -> None:
    async with serving(fake.application()) as endpoint:
        options = {"bucket": "witness", "endpoint": endpoint, "metadata_endpoint": "http://127.0.0.1:9"}
        backend = Backend("gcs", options)
        store = backend.open(call_timeout=0.5)
        await eventually(lambda: says(store.read(""), r"no token: .*http://127\.0\.0\.1:9"))
        assert fake.seen_tokens == []
        await backend.close()


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text('{"private_key": "a-secret"}')
    with pytest.raises(StoreError, match=f"store gcs: {file}") as error:
        Backend("gcs", {"bucket": "witness"}).open(credentials_file=str(file))
    assert "a-secret" not in str(error.value)


# --- what a list carries ---------------------------------------------------------------------------------------------


async def test_a_record_comes_with_the_list_and_anything_else_is_fetched_once(fake: Gcs, place: Backend) -> None:
    store, reader = place.open(), place.open()
    values = {"groups/a": b'{"epoch":1}', "groups/b": b"\xff", "groups/c": b"x" * 10_000, "groups/d": b""}
    for key, value in values.items():
        await store.swap(key, value, None)
    before = fake.ailments.asked["GET"]
    assert {key: entry.value for key, entry in (await reader.read("")).items()} == values
    assert fake.ailments.asked["GET"] == before + 4, "a list, and three that are no short text"
    await reader.read("")
    assert fake.ailments.asked["GET"] == before + 5


async def test_metadata_that_somebody_changes_counts_for_nothing(fake: Gcs, place: Backend) -> None:
    store = place.open()
    version = await store.swap(KEY, b"true", None)
    made, _ = fake.buckets["witness"]["anyvip/shop/groups/web"]
    made["metadata"], made["metageneration"] = {"record": "forged"}, "2"
    assert await store.read("") == {KEY: Entry(b"true", version)}
    made["metadata"], made["metageneration"] = {}, "3"
    assert await place.open().read("") == {KEY: Entry(b"true", version)}


async def test_a_list_of_several_pages_is_read_to_its_end(fake: Gcs, place: Backend) -> None:
    fake.page = 3
    store = place.open()
    for number in range(10):
        await store.swap(f"groups/{number}", b"{}", None)
    assert len(await store.read("")) == 10
    assert len(await store.read("groups/")) == 10


async def test_an_object_that_goes_between_list_and_fetch_is_gone(fake: Gcs, place: Backend) -> None:
    store = place.open()
    version = await store.swap(KEY, b"\xff", None)
    listing = fake._listed

    def listed_and_deleted(bucket: dict[str, Any], call: Any) -> Any:
        answer = listing(bucket, call)
        bucket.clear()
        return answer

    fake._listed = listed_and_deleted  # type: ignore[method-assign]
    assert await place.open().read("") == {}
    with pytest.raises(Conflict):
        await store.swap(KEY, None, version)


def test_a_record_fits_into_the_metadata_with_its_name() -> None:
    _, data = _multipart("a", b"x" * 7_000)
    told = json.loads(data.split(b"\r\n\r\n")[1].partition(b"\r\n")[0])
    assert sum(len(key) + len(value) for key, value in told["metadata"].items()) <= LARGEST_METADATA


# --- refusals --------------------------------------------------------------------------------------------------------


async def test_a_bucket_that_is_not_there_is_said_and_is_neither_empty_nor_a_conflict(place: Backend) -> None:
    store = place.open(bucket="nowhere")
    for call in (lambda: store.read(""), lambda: store.swap(KEY, b"", None), lambda: store.swap(KEY, None, None)):
        with pytest.raises(StoreError, match="HTTP 404 The specified bucket does not exist"):
            await call()


async def test_writes_of_one_object_in_quick_succession_are_slowed_down_not_lost(fake: Gcs, place: Backend) -> None:
    fake.write_pause_seconds = 3600
    store, hasty = place.open(call_timeout=30), place.open(call_timeout=0.3)
    version = await store.swap(KEY, b"one", None)
    with pytest.raises(StoreError, match=r"429 .*rate limit|no answer"):
        await hasty.swap(KEY, b"two", version)
    writing = asyncio.create_task(store.swap(KEY, b"three", version))
    before = fake.ailments.asked["POST"]
    await eventually(lambda: asyncio.sleep(0, fake.ailments.asked["POST"] > before + 1))
    fake.write_pause_seconds = 0
    version = await writing
    assert await store.read("") == {KEY: Entry(b"three", version)}


async def test_a_server_that_ignores_conditions_is_not_written_to(fake: Gcs, place: Backend) -> None:
    fake.heedless = True
    store = place.open()
    for _ in range(2):
        with pytest.raises(StoreError, match="ignores ifGenerationMatch"):
            await store.swap(KEY, b"one", None)
    assert list(fake.buckets["witness"]) == ["anyvip/shop/proof"]
    fake.make_again("witness")
    fake.heedless = False
    assert await store.swap(KEY, b"one", None)


def config(lease: str) -> bytes:
    return f"""\
cluster: shop
store: {{type: gcs, bucket: witness}}
lease: {lease}
groups:
  web: {{vips: [10.77.0.100/24], providers: [{{type: baremetal, interface: lo}}]}}
""".encode()


def test_a_lease_that_writes_more_often_than_google_takes_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        from_bytes(config("{duration_seconds: 5}"), "anyvip.yml")
    assert str(error.value) == (
        "anyvip.yml:3: lease.retry_period_seconds: found 0.875; allowed: at least 1 with the gcs store, which limits "
        "writes to one object; this needs duration_seconds of at least 5.8"
    )
    assert from_bytes(config("{duration_seconds: 6}"), "anyvip.yml").timing().retry_period >= 1


async def test_prefixes_do_not_see_each_other(place: Backend) -> None:
    ours, theirs = place.open(prefix="one/"), place.open(prefix="one/two/")
    await ours.swap(KEY, b"ours", None)
    await theirs.swap(KEY, b"theirs", None)
    assert [entry.value for entry in (await ours.read("")).values()] == [b"ours"]
    assert [entry.value for entry in (await theirs.read("")).values()] == [b"theirs"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "bucket"),
        ({"bucket": "a/b"}, "should match pattern"),
        ({"bucket": "gs://witness"}, "should match pattern"),
        ({"prefix": "anyvip"}, "must end in '/'"),
        ({"endpoint": "storage.googleapis.com"}, "is not http://host:port"),
        ({"credentials_file": "/no/such/file"}, "does not point to a file"),
        ({"project": "p"}, "Extra inputs"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], says: str) -> None:
    base = {} if says == "bucket" else {"bucket": "witness"}
    with pytest.raises(ValueError, match=says):
        GcsStore.Options.model_validate(base | options)


# --- the fake is strict ----------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    async with serving(Gcs(buckets={"witness": {}}).application()) as endpoint:
        yield endpoint


def upload(told: Any, media: bytes = b"x", kind: str = "multipart/related; boundary=b") -> tuple[str, bytes]:
    head = f"--b\r\nContent-Type: application/json\r\n\r\n{json.dumps(told)}\r\n--b\r\nContent-Type: text/plain\r\n\r\n"
    return kind, head.encode() + media + b"\r\n--b--\r\n"


async def ask(url: str, method: str, path: str, body: tuple[str, bytes] | None = None) -> int:
    headers = {"Content-Type": body[0]} if body else {}
    data = body[1] if body else None
    async with aiohttp.ClientSession(headers=headers) as http, http.request(method, url + path, data=data) as answer:
        await answer.read()
        return answer.status


OBJECTS = "/storage/v1/b/witness/o"
UPLOAD = f"/upload{OBJECTS}?uploadType=multipart&ifGenerationMatch="


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("0", upload({"name": "a"}), 200),
        ("0", upload({"name": "a", "metadata": {"record": "r"}}), 200),
        ("7", upload({"name": "a"}), 412),
        ("soon", upload({"name": "a"}), 400),
        ("0&ifGeneration=1", upload({"name": "a"}), 400),
        ("0", upload({"name": ""}), 400),
        ("0", upload({"name": "a\n"}), 400),
        ("0", upload({"name": "a", "generation": "7"}), 400),
        ("0", upload({"name": "a", "record": "r"}), 400),
        ("0", upload({"name": "a", "metadata": {"record": 7}}), 400),
        ("0", upload({"name": "a", "metadata": {"record": "r" * LARGEST_METADATA}}), 400),
        ("0", upload(["a"]), 400),
        ("0", upload({"name": "a"}, kind="application/json"), 400),
        ("0", ("multipart/related; boundary=c", upload({"name": "a"})[1]), 400),
    ],
)
async def test_uploads_are_looked_at(url: str, query: str, body: tuple[str, bytes], status: int) -> None:
    assert await ask(url, "POST", UPLOAD + query, body) == status


async def test_generations_are_kept_and_methods_looked_at(url: str) -> None:
    assert await ask(url, "POST", UPLOAD + "0", upload({"name": "a/b"})) == 200
    assert await ask(url, "POST", UPLOAD + "0", upload({"name": "a/b"})) == 412
    path = f"{OBJECTS}/{quote('a/b', safe='')}"
    assert await ask(url, "GET", f"{path}?alt=media") == 200
    assert await ask(url, "GET", f"{OBJECTS}/a/b?alt=media") == 404, "a name goes in escaped"
    assert await ask(url, "DELETE", path) == 400
    assert await ask(url, "DELETE", f"{path}?ifGenerationMatch=1") == 412
    assert await ask(url, "DELETE", f"{OBJECTS}/none?ifGenerationMatch=1") == 404
    assert await ask(url, "PATCH", path) == 400
    assert await ask(url, "GET", f"{OBJECTS}?prefix=a&delimiters=x") == 400
    assert await ask(url, "GET", "/storage/v1/b/nowhere/o") == 404
    assert await ask(url, "GET", "/storage/v2/b/witness/o") == 404
