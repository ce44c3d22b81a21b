"""What `type: auto` stands for: on metal, and on each cloud by the VIPs and the answers of its metadata service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest

from controller.cli import main as cli
from controller.config.loading import load
from controller.config.plugins import AUTO, Plugin
from controller.config.problem import StartError
from controller.daemon import opening
from controller.daemon.clock import boottime
from controller.daemon.groups import Groups
from providers.auto import platform
from providers.auto.choice import Choice, choose
from providers.auto.platform import Platform, PlatformFound
from providers.base import ProviderError, Vip
from providers.linux.unguarded import Unguarded
from tests.lab.aws import imds as fake_imds
from tests.lab.aws.network import small_network
from tests.lab.azure.metadata import Metadata
from tests.lab.azure.world import Node
from tests.lab.gcp.metadata import MetadataServer
from tests.lab.http.rest import RestServer
from tests.providers.gcp.conftest import project


def vips(*texts: str) -> tuple[Vip, ...]:
    return tuple(ip_interface(text) for text in texts)


def chosen(where: Platform, *texts: str) -> Choice:
    return choose(PlatformFound(where, "the test says so"), "web", vips(*texts))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_imds.Imds]:
    """n1 in 10.77.0.0/24 and fd77::/64 of a larger VPC."""
    cloud = small_network().cloud
    with fake_imds.serving(fake_imds.Imds(cloud, [cloud.interfaces["eni-1"]])) as fake:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", fake.url)
        yield fake


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in 10.7.0.0/24."""
    with RestServer(Metadata(Node(1).machine).answer) as server:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.url)
        yield


@pytest.fixture
def gcp(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in 10.9.0.0/24 and 10.0.0.0/24."""
    cloud = project()
    with RestServer(MetadataServer(cloud, cloud.machines[0]).answer) as server:
        monkeypatch.setenv("GCE_METADATA_HOST", server.url.removeprefix("http://"))
        yield


def test_on_metal_it_is_bare_metal() -> None:
    assert chosen(Platform.METAL, "10.77.0.100/24") == Choice("baremetal", "the test says so")


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("inside", [("10.77.0.100/24",), ("10.77.0.100/24", "fd77::100/64")])
def test_on_aws_inside_the_subnet_it_is_a_secondary_ip(inside: tuple[str, ...]) -> None:
    choice = chosen(Platform.AWS, *inside)
    assert (choice.type, dict(choice.keys)) == ("aws.secondary_ip", {})
    assert "in this node's subnet" in choice.why


@pytest.mark.usefixtures("aws")
def test_on_aws_outside_the_vpc_it_is_a_route_in_the_tagged_tables() -> None:
    choice = chosen(Platform.AWS, "192.0.2.10/32")
    assert (choice.type, dict(choice.keys)) == ("aws.route", {"route_table_tags": {"anyvip:group": "web"}})
    assert "outside the VPC" in choice.why
    assert "anyvip:group = web" in choice.why


def test_on_aws_elsewhere_in_the_vpc_nothing_is_right(aws: fake_imds.Imds) -> None:
    (block, *_) = aws.cloud.vpcs[aws.cloud.subnets["subnet-1"].vpc]
    assert block == "10.77.0.0/16"
    for wrong in (("10.77.5.9/24",), ("10.77.0.100/24", "192.0.2.10/32")):
        with pytest.raises(ProviderError, match=r"right here .aws: the test says so.: some of"):
            chosen(Platform.AWS, *wrong)


@pytest.mark.usefixtures("azure")
def test_on_azure_inside_the_subnet_it_is_an_ip_configuration() -> None:
    assert chosen(Platform.AZURE, "10.7.0.100/24").type == "azure.ip_config"


@pytest.mark.usefixtures("azure")
@pytest.mark.parametrize("outside", ["192.0.2.10/32", "fd00::1/128"])
def test_on_azure_outside_it_route_tables_must_be_named(outside: str) -> None:
    with pytest.raises(ProviderError, match=r"configure \{type: azure.route, route_tables"):
        chosen(Platform.AZURE, outside)


@pytest.mark.usefixtures("gcp")
def test_on_google_cloud() -> None:
    assert chosen(Platform.GCP, "10.0.0.100/24", "10.9.0.100/24").type == "gcp.alias_ip"
    assert chosen(Platform.GCP, "192.0.2.10/32").type == "gcp.route"
    with pytest.raises(ProviderError, match="put them into two groups"):
        chosen(Platform.GCP, "10.0.0.100/24", "192.0.2.10/32")


@pytest.mark.parametrize("where", [Platform.AWS, Platform.AZURE, Platform.GCP])
def test_a_metadata_service_that_does_not_answer_is_said(where: Platform) -> None:
    with pytest.raises(ProviderError, match=f"auto cannot tell which provider is right here .{where}.*refused"):
        chosen(where, "10.77.0.100/24")


@pytest.fixture
def on_aws(aws: fake_imds.Imds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let this host's firmware name Amazon EC2, and yield the path of a configuration file."""
    (tmp_path / "sys_vendor").write_text("Amazon EC2\n")
    monkeypatch.setattr(platform, "_DMI", tmp_path)
    platform.here.cache_clear()
    yield tmp_path / "anyvip.yml"
    platform.here.cache_clear()


def configure(file: Path, *texts: str) -> None:
    content = {
        "cluster": "shop",
        "store": {"type": "file", "path": str(file.parent / "store")},
        "groups": {"web": {"vips": list(texts)}},
    }
    file.write_text(json.dumps(content))


def test_check_config_says_what_auto_became_and_why(on_aws: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(on_aws, "192.0.2.10/32")
    assert cli.main(["check-config", "--config", str(on_aws)]) == 0
    said = capsys.readouterr().out.splitlines()[1]
    assert said.startswith("group web: auto is aws.route: its firmware says Amazon EC2; 192.0.2.10/32 outside the VPC")


def test_check_config_says_what_cannot_be_told(on_aws: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(on_aws, "10.77.5.9/24")
    assert cli.main(["check-config", "--config", str(on_aws)]) == 2
    assert "groups.web.providers: auto cannot tell" in capsys.readouterr().err


def test_check_config_elsewhere_does_not_ask(
    on_aws: Path, aws: fake_imds.Imds, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(on_aws, "192.0.2.10/32")
    assert cli.main(["check-config", "--no-host-checks", "--config", str(on_aws)]) == 0
    assert "auto" not in capsys.readouterr().out
    assert aws.asked == []


def test_a_service_that_does_not_answer_yet_is_no_mistake_in_the_file(
    on_aws: Path, aws: fake_imds.Imds, capsys: pytest.CaptureFixture[str]
) -> None:
    """A daemon that comes before the network ends with code 1, and systemd starts it again."""
    configure(on_aws, "192.0.2.10/32")
    aws.gone = True
    assert cli.main(["check-config", "--config", str(on_aws)]) == 1
    assert "group web: auto cannot tell" in capsys.readouterr().err
    groups = Groups(Unguarded(), boottime, lambda _: None)
    with pytest.raises(StartError, match="group web: auto cannot tell"):
        groups.begin(load(str(on_aws)))


@pytest.mark.usefixtures("on_aws")
async def test_auto_is_opened_as_what_it_stands_for() -> None:
    provider = opening.open_provider(Plugin(AUTO), group="web", vips=vips("192.0.2.10/32"), clock=boottime)
    await provider.close()  # type: ignore[attr-defined]
    assert getattr(provider, "reconcile_seconds", None) == 120
