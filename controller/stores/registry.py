"""Finds a store by the `type` its entry point gives it (group ``anyvip.stores``). Imports only the one asked for."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from providers.registry import remedy

if TYPE_CHECKING:
    from pydantic import BaseModel

    from controller.stores.base import Store

GROUP = "anyvip.stores"


class StoreType(Protocol):
    """What an entry point of the group names. The class may be `Paced`, its stores may be `Watcher`s."""

    Options: ClassVar[type[BaseModel]]  # the configuration keys besides `type`

    @classmethod
    def open(cls, options: Any, *, cluster: str, call_timeout: float) -> Store:
        """A store whose keys are those of this cluster; it connects when first used. `call_timeout` in seconds.

        Raises StoreError when the options cannot work, whatever the network does.
        """


@cache  # the list of what is installed is read from the disk
def known_stores() -> tuple[str, ...]:
    """The type of every store that is installed, sorted."""
    return tuple(sorted(entry_points(group=GROUP).names))


@cache  # the list of what is installed is read from the disk
def store_type(name: str) -> StoreType:
    """The store of this type. Raises ValueError, which names the known ones or says why it cannot be loaded."""
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise ValueError(f"no store of type {name!r}; known: {', '.join(known_stores())}")
    try:
        return cast("StoreType", next(iter(found)).load())
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the store of type {name!r} cannot be loaded: {error}{remedy(error)}") from error
