"""Stores are found by the type that the configuration names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from controller.stores.registry import known_stores, store_type


def test_what_is_registered_is_known_and_loads() -> None:
    assert {"etcd", "file"} <= set(known_stores())
    for name in known_stores():
        assert store_type(name).Options.model_config["extra"] == "forbid"


def test_an_unknown_type_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no store of type 'zookeeper'; known: .*etcd, .*file"):
        store_type("zookeeper")


def test_only_the_store_that_is_asked_for_is_imported() -> None:
    program = (
        "import sys; from controller.stores.registry import store_type; store_type('file');"
        "print([name for name in sys.modules if 'etcd' in name or name == 'aiohttp'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_option_says_what_it_is() -> None:
    for name in known_stores():
        for key, field in store_type(name).Options.model_fields.items():
            assert field.description, f"{name}: {key}"
