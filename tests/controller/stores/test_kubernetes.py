"""The Kubernetes store against a strict fake: who it is, what it writes, watches; and that the fake is strict."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
import trustme
import yaml

from controller.contracts.watch import watching
from controller.core.records import Membership, Ownership, Session, SessionId, encode
from controller.stores.base import Conflict, Entry, StoreError
from controller.stores.kit import tls
from controller.stores.kubernetes import KubernetesStore
from tests.lab.http.serving import serving
from tests.lab.stores.backends import Backend, eventually, says
from tests.lab.stores.kube import GROUP, LARGEST_ANNOTATIONS, VERBS, Kube, Refused, kubeconfig
from tests.lab.stores.kube_schema import problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

KEY = "groups/web"
TOKEN = "eyJhbGciOi-a-token-that-nobody-logs"
MANIFEST = Path(__file__).parents[3] / "packaging" / "kubernetes.yaml"


@pytest_asyncio.fixture
async def fake() -> Kube:
    return Kube()


@pytest_asyncio.fixture
async def endpoint(fake: Kube) -> AsyncIterator[str]:
    async with serving(fake.application()) as url:
        yield url


@pytest_asyncio.fixture
async def place(endpoint: str, tmp_path: Path) -> AsyncIterator[Backend]:
    backend = Backend("kubernetes", {"kubeconfig": kubeconfig(tmp_path / "kubeconfig", endpoint)})
    yield backend
    await backend.close()


# --- who we are ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def account(directory: Path, authority: trustme.CA, token: str = TOKEN) -> Path:
    """A service account as a pod finds it."""
    directory.mkdir(exist_ok=True)
    authority.cert_pem.write_to_path(str(directory / "ca.crt"))
    (directory / "token").write_text(token)
    (directory / "namespace").write_text("default")
    return directory


def server_tls(authority: trustme.CA, *, asks_for_certificates: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "kube.test").configure_cert(context)
    if asks_for_certificates:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


@pytest_asyncio.fixture
async def pod(
    fake: Kube, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Backend]:
    """As in a pod: addresses in the environment, the service account in files."""
    fake.users = {TOKEN: VERBS}
    async with serving(fake.application(), server_tls(authority)) as url:
        host, _, port = url.removeprefix("https://").partition(":")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        backend = Backend("kubernetes", {"service_account_dir": str(account(tmp_path / "account", authority))})
        yield backend
        await backend.close()


async def test_a_pod_uses_its_service_account(fake: Kube, pod: Backend) -> None:
    store = pod.open()
    version = await store.swap(KEY, b"one", None)
    assert await store.read("") == {KEY: Entry(b"one", version)}
    assert set(fake.seen_tokens) == {TOKEN}


async def test_a_token_that_was_rotated_is_read_again(fake: Kube, pod: Backend, tmp_path: Path) -> None:
    store = pod.open()
    version = await store.swap(KEY, b"one", None)
    fake.users = {"the-next": VERBS}
    with pytest.raises(StoreError, match="HTTP 401 Unauthorized") as error:
        await store.read("")
    assert TOKEN not in str(error.value)
    (tmp_path / "account" / "token").write_text("the-next")
    assert await store.swap(KEY, b"two", version), "what is refused was not done"


async def test_a_token_is_read_again_every_minute(
    fake: Kube, pod: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bound tokens are replaced well before they end; nobody tells."""
    store = pod.open()
    await store.read("")
    (tmp_path / "account" / "token").write_text("the-next")
    fake.users["the-next"] = VERBS
    await store.read("")
    assert fake.seen_tokens[-1] == TOKEN
    monkeypatch.setattr(tls, "_SECRET_LIFE_SECONDS", 0.0)
    await store.read("")
    assert fake.seen_tokens[-1] == "the-next"


async def test_an_authority_that_we_do_not_know_is_refused(pod: Backend, tmp_path: Path) -> None:
    account(tmp_path / "account", trustme.CA())
    store = pod.open(call_timeout=0.4)
    await eventually(lambda: says(store.read(""), "certificate verify failed"))


async def test_outside_of_a_pod_the_kubeconfig_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(StoreError, match="configure kubeconfig"):
        Backend("kubernetes").open()


