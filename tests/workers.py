"""Decides which worker runs which tests (`-n`), and in which order.

Terraform works for minutes on its own, so its tests begin first. Tests that keep a processor busy fill that time. Tests
that depend on timing (real daemons with short leases) follow. The longest come first, so that no worker ends with one.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

# Beginnings of node ids. The tests of each run on one worker, because they share a fixture that takes a minute or more.
# All other tests are grouped by file, but for those of SPREAD: each of them takes a minute by itself.
SPREAD = "tests/netns/managers/"
SHARED = (
    "tests/terraform/test_(modules|the_)",
    "tests/netns/test_failover.py::test_with_etcd",
    "tests/netns/test_failover.py::test_with_the_file_store",
)
ORDER = (
    SHARED[0],
    "tests/simulation/test_(seeds|cloud).py",
    "tests/terraform/",
    "tests/(?!netns/)",
    SPREAD,
    *SHARED[1:],
    "tests/netns/test_(demo|gcp|azure|aws).py",
    "tests/netns/",
)


def together(node_id: str) -> str:
    """Returns the name of the group of tests that share a worker with this one."""
    if node_id.startswith(SPREAD):
        return node_id
    return next((begin for begin in SHARED if re.match(begin, node_id)), node_id.partition("::")[0])


def rank(item: pytest.Item) -> int:
    return next((place for place, begin in enumerate(ORDER) if re.match(begin, item.nodeid)), len(ORDER))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    config.option.loadscopereorder = False  # it would sort by the number of tests, not by their duration
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = together
    return scheduler
