"""Every kind of store, on something real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import pytest_asyncio

from controller.stores.base import Watcher
from controller.stores.registry import store_type
from tests.lab.http.serving import start_fake
from tests.lab.plugins.own import OWN_STORES
from tests.lab.stores import azurite
from tests.lab.stores.backends import Backend, etcd_or_skip
from tests.lab.stores.clouds import CLOUDS
from tests.lab.stores.fakes import FAKES, Lab, lab_of
from tests.lab.stores.kube import kubeconfig
from tests.lab.stores.moto import CREDENTIALS, REGION, make_bucket, make_table, start_moto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.lab.host.servers import Server
    from tests.lab.stores.etcd import EtcdCluster


@pytest.fixture(scope="session")
def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """One member, for tests that do it no harm."""
    with etcd_or_skip(1, tmp_path_factory.mktemp("etcd1")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def shared_three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with etcd_or_skip(3, tmp_path_factory.mktemp("etcd3")) as cluster:
        yield cluster


@pytest.fixture
def etcd_three(shared_three: EtcdCluster) -> Iterator[EtcdCluster]:
    """Three members, which the test may freeze and kill: they are all up again after it."""
    yield shared_three
    dead = []
    for member in shared_three.members:
        if member.process is None or member.process.poll() is not None:
            member.start()
            dead.append(member)
        else:
            member.thaw()
    for member in dead:
        member.wait_ready()


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[EtcdCluster]:
    """One member of the test's own, to do with as it likes."""
    with etcd_or_skip(1, tmp_path) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def aws_credentials() -> Iterator[None]:
    """What botocore's chain finds, in this process and in those that it starts."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in CREDENTIALS.items():
            environment.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory, aws_credentials: None) -> Iterator[Server]:
    """DynamoDB and S3, for tests that do it no harm."""
    with start_moto(tmp_path_factory.mktemp("moto") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start_fake("consul", tmp_path_factory.mktemp("consul") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Azurite, for tests that do it no harm."""
    if reason := azurite.missing():
        pytest.skip(reason)
    with azurite.start_azurite(tmp_path_factory.mktemp("azurite") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start_fake("kube", tmp_path_factory.mktemp("kube") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start_fake("gcs", tmp_path_factory.mktemp("gcs") / "log") as server:
        yield server


def _file(request: pytest.FixtureRequest) -> Backend:
    return Backend("file", {"path": str(request.getfixturevalue("tmp_path"))})


def _etcd(request: pytest.FixtureRequest, cluster: str = "shared_etcd") -> Backend:
    return Backend("etcd", {"endpoints": request.getfixturevalue(cluster).endpoints, "prefix": f"/{uuid4()}/"})


def _dynamodb(request: pytest.FixtureRequest) -> Backend:
    url = request.getfixturevalue("moto").url
    return Backend("dynamodb", {"table": make_table(url), "region": REGION, "endpoint_url": url})


def _s3(request: pytest.FixtureRequest) -> Backend:
    url = request.getfixturevalue("moto").url
    return Backend("s3", {"bucket": make_bucket(url), "region": REGION, "endpoint_url": url})


def _consul(request: pytest.FixtureRequest) -> Backend:
    return Backend("consul", {"endpoints": [request.getfixturevalue("consul").url], "prefix": f"{uuid4()}/"})


def _azure_blob(request: pytest.FixtureRequest) -> Backend:
    url = azurite.account_url(request.getfixturevalue("blobs"))
    options = {
        "account": azurite.ACCOUNT,
        "container": azurite.make_container(url),
        "endpoint": url,
        "account_key_file": str(azurite.key_file(request.getfixturevalue("tmp_path"))),
    }
    return Backend("azure_blob", options)


def _kubernetes(request: pytest.FixtureRequest) -> Backend:
    """A namespace of the test's own; the fake has every namespace that is named so."""
    config = kubeconfig(request.getfixturevalue("tmp_path") / "kubeconfig", request.getfixturevalue("kube").url)
    return Backend("kubernetes", {"kubeconfig": config, "namespace": f"test-{uuid4()}"})


def _gcs(request: pytest.FixtureRequest) -> Backend:
    url = request.getfixturevalue("gcs").url
    return Backend("gcs", {"bucket": f"lab-{uuid4()}", "endpoint": url, "metadata_endpoint": url})


PLACES: dict[str, Callable[[pytest.FixtureRequest], Backend]] = {
    "memory": lambda _: Backend("memory"),
    "file": _file,
    "etcd": _etcd,
    "etcd of three": lambda request: _etcd(request, "etcd_three"),
    "dynamodb": _dynamodb,
    "consul": _consul,
    "kubernetes": _kubernetes,
    "gcs": _gcs,
    "s3": _s3,
    "azure_blob": _azure_blob,
}
MARKS = {"etcd": pytest.mark.etcd, "etcd of three": pytest.mark.etcd}


def backend_of(kind: str, request: pytest.FixtureRequest) -> Backend:
    if kind not in PLACES:
        pytest.fail(f"store {kind!r} is ours, but tests/controller/stores/conftest.py does not know where it may store")
    return PLACES[kind](request)


def _marked(*kinds: str) -> list[Any]:
    return [pytest.param(kind, marks=MARKS.get(kind, ())) for kind in kinds]


WATCHED = ("memory", *(kind for kind in OWN_STORES if isinstance(store_type(kind), Watcher)))


@pytest_asyncio.fixture(params=_marked("memory", *OWN_STORES))
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """Each kind of store in turn: whatever is ours must keep the contract."""
    place = backend_of(request.param, request)
    yield place
    await place.close()


@pytest_asyncio.fixture(params=_marked(*(kind for kind in OWN_STORES if kind not in WATCHED)))
async def unwatched_backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """The kinds of store that tell of no changes."""
    place = backend_of(request.param, request)
    yield place
    await place.close()


@pytest_asyncio.fixture(params=_marked(*WATCHED))
async def watched_backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """The kinds of store that can tell of changes."""
    place = backend_of(request.param, request)
    yield place
    await place.close()


@pytest_asyncio.fixture(params=_marked(*OWN_STORES, "etcd of three"))
async def shared_backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """The kinds of store that several processes can share."""
    place = backend_of(request.param, request)
    yield place
    await place.close()


# --- stores on a network that can be made to ail


@pytest.fixture(params=sorted([*FAKES, *CLOUDS]))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def lab(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    if kind in CLOUDS:
        server: Server = request.getfixturevalue("blobs" if kind == "azure_blob" else "moto")
        url = azurite.account_url(server) if kind == "azure_blob" else server.url
    async with CLOUDS[kind](url, tmp_path) if kind in CLOUDS else lab_of(kind) as made:
        yield made


# --- for the tests of the etcd store alone --------------------------------------------------------------------------


@pytest_asyncio.fixture
async def place(shared_etcd: EtcdCluster, request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    backend = Backend("etcd", {"endpoints": shared_etcd.endpoints, "prefix": f"/{request.node.name}/"})
    yield backend
    await backend.close()


@pytest_asyncio.fixture
async def nowhere() -> AsyncIterator[Backend]:
    """Not etcd: the test gives the endpoints."""
    backend = Backend("etcd")
    yield backend
    await backend.close()


@pytest_asyncio.fixture
async def three(etcd_three: EtcdCluster, request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    backend = Backend("etcd", {"endpoints": etcd_three.endpoints, "prefix": f"/{request.node.name}/"})
    yield backend
    await backend.close()


@pytest_asyncio.fixture
async def own(own_etcd: EtcdCluster) -> AsyncIterator[Backend]:
    backend = Backend("etcd", {"endpoints": own_etcd.endpoints})
    yield backend
    await backend.close()
