"""What somebody else leaves under anyvip's names spoils its own key at most, never a listing or another key."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from controller.stores.base import Entry
from controller.stores.etcd import EtcdStore
from controller.stores.kit.keys import Keys
from controller.stores.kit.objects import LARGEST_VALUE
from tests.lab.http.serving import serving
from tests.lab.stores.backends import Backend
from tests.lab.stores.consul import Consul, Pair
from tests.lab.stores.gcs import Gcs
from tests.lab.stores.moto import REGION, dynamodb_client, make_bucket, make_table, s3_client

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.host.servers import Server

KEY = "groups/web"
NAMES = ("groups%2Fweb", "groups/w%65b", "groups/%ff", "groups/%FF", "groups/é", "groups/w.eb", "%", "groups/%ED%A0%80")


@pytest_asyncio.fixture
async def fake() -> Consul:
    return Consul()


def test_a_name_that_no_key_has_is_no_key() -> None:
    keys = Keys.of("", "shop")
    assert [keys.key(f"shop/{name}") for name in NAMES] == [None] * len(NAMES)
    assert keys.key(keys.name(KEY)) == KEY


@pytest.mark.etcd
async def test_a_name_in_etcd_that_is_not_text_is_left_out(place: Backend) -> None:
    store = place.open()
    assert isinstance(store, EtcdStore)
    version = await store.swap(KEY, b"one", None)
    for name in (b"\xff", b"groups/\xff\xfe", b"sessions/\xed\xa0\x80"):
        path = store._root.encode() + name
        body = {"key": b64encode(path).decode(), "value": b64encode(b"x").decode()}
        await store._gateway.call("/v3/kv/put", body, repeatable=True)
    for _ in range(2):
        assert await store.read("") == {KEY: Entry(b"one", version)}


async def test_a_name_in_consul_that_no_key_has_is_left_out(fake: Consul) -> None:
    async with serving(fake.application()) as endpoint:
        backend = Backend("consul", {"endpoints": [endpoint]})
        store = backend.open()
        version = await store.swap(KEY, b"one", None)
        (pair,) = fake.pairs.values()
        for name in (*NAMES, *(name.replace("%", ",") for name in NAMES)):
            fake.pairs[f"anyvip/shop/{name}"] = Pair(b"forged", pair.flags, pair.created, pair.modified)
        assert await store.read("") == {KEY: Entry(b"one", version)}
        await backend.close()


async def test_an_object_in_gcs_that_no_key_has_is_left_out_and_a_huge_one_is_not_fetched() -> None:
    fake = Gcs(tokens={"ya29.lab"}, buckets={"witness": {}})
    metadata = fake.metadata_server()
    async with serving(fake.application()) as endpoint, serving(metadata) as told:
        backend = Backend("gcs", {"bucket": "witness", "endpoint": endpoint, "metadata_endpoint": told})
        store = backend.open()
        version = await store.swap(KEY, b"one", None)
        bucket = fake.buckets["witness"]
        made, _ = bucket["anyvip/shop/groups/web"]
        for name in NAMES:
            bucket[f"anyvip/shop/{name}"] = ({**made, "name": f"anyvip/shop/{name}", "metadata": {}}, b"forged")
        huge = {**made, "name": "anyvip/shop/groups/huge", "metadata": {}, "size": str(LARGEST_VALUE + 1)}
        bucket["anyvip/shop/groups/huge"] = (huge, b"")
        before = fake.ailments.asked["GET"]
        found = dict(await store.read(""))
        assert (found.pop("groups/huge").value, found) == (b"", {KEY: Entry(b"one", version)})
        assert fake.ailments.asked["GET"] == before + 1
        await backend.close()


async def test_an_object_in_s3_that_no_key_has_is_left_out_and_a_huge_one_is_cut(moto: Server) -> None:
    bucket, client = make_bucket(moto.url), s3_client(moto.url)
    backend = Backend("s3", {"bucket": bucket, "region": REGION, "endpoint_url": moto.url})
    store = backend.open()
    version = await store.swap(KEY, b"one", None)
    for name in NAMES:
        client.put_object(Bucket=bucket, Key=f"shop/{name}", Body=b"forged")
    client.put_object(Bucket=bucket, Key="shop/groups/huge", Body=b"x" * (LARGEST_VALUE + 1))
    found = dict(await store.read(""))
    assert (len(found.pop("groups/huge").value), found) == (LARGEST_VALUE, {KEY: Entry(b"one", version)})
    await backend.close()


@pytest.mark.parametrize(
    "forged",
    [{}, {"value": {"B": b"x"}}, {"version": {"S": "v"}}, {"value": {"S": "x"}, "version": {"S": "v"}}],
    ids=str,
)
async def test_an_item_in_dynamodb_that_is_not_anyvips_spoils_its_own_key_only(
    moto: Server, forged: dict[str, Any]
) -> None:
    table = make_table(moto.url)
    backend = Backend("dynamodb", {"table": table, "region": REGION, "endpoint_url": moto.url})
    store = backend.open()
    version = await store.swap(KEY, b"one", None)
    item = {"cluster": {"S": "shop/"}, "key": {"S": "groups/db"}, **forged}
    dynamodb_client(moto.url).put_item(TableName=table, Item=item)
    found = dict(await store.read(""))
    assert (found.pop("groups/db").value, found) == (b"", {KEY: Entry(b"one", version)})
    await backend.close()


async def test_a_file_that_is_no_snapshot_hides_none(tmp_path: Path) -> None:
    backend = Backend("file", {"path": str(tmp_path)})
    store = backend.open()
    version = await store.swap(KEY, b"one", None)
    for name in ("5", "0000099999999", "99999999999", "१२३४५६७८९०१२", "groups", "999999999999.old"):
        (tmp_path / "shop.store" / name).write_bytes(b"forged")
    assert await store.read("") == {KEY: Entry(b"one", version)}
    await store.swap(KEY, b"two", version)
    assert [entry.value for entry in (await store.read("")).values()] == [b"two"]
    await backend.close()
