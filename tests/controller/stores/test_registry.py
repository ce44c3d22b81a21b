"""Stores are found by the type that the configuration names."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from controller.stores.registry import known_stores, store_type
from tests.lab.plugins.own import OWN_STORES

if TYPE_CHECKING:
    from collections.abc import Iterator
from pathlib import Path


def test_what_is_registered_is_known_and_loads() -> None:
    assert set(OWN_STORES) <= set(known_stores())
    for name in OWN_STORES:
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


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed distribution of somebody else with a store that works and two that do not."""
    info = tmp_path / "foreign_store-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-store\nVersion: 1.0\n")
    entries = ["good = foreign_store:Store", "absent = no_such_module:Store", "misnamed = foreign_store:Stroe"]
    (info / "entry_points.txt").write_text("\n".join(["[anyvip.stores]", *entries]))
    (tmp_path / "foreign_store.py").write_text("class Store:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    _forget()
    yield
    _forget()


def _forget() -> None:
    for remembered in (known_stores, store_type):
        remembered.cache_clear()


@pytest.mark.usefixtures("foreign")
def test_a_store_of_somebody_else_is_found() -> None:
    assert store_type("good").__module__ == "foreign_store"
    assert {"good", "file", "etcd"} <= set(known_stores())


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize(("name", "says"), [("absent", "no_such_module"), ("misnamed", "Stroe")])
def test_a_store_that_cannot_be_loaded_is_named_with_its_reason(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"store of type '{name}' cannot be loaded: .*{says}"):
        store_type(name)


def test_every_option_says_what_it_is() -> None:
    for name in OWN_STORES:
        for key, field in store_type(name).Options.model_fields.items():
            assert field.description, f"{name}: {key}"
