"""Which worker runs what (`-n`), and in which order.

Terraform works for minutes on its own and begins first; what keeps a processor busy fills the time. What has clocks in it,
real daemons with short leases, comes when that is over, the longest first, so that no worker is left with it at the end.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

# What node ids begin with. The tests of each run on one worker, as they rest on one fixture that takes a minute or more;
# all other tests of a file are together.
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
    *SHARED[1:],
    "tests/netns/test_(demo|gcp|azure|aws).py",
    "tests/netns/",
)


def together(node_id: str) -> str:
    """The name of what this test shares a worker with."""
    return next((begin for begin in SHARED if re.match(begin, node_id)), node_id.partition("::")[0])


def rank(item: pytest.Item) -> int:
    return next((place for place, begin in enumerate(ORDER) if re.match(begin, item.nodeid)), len(ORDER))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    config.option.loadscopereorder = False  # it takes the number of tests for their length
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = together
    return scheduler