async def test_a_pod_without_service_account_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "::1")
    with pytest.raises(StoreError, match=str(tmp_path)):
        Backend("kubernetes").open(service_account_dir=str(tmp_path))


@pytest.mark.parametrize("embedded", [True, False], ids=["in the kubeconfig", "in files"])
async def test_a_kubeconfig_may_name_certificates(
    fake: Kube, authority: trustme.CA, tmp_path: Path, embedded: bool
) -> None:
    certificate = authority.issue_cert("anyvip")
    pems = {
        "certificate-authority": authority.cert_pem.bytes(),
        "client-certificate": certificate.cert_chain_pems[0].bytes(),
        "client-key": certificate.private_key_pem.bytes(),
    }
    for name, pem in pems.items():
        (tmp_path / name).write_bytes(pem)
    said = {f"{name}-data": b64encode(pem).decode() for name, pem in pems.items()} if embedded else {n: n for n in pems}
    cluster = {key: value for key, value in said.items() if "authority" in key} | {"tls-server-name": "kube.test"}
    user = {key: value for key, value in said.items() if "authority" not in key}
    async with serving(fake.application(), server_tls(authority, asks_for_certificates=True)) as url:
        backend = Backend("kubernetes", {"kubeconfig": kubeconfig(tmp_path / "config", url, user, **cluster)})
        assert await backend.open().read("") == {}
        bare = kubeconfig(tmp_path / "bare", url, None, **cluster)
        with pytest.raises(StoreError):
            await backend.open(kubeconfig=bare, call_timeout=0.4).read("")
        await backend.close()


async def test_a_kubeconfig_may_name_a_token_file(fake: Kube, endpoint: str, tmp_path: Path) -> None:
    fake.users = {TOKEN: VERBS}
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    backend = Backend("kubernetes", {"kubeconfig": kubeconfig(tmp_path / "config", endpoint, {"tokenFile": "token"})})
    assert await backend.open().read("") == {}
    await backend.close()


