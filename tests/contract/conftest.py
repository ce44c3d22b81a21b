"""Every kind of store, on something real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import pytest_asyncio

from controller.stores.registry import known_stores
from tests.lab.stores import Backend, etcd_or_skip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.lab.etcd import EtcdCluster


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


def backend_of(kind: str, request: pytest.FixtureRequest) -> Backend:
    if kind == "memory":
        return Backend(kind)
    if kind == "file":
        return Backend(kind, {"path": str(request.getfixturevalue("tmp_path"))})
    if kind in {"etcd", "etcd of three"}:
        cluster: EtcdCluster = request.getfixturevalue("shared_etcd" if kind == "etcd" else "etcd_three")
        return Backend("etcd", {"endpoints": cluster.endpoints, "prefix": f"/{uuid4()}/"})
    pytest.fail(f"store {kind!r} is registered, but tests/contract/conftest.py does not know where to let it store")


def _marked(kind: str) -> Any:
    return pytest.param(kind, marks=pytest.mark.etcd) if kind.startswith("etcd") else kind


@pytest_asyncio.fixture(params=[_marked(kind) for kind in ("memory", *known_stores())])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """Each kind of store in turn: whatever is registered must keep the contract."""
    place = backend_of(request.param, request)
    yield place
    await place.close()


@pytest_asyncio.fixture(params=[_marked(kind) for kind in (*known_stores(), "etcd of three")])
async def shared_backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """The kinds of store that several processes can share."""
    place = backend_of(request.param, request)
    yield place
    await place.close()


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
