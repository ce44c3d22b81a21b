"""Where this node runs, by what the firmware says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from providers.base import ProviderError
from providers.platform import Platform, auto_type, platform
from providers.registry import known_providers, provider_type

if TYPE_CHECKING:
    from pathlib import Path


def dmi(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sys_vendor": "Amazon EC2"}, Platform.AWS),
        ({"sys_vendor": "Xen", "bios_version": "4.11.amazon"}, Platform.AWS),
        ({"sys_vendor": "Google", "product_name": "Google Compute Engine"}, Platform.GCP),
        (
            {"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"},
            Platform.AZURE,
        ),
        ({"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": "1234"}, Platform.METAL),
        ({"sys_vendor": "QEMU"}, Platform.METAL),
        ({}, Platform.METAL),
    ],
)
def test_platforms(tmp_path: Path, files: dict[str, str], expected: Platform) -> None:
    assert platform(dmi(tmp_path, **files)) is expected


def test_auto_is_bare_metal_on_metal(tmp_path: Path) -> None:
    assert auto_type(dmi(tmp_path, sys_vendor="QEMU")) == "baremetal"


def test_auto_on_a_cloud_without_its_provider_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="virtual machine of gcp, and no provider for it"):
        auto_type(dmi(tmp_path, sys_vendor="Google"))


def test_bare_metal_is_known_and_loaded() -> None:
    assert "baremetal" in known_providers()
    kind = provider_type("baremetal")
    assert kind.Options().model_dump()["interface"] is None


def test_an_unknown_provider_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown provider type 'baremetl': one of .*baremetal"):
        provider_type("baremetl")
