"""TLS and authentication against real etcd, and the options that say how."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import ssl
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest
import pytest_asyncio
import trustme

from controller.contracts.watch import watching
from controller.stores.base import Entry, StoreError
from controller.stores.etcd import EtcdStore
from tests.lab.stores.backends import Backend, etcd_or_skip, eventually, says

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.lab.stores.etcd import EtcdCluster

KEY = "groups/web"
PASSWORD = "correct horse"


# --- authentication ----------------------------------------------------------------------------------------------


def ask(cluster: EtcdCluster, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
    headers = {"Authorization": token} if token else {}
    with urlopen(Request(cluster.endpoints[0] + path, json.dumps(body).encode(), headers), timeout=60) as answer:
        return dict(json.load(answer))


def enable_users(cluster: EtcdCluster) -> None:
    """root, and ``anyvip``, who may do as he likes under ``/anyvip/``."""
    begin, end = (b64encode(key).decode() for key in (b"/anyvip/", b"/anyvip0"))
    for user, role in (("root", "root"), ("anyvip", "anyvip")):
        ask(cluster, "/v3/auth/role/add", {"name": role})
        ask(cluster, "/v3/auth/user/add", {"name": user, "password": PASSWORD})
        ask(cluster, "/v3/auth/user/grant", {"user": user, "role": role})
    permission = {"permType": "READWRITE", "key": begin, "range_end": end}
    ask(cluster, "/v3/auth/role/grant", {"name": "anyvip", "perm": permission})
    ask(cluster, "/v3/auth/enable", {})


@pytest.fixture
def guarded_etcd(own_etcd: EtcdCluster) -> EtcdCluster:
    enable_users(own_etcd)
    return own_etcd


@pytest_asyncio.fixture
async def guarded(guarded_etcd: EtcdCluster) -> AsyncIterator[Backend]:
    backend = Backend("etcd", {"endpoints": guarded_etcd.endpoints})
    yield backend
    await backend.close()


@pytest.mark.etcd
async def test_a_user_with_a_password_may_read_write_and_watch(guarded: Backend) -> None:
    store = guarded.open(user="anyvip", password=PASSWORD)
    async with watching(store) as hints:
        await hints.next()
        version = await store.swap(KEY, b"one", None)
        assert await store.read("") == {KEY: Entry(b"one", version)}
        await hints.next()


@pytest.mark.etcd
async def test_the_password_may_be_in_a_file(guarded: Backend, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    assert await guarded.open(user="anyvip", password_file=str(file)).read("") == {}


@pytest.mark.etcd
async def test_a_password_file_that_is_replaced_is_read_again(guarded: Backend, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("an old one\n")
    store = guarded.open(user="anyvip", password_file=str(file))
    assert await says(store.read(""), "authentication failed")
    file.write_text(f"{PASSWORD}\n")
    assert await store.read("") == {}


@pytest.mark.etcd
@pytest.mark.parametrize(
    ("access", "says"),
    [
        ({"user": "anyvip", "password": "wrong"}, "authentication failed"),
        ({"user": "nobody", "password": PASSWORD}, "authentication failed"),
        ({}, "user name is empty: this etcd requires user and password"),
        ({"user": "anyvip", "password": PASSWORD, "prefix": "/theirs/"}, "permission denied"),
    ],
)
async def test_who_may_not_is_told_why(guarded: Backend, access: dict[str, str], says: str) -> None:
    store = guarded.open(call_timeout=60.0, **access)
    with pytest.raises(StoreError, match=says):
        await store.read("")
    with pytest.raises(StoreError, match=says):
        await store.swap(KEY, b"", None)


@pytest.mark.etcd
async def test_a_token_that_etcd_has_forgotten_is_renewed(guarded: Backend, guarded_etcd: EtcdCluster) -> None:
    """etcd keeps tokens in memory: after a restart it refuses ours, as it does when they are too old."""
    store = guarded.open(user="anyvip", password=PASSWORD)
    version = await store.swap(KEY, b"one", None)
    async with watching(store) as hints:
        await hints.next()
        guarded_etcd.members[0].kill()
        guarded_etcd.members[0].start()
        guarded_etcd.members[0].wait_ready()
        version = await store.swap(KEY, b"two", version)
        assert await store.read("") == {KEY: Entry(b"two", version)}
        await eventually(lambda: hinted(store, hints))


async def hinted(store: Any, hints: Any) -> bool:
    """Whether a write is followed by a hint sooner or later."""
    before: int = hints.count
    current = (await store.read(""))[KEY]
    await store.swap(KEY, current.value, current.version)
    return bool(hints.count > before)


@pytest.mark.etcd
async def test_a_change_of_permissions_does_not_lock_us_out(guarded: Backend, guarded_etcd: EtcdCluster) -> None:
    """It makes every token that was given before it too old."""
    store = guarded.open(user="anyvip", password=PASSWORD)
    version = await store.swap(KEY, b"one", None)
    token = ask(guarded_etcd, "/v3/auth/authenticate", {"name": "root", "password": PASSWORD})["token"]
    ask(guarded_etcd, "/v3/auth/role/add", {"name": "another"}, token)
    assert await store.swap(KEY, b"two", version)


@pytest.mark.etcd
async def test_a_user_is_no_harm_where_etcd_asks_for_none(own_etcd: EtcdCluster) -> None:
    backend = Backend("etcd", {"endpoints": own_etcd.endpoints})
    store = backend.open(user="anyvip", password=PASSWORD)
    version = await store.swap(KEY, b"one", None)
    enable_users(own_etcd)
    assert await store.read("") == {KEY: Entry(b"one", version)}, "users were enabled under way"
    await backend.close()


# --- TLS ---------------------------------------------------------------------------------------------------------


@dataclass
class Secured:
    """etcd that shows a certificate for 127.0.0.1 and etcd.test, and asks for one."""

    cluster: EtcdCluster
    ca: str
    foreign_ca: str
    client: dict[str, Any]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("tls")
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    stranger.cert_pem.write_to_path(str(directory / "foreign.pem"))
    for name, identities in {"server": ["127.0.0.1", "etcd.test"], "client": ["anyvip"]}.items():
        certificate = authority.issue_cert(*identities)
        certificate.cert_chain_pems[0].write_to_path(str(directory / f"{name}.pem"))
        certificate.private_key_pem.write_to_path(str(directory / f"{name}.key"))
    extra = [
        f"--cert-file={directory / 'server.pem'}",
        f"--key-file={directory / 'server.key'}",
        f"--trusted-ca-file={directory / 'ca.pem'}",
        "--client-cert-auth",
    ]
    client = {"cert_file": str(directory / "client.pem"), "key_file": str(directory / "client.key")}
    with etcd_or_skip(1, directory, client_scheme="https", extra=extra) as cluster:
        yield Secured(cluster, str(directory / "ca.pem"), str(directory / "foreign.pem"), client)


@pytest_asyncio.fixture
async def tls(secured: Secured, request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    backend = Backend("etcd", {"endpoints": secured.cluster.endpoints, "prefix": f"/{request.node.name}/"})
    yield backend
    await backend.close()


@pytest.mark.etcd
async def test_both_sides_show_certificates(tls: Backend, secured: Secured) -> None:
    store = tls.open(ca_file=secured.ca, **secured.client)
    async with watching(store) as hints:
        await hints.next()
        version = await store.swap(KEY, b"one", None)
        assert await store.read("") == {KEY: Entry(b"one", version)}
        await hints.next()


@pytest.mark.etcd
async def test_an_authority_that_is_replaced_is_used_for_new_connections(
    tls: Backend, secured: Secured, tmp_path: Path
) -> None:
    """Without a restart: certificates are replaced before they expire, while the daemon runs."""
    file = tmp_path / "ca.pem"
    shutil.copy(secured.foreign_ca, file)
    store = tls.open(call_timeout=0.5, ca_file=str(file), **secured.client)
    await eventually(lambda: says(store.read(""), "certificate verify failed"))
    shutil.copy(secured.ca, file)
    await eventually(lambda: answers(store))


@pytest.mark.etcd
async def test_a_certificate_of_ours_that_is_replaced_is_used_for_new_connections(
    tls: Backend, secured: Secured, tmp_path: Path
) -> None:
    own = {key: str(tmp_path / key) for key in secured.client}
    old = trustme.CA().issue_cert("old.test")
    old.private_key_and_cert_chain_pem.write_to_path(own["cert_file"])
    old.private_key_pem.write_to_path(own["key_file"])
    store = tls.open(call_timeout=0.5, ca_file=secured.ca, **own)
    await eventually(lambda: says(store.read(""), "."))
    for key, file in own.items():
        shutil.copy(secured.client[key], file)
    await eventually(lambda: answers(store))


async def answers(store: Any) -> bool:
    try:
        return not await store.read("")
    except StoreError:
        return False


@pytest.mark.etcd
def test_a_watch_leaves_no_connection_behind(secured: Secured) -> None:
    """Nor when the server does not say goodbye. A connection that outlives its event loop is a ResourceWarning."""
    member = secured.cluster.members[0]

    async def watch() -> None:
        backend = Backend("etcd", {"endpoints": secured.cluster.endpoints})
        async with watching(backend.open(ca_file=secured.ca, **secured.client)) as hints:
            await hints.next()
            member.freeze()
        await backend.close()

    try:
        asyncio.run(watch())
    finally:
        member.thaw()
    gc.collect()


@pytest.mark.etcd
async def test_the_certificate_may_be_for_another_name(tls: Backend, secured: Secured) -> None:
    assert await tls.open(ca_file=secured.ca, server_name="etcd.test", **secured.client).read("") == {}


@pytest.mark.etcd
async def test_a_certificate_for_another_name_is_refused(tls: Backend, secured: Secured) -> None:
    store = tls.open(call_timeout=0.5, ca_file=secured.ca, server_name="else.test", **secured.client)
    await eventually(lambda: says(store.read(""), r"not valid for 'else\.test'"))


@pytest.mark.etcd
async def test_an_authority_that_we_do_not_know_is_refused(tls: Backend, secured: Secured) -> None:
    store = tls.open(call_timeout=0.5, ca_file=secured.foreign_ca, **secured.client)
    await eventually(lambda: says(store.read(""), "certificate verify failed"))


@pytest.mark.etcd
async def test_without_our_certificate_etcd_refuses(tls: Backend, secured: Secured) -> None:
    with pytest.raises(StoreError):
        await tls.open(call_timeout=0.5, ca_file=secured.ca).swap(KEY, b"", None)


@pytest.mark.etcd
async def test_plain_http_to_tls_is_a_store_error(tls: Backend, secured: Secured) -> None:
    plain = [endpoint.replace("https", "http") for endpoint in secured.cluster.endpoints]
    store = tls.open(call_timeout=0.5, endpoints=plain)
    await eventually(lambda: says(store.swap(KEY, b"", None), r"disconnected|HTTP 400"))


# --- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "endpoints"),
        ({"endpoints": []}, "at least 1 item"),
        ({"endpoints": ["10.0.0.9:2379"]}, "is not http://host:port"),
        ({"endpoints": ["ftp://10.0.0.9"]}, "is not http://host:port"),
        ({"endpoints": ["http://10.0.0.9:2379/v3"]}, "is not http://host:port"),
        ({"endpoints": ["http://10.0.0.9:port"]}, "is not http://host:port"),
        ({"endpoints": ["http://10.0.0.9:2379?a=b"]}, "is not http://host:port"),
        ({"endpoints": ["http://u:p@10.0.0.9:2379"]}, "is not http://host:port"),
        ({"prefix": "/anyvip"}, "must end in '/'"),
        ({"user": "anyvip"}, "user and password"),
        ({"password": "x"}, "user and password"),
        ({"user": "anyvip", "password": "x", "password_file": __file__}, "not both"),
        ({"cert_file": __file__}, "cert_file and key_file"),
        ({"ca_file": __file__}, "need endpoints that begin with https"),
        ({"ca_file": "/no/such/file"}, "does not point to a file"),
        ({"server_name": "etcd.test"}, "need endpoints that begin with https"),
        ({"endpoint": "http://10.0.0.9:2379"}, "Extra inputs"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], says: str) -> None:
    base = {} if says == "endpoints" else {"endpoints": ["http://10.0.0.9:2379"]}
    with pytest.raises(ValueError, match=says):
        EtcdStore.Options.model_validate(base | options)


def test_a_password_does_not_show() -> None:
    options = EtcdStore.Options.model_validate(
        {"endpoints": ["http://10.0.0.9:2379"], "user": "anyvip", "password": PASSWORD},
    )
    assert PASSWORD not in repr(options)


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
def test_a_file_that_is_no_pem_file_is_named(tmp_path: Path, key: str) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("not PEM")
    files = {key: str(bad)} | ({"key_file": str(bad)} if key == "cert_file" else {})
    options = EtcdStore.Options.model_validate({"endpoints": ["https://10.0.0.9:2379"], **files})
    with pytest.raises(StoreError, match=rf"{key} {bad}") as error:
        EtcdStore.open(options, cluster="shop", call_timeout=1.0)
    assert isinstance(error.value.__cause__, OSError)
    assert isinstance(error.value.__cause__.__cause__, ssl.SSLError)
