"""Checks that this node has the interfaces, users, groups and programs that the configuration names."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from controller.config.problem import Path, Problem, describe_found

if TYPE_CHECKING:
    from pydantic import BaseModel

    from controller.config.model import Config


def host_problems(config: Config) -> list[Problem]:
    """Returns one problem for each name in the configuration that this node does not have."""
    return [*_interfaces(config), *lasting_problems(config)]


def lasting_problems(config: Config) -> list[Problem]:
    """Returns the problems that do not go away by themselves: an interface can come later."""
    return [*_people(config), *_programs(config)]


def _interfaces(config: Config) -> Iterator[Problem]:
    for path, name in _list_named(config):
        try:
            socket.if_nametoindex(name)  # it also knows alternative names
        except OSError:
            here = ", ".join(sorted(name for _, name in socket.if_nameindex()))
            yield config.problem(path, describe_found(name, f"an interface of this node: {here}"))


def _list_named(config: Config) -> Iterator[tuple[Path, str]]:
    """Yields every interface that the keys `interface`, `guard_interfaces` and `ingress` name, with its path."""
    for path, options in _options(config):
        one = getattr(options, "interface", None)
        if isinstance(one, str):
            yield (*path, "interface"), one
        for key in ("guard_interfaces", "ingress"):
            for index, name in enumerate(getattr(options, key, None) or ()):
                yield (*path, key, index), name


def _options(config: Config) -> Iterator[tuple[Path, BaseModel]]:
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
            yield config.problem(("admin", key), describe_found(name, f"{what} of this node"))


def _programs(config: Config) -> Iterator[Problem]:
    for group, content in config.groups.items():
        for hook in ("prepare", "promote", "demote", "cleanup"):
            argv = getattr(content.hooks, hook)
            if argv and shutil.which(argv[0], os.X_OK) is None:
                yield config.problem(
                    ("groups", group, "hooks", hook, 0), describe_found(argv[0], "a program of this node")
                )
