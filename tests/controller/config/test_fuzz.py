"""Any file is either read, or refused with one line for each problem. No other exception is raised."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.config.loading import from_bytes
from controller.config.problem import ConfigError, Problem

GOOD: dict[str, Any] = {
    "cluster": "shop",
    "node": "n1",
    "state_dir": "/run/anyvip",
    "store": {"type": "etcd", "endpoints": ["http://10.77.0.9:2379"], "user": "a", "password": "b"},
    "lease": {"duration_seconds": 3},
    "health": {"listen": ["0.0.0.0:9010"]},
    "admin": {"mode": "0660"},
    "groups": {
        "web": {
            "vips": ["10.77.0.100/24"],
            "providers": [{"type": "baremetal", "interface": "eth0"}],
            "checks": {"app": {"type": "http", "url": "http://127.0.0.1/", "headers": {"Host": "app"}}},
            "hooks": {"promote": ["a"], "timeout_seconds": 1},
            "health_path": "/up",
        },
    },
}

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in places(child, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], to: Any) -> Any:
    if not path:
        return to
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], to)
    return copy


def read(content: bytes) -> None:
    for problem in problems(content):
        assert len(str(problem).splitlines()) == 1
        assert str(problem).startswith("anyvip.yml")


def problems(content: bytes) -> tuple[Problem, ...]:
    try:
        from_bytes(content, "anyvip.yml")
    except ConfigError as error:
        return error.problems or (Problem("refused without a reason", None, (), ""),)
    return ()


@given(st.sampled_from(places(GOOD)), VALUES)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_anything_anywhere(place: tuple[Any, ...], value: Any) -> None:
    read(json.dumps(changed(GOOD, place, value)).encode())


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes(content: bytes) -> None:
    read(content)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`, \n\t?\0é\x85", max_size=60))
@settings(max_examples=200, deadline=None)
def test_almost_yaml(text: str) -> None:
    read(text.encode())


def test_the_file_that_is_changed_is_right() -> None:
    assert from_bytes(json.dumps(GOOD).encode(), "anyvip.yml").node == "n1"
