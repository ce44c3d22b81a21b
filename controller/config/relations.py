"""Checks what must hold between keys of the configuration. Each rule reports every problem of its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil
from typing import TYPE_CHECKING

from controller.config.plugins import AUTO
from controller.config.problem import Path, Problem, describe_found, join_path
from controller.core.timing import longest_renew_deadline
from controller.stores.base import Paced
from controller.stores.registry import store_type

if TYPE_CHECKING:
    from controller.config.model import Config

_LONGEST_SOCKET_PATH = 107  # bytes; sun_path of unix(7), less the terminating NUL
_OWN_PATHS = ("/health", "/livez", "/readyz", "/metrics")


def relations(config: Config) -> list[Problem]:
    """Returns one problem for each relation that does not hold."""
    rules = (timing_problems, _store_pace, _socket, _listen, _vips, _health_paths, _auto_alone)
    return [problem for rule in rules for problem in rule(config)]


def timing_problems(config: Config, overshoot: float = 0.05) -> Iterator[Problem]:
    """Reports a lease that cannot be safe where the kernel may end an address `overshoot` seconds late."""
    lease = config.lease
    longest = longest_renew_deadline(lease.duration_seconds, lease.clock_drift, overshoot)
    if longest <= 0:
        allowed = f"more: clock drift {lease.clock_drift:g} and kernel overshoot {overshoot:g} s leave no time to serve"
        yield config.problem(("lease", "duration_seconds"), describe_found(lease.duration_seconds, allowed))
        return
    for text in config.timing(overshoot).problems():
        key = text.partition(" ")[0]
        line = config.problem(("lease", key), text).line
        yield Problem(config.file, line, ("lease",), text)


def _store_pace(config: Config) -> Iterator[Problem]:
    """Reports a retry period that is too short for the store's pace of writes to one object."""
    store = store_type(config.store.type)
    least = store.LEAST_WRITE_PAUSE_SECONDS if isinstance(store, Paced) else 0.0
    retry = config.timing().retry_period
    if retry < least:
        shortest = ceil(10 * config.lease.duration_seconds * least / retry) / 10
        allowed = (
            f"at least {least:g} with the {config.store.type} store, which limits writes to one object; this needs "
            f"duration_seconds of at least {shortest:g}"
        )
        line = config.problem(("lease", "retry_period_seconds"), "").line
        yield Problem(config.file, line, ("lease", "retry_period_seconds"), describe_found(round(retry, 3), allowed))


def _socket(config: Config) -> Iterator[Problem]:
    length = len(bytes(config.socket_path))
    if length > _LONGEST_SOCKET_PATH:
        allowed = (
            f"at most {_LONGEST_SOCKET_PATH} bytes, socket name ({config.socket_path.name}) included; this is {length}"
        )
        yield config.problem(("state_dir",), describe_found(str(config.state_dir), allowed))


def _listen(config: Config) -> Iterator[Problem]:
    places: list[tuple[Path, object]] = [
        (("health", "listen", index), address) for index, address in enumerate(config.health.addresses())
    ]
    for path, _, first in _find_repeated(places):
        text = describe_found(
            config.health.listen[int(path[-1])], f"each address and port once (first in {join_path(first)})"
        )
        yield config.problem(path, text)


def _vips(config: Config) -> Iterator[Problem]:
    places: list[tuple[Path, object]] = [
        (("groups", name, "vips", index), vip.ip)
        for name, group in config.groups.items()
        for index, vip in enumerate(group.vips)
    ]
    for path, address, first in _find_repeated(places):
        yield config.problem(path, describe_found(str(address), f"each address once (first in {join_path(first)})"))


def _health_paths(config: Config) -> Iterator[Problem]:
    own = dict.fromkeys(_OWN_PATHS, "the endpoint's own")
    own |= {f"/health/{name}": f"group {name}'s" for name in config.groups}
    places: list[tuple[Path, object]] = []
    for name, group in config.groups.items():
        path: Path = ("groups", name, "health_path")
        if group.health_path in own and group.health_path != f"/health/{name}":
            text = describe_found(group.health_path, f"a path that is free; this one is {own[group.health_path]}")
            yield config.problem(path, text)
        elif group.health_path is not None:
            places.append((path, group.health_path))
    for path, value, first in _find_repeated(places):
        yield config.problem(path, describe_found(value, f"each path once (first in {join_path(first)})"))


def _auto_alone(config: Config) -> Iterator[Problem]:
    for name, group in config.groups.items():
        for index, provider in enumerate(group.providers):
            if provider.type == AUTO and len(group.providers) > 1:
                path = ("groups", name, "providers", index)
                yield config.problem(
                    path, f'found "{AUTO}" beside other providers; allowed: {AUTO} alone, or only others'
                )


def _find_repeated(places: Iterable[tuple[Path, object]]) -> Iterator[tuple[Path, object, Path]]:
    """Yields each place whose value an earlier place has, with that value and the earlier place."""
    first: dict[object, Path] = {}
    for path, value in places:
        if value in first:
            yield path, value, first[value]
        first.setdefault(value, path)
