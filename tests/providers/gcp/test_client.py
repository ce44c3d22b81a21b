"""This node's identity in Google Cloud, by metadata server or key file, and what errors mean. Real google-auth."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests
from google.auth.exceptions import RefreshError
from pydantic import ValidationError

from controller.daemon.clock import boottime
from providers.base import ProviderError
from providers.cloud.calls import CallRefused
from providers.cloud.metadata_service import MetadataError
from providers.gcp.alias_ip import AliasIp
from providers.gcp.client import GcpOptions, credentials, retry_after, session, translate
from providers.gcp.compute import InstanceName
from providers.gcp.metadata import Metadata, WrongAnswer
from tests.lab.gcp.compute import Fault
from tests.lab.http.rest import Answer, RestServer
from tests.providers.gcp.conftest import Project, soon

PEERS = ["n1", "n2"]


def options(gcp: Project, **keys: Any) -> GcpOptions:
    given = {"metadata_endpoint": gcp.metadata_urls["n1"], **keys}
    return GcpOptions.model_validate_json(json.dumps(given), strict=True)


def mover(gcp: Project, **keys: Any) -> Any:
    return gcp.mover(AliasIp, "n1", "10.0.0.100/32", instances=PEERS, **keys)


def test_a_token_is_fetched_once_and_kept(gcp: Project) -> None:
    who = credentials(options(gcp))
    with session(who) as asking:
        for _ in range(3):
            asking.get(f"{gcp.url}/compute/v1/projects/shop-1/zones/europe-west1-b/instances/n1").raise_for_status()
    assert len(gcp.metadata["n1"].requests) == 1


def test_a_token_that_has_ended_is_fetched_anew(gcp: Project) -> None:
    who = credentials(options(gcp))
    with session(who) as asking:
        asking.get(f"{gcp.url}/compute/v1/projects/shop-1/zones/europe-west1-b/instances/n1")
        assert who.expiry is not None
        who.expiry -= timedelta(hours=2)
        asking.get(f"{gcp.url}/compute/v1/projects/shop-1/zones/europe-west1-b/instances/n1")
    assert len(gcp.metadata["n1"].requests) == 2


def test_nobody_is_asked_when_a_provider_is_made(gcp: Project) -> None:
    mover(gcp)
    assert gcp.metadata["n1"].requests == []
    assert gcp.compute.seen == []


async def test_on_a_warm_standby_a_move_asks_no_metadata_server(gcp: Project) -> None:
    standby = mover(gcp)
    await standby.warm(soon())
    await standby.look(soon())
    asked = list(gcp.metadata["n1"].requests)
    await standby.move(soon())
    assert gcp.metadata["n1"].requests == asked


async def test_a_metadata_server_that_fails_is_asked_again(gcp: Project) -> None:
    gcp.metadata["n1"].failing += [503, 500]
    assert (await mover(gcp).look(soon())).where


async def test_a_machine_without_a_service_account_is_told_so_at_once(gcp: Project) -> None:
    chosen = {"project": "shop-1", "zone": "europe-west1-b", "instance": "n1"}
    gcp.metadata["n1"].failing += [404]
    with pytest.raises(CallRefused, match="no token: this virtual machine's metadata has no instance/service-accounts"):
        await mover(gcp, **chosen).look(soon())


async def test_what_is_configured_is_not_asked_for(gcp: Project) -> None:
    node = mover(gcp, project="shop-1", zone="europe-west1-b", instance="n2")
    await node.move(soon())
    assert gcp.compute.leads_to("10.0.0.100") == ["n2"]
    assert gcp.metadata["n1"].requests == ["/computeMetadata/v1/instance/service-accounts/default/token"]


async def test_a_server_that_is_not_google_s_is_not_believed() -> None:
    with RestServer(lambda _: Answer(200, b"n1")) as other, pytest.raises(WrongAnswer, match="not Google's"):
        Metadata(other.url).text("instance/name")


def test_a_metadata_server_that_is_not_there() -> None:
    with pytest.raises(MetadataError):
        Metadata("http://127.0.0.1:9").text("instance/name")
    with pytest.raises(RefreshError) as raised:
        credentials(GcpOptions(metadata_endpoint="http://127.0.0.1:9")).refresh(None)
    refusal = translate(raised.value)
    assert refusal is not None
    assert refusal.retry


async def test_a_provider_of_a_nic_that_there_is_not_says_so(gcp: Project) -> None:
    with pytest.raises(ProviderError, match="n1 has no network interface nic7: set `nic`"):
        await mover(gcp, nic="nic7").look(soon())


def test_a_file_that_holds_no_credentials(tmp_path: Path, gcp: Project) -> None:
    path = tmp_path / "key.json"
    path.write_text("{}")
    with pytest.raises(ProviderError, match=r"key\.json: not the key file"):
        mover(gcp, credentials_file=str(path))
    with pytest.raises(ValidationError):
        options(gcp, credentials_file=str(tmp_path / "none.json"))


@pytest.fixture
def key() -> str:
    return subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True).stdout


async def test_a_service_account_s_key_signs_its_own_tokens(tmp_path: Path, gcp: Project, key: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"type": "service_account", "client_email": "key@shop-1", "private_key": key}))
    node = mover(gcp, credentials_file=str(path), project="shop-1", zone="europe-west1-b", instance="n1")
    await node.move(soon())
    assert {each.who for each in gcp.compute.seen} == {"key@shop-1"}
    assert gcp.metadata["n1"].requests == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("n2", "projects/p/zones/z/instances/n2"),
        ("y/n2", "projects/p/zones/y/instances/n2"),
        ("o/y/n2", "projects/o/zones/y/instances/n2"),
        (
            "https://www.googleapis.com/compute/v1/projects/o/zones/y/instances/n2",
            "projects/o/zones/y/instances/n2",
        ),
    ],
)
def test_names_of_instances(text: str, path: str) -> None:
    assert InstanceName.parse(text, InstanceName("p", "z", "n1")).path == path


async def test_throttling_is_waited_for_as_long_as_is_asked(gcp: Project) -> None:
    gcp.compute.faults.append(Fault("*", status=429, reason="rateLimitExceeded", headers={"Retry-After": "1"}))
    began = boottime()
    await mover(gcp).look(soon())
    assert boottime() - began >= 1


def test_retry_after_as_a_date() -> None:
    assert retry_after({"Retry-After": formatdate(usegmt=True)}) == pytest.approx(0, abs=2)
    assert retry_after({"Retry-After": "soon"}) is None
    assert retry_after({}) is None


def test_errors_that_are_not_google_s_are_left_alone() -> None:
    assert translate(ValueError("ours")) is None
    timeout = translate(requests.ReadTimeout("slow"))
    assert timeout is not None
    assert timeout.retry


def test_the_store_s_part_does_not_import_the_compute_sdk() -> None:
    """The SDK costs seconds and over 100 MB. Nothing that is imported before the configuration is read imports it."""
    code = "import providers.gcp.client, controller.cli.main, sys; print([m for m in sys.modules if 'compute_v1' in m])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