def said(cluster: str, user: str = "{}") -> str:
    return f"""\
current-context: a
contexts: [{{name: a, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {cluster}}}]
users: [{{name: u, user: {user}}}]
"""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("users: [{name: u, user: {token: a-secret}}", "is not YAML: expected ',' or ']'"),
        ("[]", "is not a kubeconfig"),
        ("{}", "has no current-context"),
        ("{current-context: a}", "has no context 'a'"),
        ("{current-context: a, contexts: [{name: a, context: {}}]}", "has no cluster"),
        ("{current-context: a, contexts: [{name: a, context: {cluster: c}}]}", "has no cluster 'c'"),
        (said("{server: 'https://h'}", "{exec: {command: aws}}"), "user 'u' uses exec; use token"),
        (said("{server: 'https://h', insecure-skip-tls-verify: true}"), "cluster 'c' uses insecure-skip-tls-verify"),
        (said("{server: 'https://h', certificate-authority-data: '%'}"), "certificate-authority-data is not base64"),
        (said("{server: 'https://h/path'}"), "is not http://host:port"),
        (said("{server: 7}"), "has no server"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_named_with_its_reason(
    tmp_path: Path, content: str, says: str
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(content)
    with pytest.raises(StoreError, match=f"{file}: .*{re.escape(says)}") as error:
        Backend("kubernetes").open(kubeconfig=str(file))
    assert "a-secret" not in str(error.value)


@pytest.mark.parametrize("missing", sorted(VERBS))
async def test_what_is_not_allowed_is_said_as_kubernetes_says_it(
    fake: Kube, endpoint: str, tmp_path: Path, missing: str
) -> None:
    fake.users = {TOKEN: VERBS - {missing}, "root": VERBS}
    backend = Backend("kubernetes", {"kubeconfig": kubeconfig(tmp_path / "config", endpoint, {"token": TOKEN})})
    other = backend.open(kubeconfig=kubeconfig(tmp_path / "root", endpoint, {"token": "root"}))
    version = await other.swap(KEY, b"one", None)
    store = backend.open()
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "list": lambda: store.read(""),
        "create": lambda: store.swap("groups/new", b"", None),
        "update": lambda: store.swap(KEY, b"two", version),
        "delete": lambda: store.swap(KEY, None, version),
    }
    for verb, call in calls.items():
        if verb == missing:
            with pytest.raises(StoreError, match=f'HTTP 403 .* cannot {verb} resource "leases"'):
                await call()
    assert await other.read("") == {KEY: Entry(b"one", version)}
    await backend.close()


def test_the_role_in_the_manifest_is_what_is_needed_and_the_manifest_is_valid() -> None:
    documents = [yaml.safe_load(part) for part in MANIFEST.read_text().split("---\n")]
    for document in documents:
        assert problem(document) is None
    (role,) = [document for document in documents if document["kind"] == "Role"]
    assert role["rules"] == [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": role["rules"][0]["verbs"]}
    ]
    assert set(role["rules"][0]["verbs"]) == VERBS


# --- what is written -------------------------------------------------------------------------------------------------


async def test_people_see_who_holds_it(fake: Kube, place: Backend) -> None:
    store = place.open("Shop/Ünicode")
    group = encode(Ownership(SessionId("s1"), "n1", 7))
    await store.swap(KEY, group, None)
    await store.swap("sessions/s1", encode(Session("n1", lease_duration=2.5, groups={"web": Membership()})), None)
    owned, session = sorted(fake.leases.values(), key=lambda lease: str(lease["metadata"]["annotations"]["anyvip/key"]))
    assert owned["metadata"]["name"].startswith("anyvip-shop-nicode-groups-web-")
    assert owned["metadata"]["annotations"]["anyvip/record"] == group.decode()
    assert (owned["spec"]["holderIdentity"], owned["spec"]["leaseTransitions"]) == ("n1", 7)
    assert (session["spec"]["holderIdentity"], session["spec"]["leaseDurationSeconds"]) == ("n1", 3)


async def test_names_are_allowed_and_differ_where_keys_or_clusters_do(fake: Kube, place: Backend) -> None:
    keys = ["a", "A", "a/", "-a", "ä", "", "x" * 400, "x" * 401]
    for cluster in ("shop", "Shop", "shop-a", "x" * 300):
        for key in keys:
            await place.open(cluster).swap(key, b"", None)
    assert len(fake.leases) == 4 * len(keys)
    for cluster in ("shop", "Shop", "shop-a", "x" * 300):
        assert set(await place.open(cluster).read("")) == set(keys)


async def test_a_copy_that_somebody_made_is_nobodys_record(fake: Kube, place: Backend) -> None:
    store = place.open()
    version = await store.swap(KEY, b"one", None)
    (lease,) = fake.leases.values()
    fake.leases["default", "backup"] = {**lease, "metadata": {**lease["metadata"], "name": "backup"}}
    assert await store.read("") == {KEY: Entry(b"one", version)}


@pytest.mark.parametrize("edited", [{}, {"anyvip/record-base64": "%"}, {"anyvip/record-base64": "\u00e9"}], ids=str)
async def test_a_record_that_somebody_edited_spoils_its_own_key_only(
    fake: Kube, place: Backend, edited: dict[str, str]
) -> None:
    store = place.open()
    await store.swap(KEY, b"one", None)
    (lease,) = fake.leases.values()
    del lease["metadata"]["annotations"]["anyvip/record"]
    lease["metadata"]["annotations"].update(edited)
    version = await store.swap("groups/db", b"two", None)
    found = await store.read("")
    assert (found[KEY].value, found["groups/db"]) == (b"", Entry(b"two", version))


async def test_an_object_with_our_label_and_no_annotations_is_nobodys_record(fake: Kube, place: Backend) -> None:
    store = place.open()
    version = await store.swap(KEY, b"one", None)
    (lease,) = fake.leases.values()
    metadata = {name: value for name, value in lease["metadata"].items() if name != "annotations"}
    fake.leases["default", "other"] = {**lease, "metadata": {**metadata, "name": "other"}}
    assert await store.read("") == {KEY: Entry(b"one", version)}


async def test_an_object_that_was_deleted_and_made_again_takes_no_old_version(fake: Kube, place: Backend) -> None:
    """Also where its resourceVersion comes back, as after the restore of a backup."""
    store = place.open()
    version = await store.swap(KEY, b"one", None)
    fake.wipe()
    with pytest.raises(Conflict):
        await store.swap(KEY, b"two", version)
    assert fake.leases == {}, "the API server makes a Lease of a PUT without a uid"
    fake.version = int(version.split()[1]) - 1
    again = await store.swap(KEY, b"one", None)
    assert again.split()[1] == version.split()[1]
    for value in (b"two", None):
        with pytest.raises(Conflict):
            await store.swap(KEY, value, version)


async def test_namespaces_do_not_see_each_other(fake: Kube, place: Backend) -> None:
    fake.namespaces.add("other")
    ours, theirs = place.open(), place.open(namespace="other")
    await ours.swap(KEY, b"ours", None)
    await theirs.swap(KEY, b"theirs", None)
    assert [entry.value for entry in (await ours.read("")).values()] == [b"ours"]
    assert [entry.value for entry in (await theirs.read("")).values()] == [b"theirs"]


async def test_a_namespace_that_is_not_there_is_said_and_is_no_conflict(place: Backend) -> None:
    with pytest.raises(StoreError, match='namespaces "nowhere" not found'):
        await place.open(namespace="nowhere").swap(KEY, b"", None)


async def test_a_value_that_is_too_large_is_refused_and_said(place: Backend) -> None:
    with pytest.raises(StoreError, match=r"422 .*Too long"):
        await place.open().swap(KEY, b"x" * LARGEST_ANNOTATIONS, None)


# --- watch -----------------------------------------------------------------------------------------------------------


async def test_a_watch_begins_anew_where_its_past_is_forgotten(fake: Kube, place: Backend) -> None:
    store, other = place.open(), place.open()
    fake.bookmark_seconds = 0.05
    async with watching(store, "groups/") as hints:
        await hints.next()
        await eventually(lambda: asyncio.sleep(0, fake.ailments.asked["GET"] == 2))
        fake.version += 10
        fake.forget()
        await other.swap(KEY, b"one", None)
        while KEY not in hints.told:
            await hints.next()
        assert fake.ailments.asked["GET"] >= 3, "a second list"


async def test_a_watch_goes_on_while_the_server_throttles(fake: Kube, place: Backend) -> None:
    store = place.open()
    async with watching(store, "groups/") as hints:
        await hints.next()
        await eventually(lambda: asyncio.sleep(0, fake.ailments.asked["GET"] == 2))
        fake.ailments.refusing = 2
        fake.ailments.refusal = lambda: Refused(429, "TooManyRequests", "overloaded").answer()
        await store.swap(KEY, b"one", None)
        await hints.next()
        assert fake.ailments.asked["GET"] == 2, "the watch is the one of before"


async def test_a_watch_that_ends_goes_on_from_its_bookmark(
    fake: Kube, place: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.stores.kubernetes._WATCH_SECONDS", 1)
    fake.bookmark_seconds = 0.1
    store, other = place.open(), place.open("another")
    async with watching(store, "groups/") as hints:
        await hints.next()
        await other.swap(KEY, b"elsewhere", None)
        await eventually(lambda: asyncio.sleep(0, fake.marked == fake.version))
        before, lists = fake.ailments.asked["GET"], fake.lists
        fake.forgotten = fake.version  # all before the bookmark
        fake.events.clear()
        await eventually(lambda: asyncio.sleep(0, fake.ailments.asked["GET"] > before))
        assert not hints.waiting, "nothing was missed, so there is nothing to look at"
        await place.open().swap(KEY, b"one", None)
        await hints.next()
        assert hints.told[KEY].value == b"one"
        assert fake.lists == lists, "no second list"


async def test_a_watch_says_nothing_of_what_it_does_not_understand_and_looks_again(fake: Kube, place: Backend) -> None:
    store = place.open()
    version = await store.swap(KEY, b"one", None)
    async with watching(store, "groups/") as hints:
        await hints.next()
        await eventually(lambda: asyncio.sleep(0, fake.ailments.asked["GET"] == 2))
        (lease,) = fake.leases.values()
        lease = json.loads(json.dumps(lease))
        del lease["metadata"]["uid"]
        fake._record("MODIFIED", lease)
        await eventually(lambda: asyncio.sleep(0, fake.ailments.asked["GET"] > 2))
        assert hints.told == {KEY: Entry(b"one", version)}


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"namespace": "Not-Allowed"}, "should match pattern"),
        ({"namespace": "a/b"}, "should match pattern"),
        ({"kubeconfig": "/no/such/file"}, "does not point to a file"),
        ({"endpoints": []}, "Extra inputs"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        KubernetesStore.Options.model_validate(options)


# --- the fake is strict ----------------------------------------------------------------------------------------------

LEASES = f"/apis/{GROUP}/namespaces/default/leases"


def lease(name: str = "a", spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": GROUP, "kind": "Lease", "metadata": {"name": name, **metadata}, "spec": spec or {}}


async def ask(url: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.request(method, url + path, json=body) as answer:
        return answer.status, (await answer.json()).get("reason", "")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lease(), (201, "")),
        (lease(spec={"holderIdentity": "n1", "renewTime": "2026-11-22T10:00:00.000001Z"}), (201, "")),
        (lease("A"), (422, "Invalid")),
        (lease("a" * 254), (422, "Invalid")),
        (lease("a_b"), (422, "Invalid")),
        (lease(labels={"a": "b c"}), (422, "Invalid")),
        (lease(labels={"a": "b" * 64}), (422, "Invalid")),
        (lease(spec={"leaseDurationSeconds": 0}), (422, "Invalid")),
        (lease(spec={"holderIdentity": ""}), (422, "Invalid")),
        (lease(spec={"holder": "n1"}), (400, "BadRequest")),
        (lease(spec={"leaseTransitions": "1"}), (400, "BadRequest")),
        (lease(spec={"renewTime": "2026-11-22T10:00:00Z"}), (400, "BadRequest")),
        (lease(namespace="other"), (400, "BadRequest")),
        (lease(resourceVersion="7"), (500, "InternalError")),
        (lease() | {"data": {}}, (400, "BadRequest")),
        (lease() | {"kind": "Pod"}, (400, "BadRequest")),
        ([], (400, "BadRequest")),
    ],
    ids=str,
)
async def test_what_is_created_is_looked_at(endpoint: str, body: Any, expected: tuple[int, str]) -> None:
    assert await ask(endpoint, "POST", LEASES, body) == expected


