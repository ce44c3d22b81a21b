"""Where this node runs: by fake firmware, and without firmware by fake metadata services over real HTTP."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from providers.auto import platform as where
from providers.auto.platform import Platform, platform
from tests.lab.aws import imds as fake_imds
from tests.lab.aws.network import small_network
from tests.lab.azure.metadata import Machine, Metadata
from tests.lab.gcp.metadata import MetadataServer
from tests.lab.http.rest import Answer, Request, RestServer
from tests.providers.gcp.conftest import project

PATIENT = 20.0  # seconds; the fakes share this machine with everything else
VARIABLES = {
    Platform.AWS: ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "{url}"),
    Platform.AZURE: ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "{url}"),
    Platform.GCP: ("GCE_METADATA_HOST", "{address}"),
}


def dmi(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / name).write_text(text + "\n")
    return directory


@pytest.mark.parametrize(
    ("files", "expected", "why"),
    [
        ({"sys_vendor": "Amazon EC2"}, Platform.AWS, "firmware says Amazon EC2"),
        ({"sys_vendor": "Xen", "bios_version": "4.11.amazon"}, Platform.AWS, "4.11.amazon"),
        ({"sys_vendor": "Google", "product_name": "Google Compute Engine"}, Platform.GCP, "firmware says Google"),
        (
            {"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"},
            Platform.AZURE,
            "asset tag",
        ),
        (
            {"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": "1234"},
            Platform.METAL,
            "Microsoft Corporation, no cloud",
        ),
        ({"sys_vendor": "QEMU"}, Platform.METAL, "QEMU, no cloud"),
        ({"bios_vendor": "SeaBIOS"}, Platform.METAL, "SeaBIOS, no cloud"),
    ],
)
def test_what_the_firmware_says(tmp_path: Path, files: dict[str, str], expected: Platform, why: str) -> None:
    found = platform(dmi(tmp_path, **files))
    assert found.platform is expected
    assert why in found.why


def test_firmware_that_names_somebody_else_is_believed(tmp_path: Path, every: Callable[[str], None]) -> None:
    with ExitStack() as services:
        every(services.enter_context(_azure()).url)
        assert platform(dmi(tmp_path, sys_vendor="Dell Inc.")).platform is Platform.METAL
        assert platform(tmp_path / "none").platform is Platform.AZURE


@pytest.fixture
def every(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put all three services at one address, like the real ones: link-local, and the one that is there answers."""

    def at(url: str) -> None:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
        monkeypatch.setattr(where, "_ANSWER_SECONDS", PATIENT)
        for name, value in VARIABLES.values():
            monkeypatch.setenv(name, value.format(url=url, address=url.removeprefix("http://")))

    return at


def _azure() -> RestServer:
    return RestServer(Metadata(Machine("n1", "sub")).answer)


def _gcp() -> RestServer:
    cloud = project()
    return RestServer(MetadataServer(cloud, cloud.machines[0]).answer)


@pytest.fixture(params=[Platform.AWS, Platform.AZURE, Platform.GCP])
def service(request: pytest.FixtureRequest) -> Iterator[tuple[Platform, str]]:
    if request.param is Platform.AWS:
        cloud = small_network().cloud
        with fake_imds.serving(fake_imds.Imds(cloud, [cloud.interfaces["eni-1"]])) as fake:
            yield Platform.AWS, fake.url
    else:
        with _azure() if request.param is Platform.AZURE else _gcp() as server:
            yield request.param, server.url


def test_without_firmware_the_metadata_service_says_it(
    tmp_path: Path, service: tuple[Platform, str], every: Callable[[str], None]
) -> None:
    expected, url = service
    every(url)
    found = platform(tmp_path)
    assert found.platform is expected
    assert f"{expected}'s metadata service answers" in found.why


def test_a_service_that_is_switched_off_is_not_asked(
    tmp_path: Path, every: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = small_network().cloud
    with fake_imds.serving(fake_imds.Imds(cloud, [cloud.interfaces["eni-1"]])) as fake:
        every(fake.url)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        assert platform(tmp_path).platform is Platform.METAL
        assert not any("token" in asked for asked in fake.asked)


def _openstack(request: Request) -> Answer:
    """It has EC2's paths but no tokens (Nova: "Metadata service", EC2-compatible metadata)."""
    if request.method != "GET":
        return Answer(405)
    return Answer(200, b"ami-id\ninstance-id\n") if request.path.startswith("/latest") else Answer(404)


def _anything(_: Request) -> Answer:
    """A proxy or a captive portal, which answers every request with the same page."""
    return Answer(200, b"<html>Please sign in</html>", {"Content-Type": "text/html"})


def _json(_: Request) -> Answer:
    return Answer(200, [1, 2, 3])


@pytest.mark.parametrize("imitation", [_openstack, _anything, _json])
def test_who_only_looks_like_a_cloud_is_none(
    tmp_path: Path, every: Callable[[str], None], imitation: Callable[[Request], Answer]
) -> None:
    with RestServer(imitation) as server:
        every(server.url)
        assert platform(tmp_path).platform is Platform.METAL


def test_nobody_there_is_metal(tmp_path: Path) -> None:
    """The environment of the whole test run says so."""
    found = platform(tmp_path)
    assert found.platform is Platform.METAL
    assert "no cloud's metadata service answers" in found.why


def test_who_takes_connections_and_says_nothing_is_not_waited_for(
    tmp_path: Path, every: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = where._ANSWER_SECONDS
    with socket.create_server(("127.0.0.1", 0)) as silent:
        every(f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(where, "_ANSWER_SECONDS", usual)
        assert platform(tmp_path).platform is Platform.METAL


def test_firmware_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "sys_vendor").write_bytes(b"\xff\xfe\xfa")
    (tmp_path / "bios_vendor").mkdir()
    assert "firmware says nothing" in platform(tmp_path).why
