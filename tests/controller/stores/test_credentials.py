"""When certificates and tokens end, as their files say."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
import yaml

from controller.daemon import credentials
from controller.stores.base import Credential
from controller.stores.etcd import EtcdStore
from controller.stores.kit.credentials import read_certificates, read_file, read_token
from controller.stores.kit.tls import Secret
from controller.stores.kubernetes_access import KubernetesAccess
from controller.telemetry.history import History
from controller.telemetry.telemetry import Telemetry

SOON, LATER = datetime(2031, 1, 1, tzinfo=UTC), datetime(2041, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def chain(authority: trustme.CA) -> bytes:
    """A client certificate that ends before its authority does."""
    leaf = authority.issue_cert("node", not_after=SOON)
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems) + authority.cert_pem.bytes()


def token(**claims: object) -> str:
    payload = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2lnbmF0dXJl"


def test_a_chain_ends_with_the_first_of_its_certificates(chain: bytes, tmp_path: Path) -> None:
    (tmp_path / "client.pem").write_bytes(chain)
    found = read_file(tmp_path / "client.pem")
    assert found is not None
    assert (found.name, found.ends_at) == (str(tmp_path / "client.pem"), SOON.timestamp())
    assert found.begins_at < found.ends_at


def test_a_list_of_authorities_ends_with_the_last(authority: trustme.CA) -> None:
    other = trustme.CA()
    alone = [read_certificates("ca", ca.cert_pem.bytes()) for ca in (authority, other)]
    both = read_certificates("ca", authority.cert_pem.bytes() + other.cert_pem.bytes())
    assert both is not None
    assert both.ends_at == max(each.ends_at for each in alone if each is not None)


def test_what_has_no_end_is_left_out(authority: trustme.CA, tmp_path: Path) -> None:
    key = authority.issue_cert("node").private_key_pem.bytes()
    assert read_certificates("key", key) is None
    assert read_file(tmp_path / "missing.pem") is None
    assert [read_token("t", text) for text in ("", "a.b", "a.!.c", token(), token(exp="never"))] == [None] * 5


def test_a_token_says_when_it_ends(tmp_path: Path) -> None:
    assert read_token("t", token(iat=100, exp=3700)) == Credential("t", 100.0, 3700.0)
    file = tmp_path / "token"
    file.write_text(token(iat=100, exp=3700) + "\n")
    secret = Secret("", file)
    file.write_text(token(iat=3000, exp=6600))  # kubelet has replaced it
    assert secret.credentials() == [Credential(str(file), 3000.0, 6600.0)]


def test_a_store_names_the_files_that_it_was_given(authority: trustme.CA, chain: bytes, tmp_path: Path) -> None:
    for name, pem in (("ca.pem", authority.cert_pem.bytes()), ("client.pem", chain)):
        (tmp_path / name).write_bytes(pem)
    leaf = authority.issue_cert("node", not_after=SOON)
    (tmp_path / "client.pem").write_bytes(leaf.cert_chain_pems[0].bytes())
    (tmp_path / "client.key").write_bytes(leaf.private_key_pem.bytes())
    options = EtcdStore.Options.model_validate(
        {
            "endpoints": ["https://etcd:2379"],
            "ca_file": tmp_path / "ca.pem",
            "cert_file": tmp_path / "client.pem",
            "key_file": tmp_path / "client.key",
        }
    )
    store = EtcdStore.open(options, cluster="shop", call_timeout=1.0)
    assert [Path(each.name).name for each in store.credentials()] == ["ca.pem", "client.pem"]
    later = authority.issue_cert("node", not_after=LATER)
    (tmp_path / "client.pem").write_bytes(later.cert_chain_pems[0].bytes())
    assert store.credentials()[1].ends_at == LATER.timestamp()
    plain = EtcdStore.open(EtcdStore.Options(endpoints=["http://etcd:2379"]), cluster="shop", call_timeout=1.0)
    assert list(plain.credentials()) == []


def test_certificates_in_a_kubeconfig_are_named_by_their_key(authority: trustme.CA, tmp_path: Path) -> None:
    leaf = authority.issue_cert("node", not_after=SOON)
    embedded = {
        "client-certificate-data": b64encode(leaf.cert_chain_pems[0].bytes()).decode(),
        "client-key-data": b64encode(leaf.private_key_pem.bytes()).decode(),
    }
    cluster = {
        "server": "https://k8s:6443",
        "certificate-authority-data": b64encode(authority.cert_pem.bytes()).decode(),
    }
    file = tmp_path / "admin.conf"
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": cluster}],
        "users": [{"name": "u", "user": embedded}],
    }
    file.write_text(yaml.safe_dump(content))
    access = KubernetesAccess.of_kubeconfig(file, None)
    assert access.tls is not None
    found = {each.name: each.ends_at for each in access.tls.credentials()}
    assert found.keys() == {f"{file}: certificate-authority-data", f"{file}: client-certificate-data"}
    assert found[f"{file}: client-certificate-data"] == SOON.timestamp()


async def test_the_daemon_looks_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Store:
        looks = 0

        def credentials(self) -> Sequence[Credential]:
            self.looks += 1
            return [Credential("client.pem", 0.0, 1000.0 * self.looks)]

    for name in ("_FIRST_LOOK_SECONDS", "_LOOK_SECONDS"):
        monkeypatch.setattr(credentials, name, 0.0)
    telemetry, store = Telemetry("n1", History(tmp_path / "history"), now=lambda: 0.0), Store()
    watching = asyncio.create_task(credentials.watch_credentials(store, telemetry))
    async with asyncio.timeout(60):
        while store.looks < 3:  # noqa: ASYNC110  (it is counted in a thread)
            await asyncio.sleep(0.01)
    watching.cancel()
    text = telemetry.render({}).decode()
    assert 'anyvip_store_credential_end_timestamp_seconds{credential="client.pem"}' in text
