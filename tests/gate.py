"""What the coverage gate rests on; elsewhere its tracer would only cost time."""

from __future__ import annotations

import re

import pytest

MEASURED = re.compile(r"tests/(unit/test_(core|lease|values|debounce)|simulation/test_scripts)\.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not MEASURED.match(item.nodeid):
            item.add_marker(pytest.mark.no_cover)
