"""From what is configured to the provider of one group."""

from __future__ import annotations

from controller.clock import Clock
from controller.plugins import AUTO, Plugin
from providers.base import Provider, Vip
from providers.platform import auto_type
from providers.registry import provider_type


def opened(plugin: Plugin, *, group: str, vips: tuple[Vip, ...], clock: Clock) -> Provider:
    """The provider. Raises ProviderError, ValueError where its type cannot be loaded."""
    kind = provider_type(auto_type() if plugin.type == AUTO else plugin.type)
    options = kind.Options() if plugin.type == AUTO else plugin.options
    return kind.open(options, group=group, vips=vips, clock=clock)
