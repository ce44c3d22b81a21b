"""The floating-IP provider keeps the contracts of providers and movers, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest
from anyvip_floating_ip import FloatingIp, FloatingIpOptions
from fake_api import TOKEN, FakeApi, serving

from controller.contracts import LogicalClock, MoverContract, Script, TakeoverContract
from providers.base import Level
from providers.registry import provider_type

ADDRESS = "198.51.100.7"
VIPS = (ip_interface(f"{ADDRESS}/32"),)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def api(script: Script) -> Iterator[FakeApi]:
    fake = FakeApi(ADDRESS, script=script)
    with serving(fake):
        yield fake


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


class TestProvider(TakeoverContract):
    @pytest.fixture
    def make_provider(self, api: FakeApi, token_file: Path) -> Any:
        def make(node: str, clock: LogicalClock) -> Any:
            options = FloatingIpOptions(endpoint=api.url, server=node, token_file=token_file)
            return FloatingIp.open(options, group="web", vips=VIPS, clock=clock)

        return make


class TestMover(MoverContract):
    @pytest.fixture
    def make_mover(self, api: FakeApi, token_file: Path) -> Iterator[Any]:
        made = []

        def make(node: str, clock: LogicalClock) -> FloatingIp:
            options = FloatingIpOptions(endpoint=api.url, server=node, token_file=token_file)
            made.append(FloatingIp.make_calls(options, "web", VIPS, clock))
            return FloatingIp(options, VIPS, made[-1])

        yield make
        for calls in made:
            calls.close()


@pytest.mark.asyncio
async def test_a_token_that_is_refused_is_found_before_a_failover(api: FakeApi, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("guessed")
    options = FloatingIpOptions(endpoint=api.url, server="n1", token_file=wrong)
    provider = FloatingIp.open(options, group="web", vips=VIPS, clock=LogicalClock())
    (finding,) = await provider.preflight()
    await provider.close()
    assert finding.level is Level.ERROR
    assert "401" in finding.message


def test_the_registry_finds_it() -> None:
    assert provider_type("floating_ip") is FloatingIp
