"""Providers by the names of their entry points."""

from __future__ import annotations

import pytest

from providers.registry import known_providers, provider_type, remedy


def test_bare_metal_is_known_and_loaded() -> None:
    assert "baremetal" in known_providers()
    kind = provider_type("baremetal")
    assert kind.Options().model_dump()["interface"] is None


def test_an_unknown_provider_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown provider type 'baremetl': one of .*baremetal"):
        provider_type("baremetl")


@pytest.mark.parametrize(
    ("missing", "said"),
    [("botocore.config", ": install anyvip[aws]"), ("azure", ": install anyvip[azure]"), ("numpy", "")],
)
def test_an_sdk_that_is_missing_is_named_by_what_brings_it(missing: str, said: str) -> None:
    assert remedy(ModuleNotFoundError(f"No module named {missing!r}", name=missing)) == said
