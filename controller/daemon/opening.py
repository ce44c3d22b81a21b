"""Opens a group's provider from its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.config.plugins import AUTO, Plugin
from controller.daemon.clock import Clock
from providers.base import Provider, ProviderError, Vip
from providers.registry import provider_type

if TYPE_CHECKING:
    from providers.auto.choice import Choice


def choose_provider(group: str, vips: tuple[Vip, ...]) -> Choice:
    """Return what `auto` stands for, for this group on this node. Blocks for milliseconds. Raises ProviderError."""
    from providers.auto.choice import choose  # noqa: PLC0415  (imports HTTP and more, which only `auto` needs)
    from providers.auto.platform import here  # noqa: PLC0415  (likewise)

    return choose(here(), group, vips)


def open_provider(plugin: Plugin, *, group: str, vips: tuple[Vip, ...], clock: Clock) -> Provider:
    """Open and return the provider. Raises ProviderError."""
    name, keys = plugin.type, None
    if name == AUTO:
        choice = choose_provider(group, vips)
        name, keys = choice.type, choice.keys
    try:
        kind = provider_type(name)
    except ValueError as error:  # `auto` chose a cloud whose SDK is not installed
        raise ProviderError(str(error)) from error
    options = plugin.options if keys is None else kind.Options.model_validate(keys)
    return kind.open(options, group=group, vips=vips, clock=clock)
