"""Which worker runs what (`-n`): the tests of a file one after the other on one, as they share what is dear to make.

What takes longest begins first, so that no worker is left with it at the end.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

# What node ids begin with; each is for one worker, and most of them rest on one fixture that takes a minute or more.
LONGEST = (
    "tests/terraform/test_(modules|the_)",
    "tests/netns/test_failover.py::test_with_etcd",
    "tests/netns/test_failover.py::test_with_the_file_store",
    "tests/simulation/test_seeds.py",
    "tests/netns/test_demo.py",
    "tests/terraform/test_checkov.py",
)


def together(node_id: str) -> str:
    """The name of what this test shares a worker with."""
    return next((begin for begin in LONGEST if re.match(begin, node_id)), node_id.partition("::")[0])


def rank(item: pytest.Item) -> int:
    place = together(item.nodeid)
    return LONGEST.index(place) if place in LONGEST else len(LONGEST)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    config.option.loadscopereorder = False  # it takes the number of tests for their length
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = together
    return scheduler
