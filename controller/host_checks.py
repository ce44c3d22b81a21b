"""What the configuration needs of the node it is for: interfaces, users, programs."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from controller.problem import Path, Problem, found

if TYPE_CHECKING:
    from pydantic import BaseModel

    from controller.config import Config


def host_problems(config: Config) -> list[Problem]:
    """Everything that the configuration names and this node does not have."""
    return [*_interfaces(config), *_people(config), *_programs(config)]


def _interfaces(config: Config) -> Iterator[Problem]:
    here = sorted(name for _, name in socket.if_nameindex())
    for path, options in _options(config):
        name = getattr(options, "interface", None)
        if isinstance(name, str) and name not in here:
            allowed = f"an interface of this node: {', '.join(here)}"
            yield config.problem((*path, "interface"), found(name, allowed))


def _options(config: Config) -> Iterator[tuple[Path, BaseModel]]:
    """Whatever may name an interface: by convention in the key `interface`."""
    for group, content in config.groups.items():
        for index, provider in enumerate(content.providers):
            yield ("groups", group, "providers", index), provider.options
        for name, check in content.checks.items():
            yield ("groups", group, "checks", name), check


def _people(config: Config) -> Iterator[Problem]:
    lookups: tuple[tuple[str, str | None, Callable[[str], object], str], ...] = (
        ("owner", config.admin.owner, pwd.getpwnam, "a user"),
        ("group", config.admin.group, grp.getgrnam, "a group"),
    )
    for key, name, look_up, what in lookups:
        try:
            if name is not None:
                look_up(name)
        except KeyError:
            yield config.problem(("admin", key), found(name, f"{what} of this node"))


def _programs(config: Config) -> Iterator[Problem]:
    for group, content in config.groups.items():
        for hook in ("promote", "demote"):
            argv = getattr(content.hooks, hook)
            if argv and shutil.which(argv[0], os.X_OK) is None:
                yield config.problem(("groups", group, "hooks", hook, 0), found(argv[0], "a program of this node"))
