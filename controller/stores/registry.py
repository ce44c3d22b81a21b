"""Finds a store by its `type`, the name of its entry point (group ``anyvip.stores``). Imports only that store."""

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
    """The class that an entry point of the group names. It can be `Paced`, and its stores can be `Watcher`s."""

    Options: ClassVar[type[BaseModel]]  # the configuration keys besides `type`

    @classmethod
    def open(cls, options: Any, *, cluster: str, call_timeout: float) -> Store:
        """Return a store for the keys of this cluster. It connects on first use. `call_timeout` in seconds.

        Raises StoreError when the options cannot work even on a perfect network.
        """


@cache  # the list of installed packages is read from the disk
def known_stores() -> tuple[str, ...]:
    """Return the types of all installed stores, sorted."""
    return tuple(sorted(entry_points(group=GROUP).names))


@cache  # the list of installed packages is read from the disk
def store_type(name: str) -> StoreType:
    """Return the store of this type. Raises ValueError that names the known types or says why loading failed."""
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise ValueError(f"no store of type {name!r}; known: {', '.join(known_stores())}")
    try:
        return cast("StoreType", next(iter(found)).load())
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the store of type {name!r} cannot be loaded: {error}{remedy(error)}") from error