async def test_the_fake_keeps_versions_as_kubernetes_does(endpoint: str, fake: Kube) -> None:
    put, delete = f"{LEASES}/a", {"apiVersion": "v1", "kind": "DeleteOptions"}
    assert await ask(endpoint, "PUT", put, lease(resourceVersion="9")) == (201, ""), "it makes one, whatever it says"
    assert await ask(endpoint, "POST", LEASES, lease()) == (409, "AlreadyExists")
    assert await ask(endpoint, "PUT", put, lease(resourceVersion="9")) == (409, "Conflict")
    assert await ask(endpoint, "PUT", put, lease()) == (422, "Invalid")
    assert await ask(endpoint, "PUT", put, lease("b", resourceVersion="9")) == (400, "BadRequest")
    at = str(fake.version)
    assert await ask(endpoint, "PUT", put, lease(resourceVersion=at, uid="x")) == (409, "Conflict")
    assert await ask(endpoint, "PUT", put, lease(resourceVersion=at)) == (200, "")
    stale = delete | {"preconditions": {"resourceVersion": at}}
    assert await ask(endpoint, "DELETE", put, stale) == (409, "Conflict")
    assert await ask(endpoint, "DELETE", put, delete) == (200, "")
    assert await ask(endpoint, "DELETE", put, delete) == (404, "NotFound")
    assert await ask(endpoint, "PUT", put, lease(resourceVersion=at, uid="x")) == (409, "Conflict")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("?labelSelector=anyvip/cluster%3Da", 200),
        ("?labelSelector=a%20b", 400),
        ("?limit=3", 400),
        ("?timeoutSeconds=3", 400),
        ("?watch=1&resourceVersion=soon", 400),
    ],
)
async def test_queries_are_looked_at(endpoint: str, query: str, status: int) -> None:
    await ask(endpoint, "POST", LEASES, lease())
    assert (await ask(endpoint, "GET", LEASES + query))[0] == status


async def test_any_resource_version_may_be_old(endpoint: str) -> None:
    await ask(endpoint, "POST", LEASES, lease())
    async with aiohttp.ClientSession() as http:
        for query, count in (("", 1), ("?resourceVersion=", 1), ("?resourceVersion=0", 0)):
            async with http.get(endpoint + LEASES + query) as answer:
                assert len((await answer.json())["items"]) == count
