"""Lists the keys of the configuration that are meant to be equal on all nodes, so that nodes can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.config.model import Config, Group

_HOOKS = ("prepare", "promote", "demote", "cleanup")


def list_facts(config: Config) -> Mapping[str, Mapping[str, str]]:
    """Returns the facts of each group, by key, and under the empty name those of the whole configuration."""
    lease = config.lease
    general = {
        "lease.duration_seconds": f"{lease.duration_seconds:g}",
        "lease.clock_drift": f"{lease.clock_drift:g}",
        "store.type": config.store.type,
    }
    return {"": general, **{name: _list_group(group) for name, group in config.groups.items()}}


def _list_group(group: Group) -> Mapping[str, str]:
    return {
        "vips": " ".join(sorted(str(vip) for vip in group.vips)),
        "providers": " ".join(plugin.type for plugin in group.providers),
        "checks": " ".join(sorted(group.checks)),
        "hooks": " ".join(name for name in _HOOKS if getattr(group.hooks, name)),
        "preempt": str(group.preempt).lower(),
    }
