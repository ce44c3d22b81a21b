"""Providers by the name that the configuration gives as `type`: the entry points `anyvip.providers`.

A provider's class has `Options`, a pydantic model of its keys besides `type`, and
`open(options, *, group, vips, clock) -> Provider`, which may raise ProviderError. It is imported only when configured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Protocol

from pydantic import BaseModel

from providers.base import Provider, Vip

GROUP = "anyvip.providers"
_EXTRAS: Final = {"boto3": "aws", "botocore": "aws", "azure": "azure", "google": "gcp"}  # by what their SDKs are called


class ProviderType(Protocol):
    """What an entry point of `anyvip.providers` leads to."""

    Options: type[BaseModel]

    def open(self, options: Any, *, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]) -> Provider:
        """One group's provider. Raises ProviderError."""


@cache  # the list of what is installed is read from the disk
def known_providers() -> tuple[str, ...]:
    """The names that are installed, sorted."""
    return tuple(sorted(entry_points(group=GROUP).names))


@cache  # the list of what is installed is read from the disk
def provider_type(name: str) -> ProviderType:
    """The provider's class. Raises ValueError for an unknown name, or for one that cannot be loaded here."""
    found: EntryPoint | None = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise ValueError(f"unknown provider type {name!r}: one of {', '.join(known_providers())}")
    try:
        loaded: ProviderType = found.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"provider type {name!r} cannot be loaded: {error}{remedy(error)}") from error
    return loaded


def remedy(error: Exception) -> str:
    """What to install, where a cloud's SDK is what is missing."""
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return f": install anyvip[{_EXTRAS[missing]}]" if missing in _EXTRAS else ""
