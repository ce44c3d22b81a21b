"""Providers by the name that the configuration gives as `type`: the entry points `anyvip.providers`.

A provider's class has `Options`, a pydantic model of its keys other than `type`, and
`open(options, *, group, vips, clock) -> Provider`, which can raise ProviderError. It is imported only when configured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Protocol

from pydantic import BaseModel

from providers.base import Provider, Vip

GROUP = "anyvip.providers"
_EXTRAS: Final = {"boto3": "aws", "botocore": "aws", "azure": "azure", "google": "gcp"}  # by the name of the SDK


class ProviderType(Protocol):
    """The class that an entry point of `anyvip.providers` names."""

    Options: type[BaseModel]

    def open(self, options: Any, *, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]) -> Provider:
        """Make the provider of one group. Raises ProviderError."""


@cache  # the list of installed packages is read from the disk
def known_providers() -> tuple[str, ...]:
    """Return the names of the installed providers, sorted."""
    return tuple(sorted(entry_points(group=GROUP).names))


@cache  # the list of installed packages is read from the disk
def provider_type(name: str) -> ProviderType:
    """Return the provider's class. Raises ValueError when the name is unknown or its class cannot be loaded here."""
    found: EntryPoint | None = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise ValueError(f"unknown provider type {name!r}: one of {', '.join(known_providers())}")
    try:
        loaded: ProviderType = found.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"provider type {name!r} cannot be loaded: {error}{remedy(error)}") from error
    return loaded


def remedy(error: Exception) -> str:
    """Return what to install when a cloud's SDK is missing, else an empty string."""
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return f": install anyvip[{_EXTRAS[missing]}]" if missing in _EXTRAS else ""
