"""Fixtures for Azure: the test's own certificate authority, and the identity of the machine."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.lab.azure.arm import Arm
from tests.lab.azure.metadata import Metadata
from tests.lab.azure.world import Node, network, nic
from tests.lab.http.rest import RestServer

USER_ASSIGNED = "aaaaaaaa-0000-0000-0000-000000000001"


@dataclass(frozen=True)
class Tls:
    """Return a server's TLS context, and the file that a client needs to trust it."""

    server: ssl.SSLContext
    ca_file: str


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(Path(path))
    return Tls(context, str(path))


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    """Serve the metadata of a machine with both kinds of identities, at the address that the SDK uses."""
    service = Metadata(Node(1).machine, identities=frozenset({USER_ASSIGNED}))
    with RestServer(service.answer) as server:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.url)
        yield service


@pytest.fixture
def arm(tls: Tls, metadata: Metadata) -> Iterator[Arm]:
    """Serve a subscription with a subnet and a NIC for each of two nodes."""
    fake = Arm()
    network(fake)
    for node in (Node(1), Node(2)):
        fake.add(node.nic, nic(node))
    with RestServer(fake.answer, tls=tls.server) as server:
        fake.audience = server.url
        yield fake
    assert fake.broken == [], "the fake gives answers that Azure's models refuse"
