"""The sqlite store keeps the contracts of stores."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyvip_sqlite_store import SqliteStore

from controller.contracts import StoreContract, UnknownOutcomeContract
from controller.stores.registry import store_type


class Line(sqlite3.Connection):
    """A connection whose commits may take effect and be answered with an error."""

    losing = False

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        done = super().execute(sql, *parameters)
        if sql == "COMMIT" and Line.losing:
            raise sqlite3.OperationalError("disk I/O error")
        return done


class Faults:
    """See `controller.contracts.StoreFaults`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def losing_replies(self) -> Iterator[None]:
        Line.losing = True
        try:
            yield
        finally:
            Line.losing = False

    @contextmanager
    def stalling(self) -> Iterator[None]:
        """Another process holds the file, and does not let go of it."""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            yield


class TestSqliteStore(StoreContract, UnknownOutcomeContract):
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "store.sqlite"

    @pytest.fixture
    def make_store(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Line))
        return partial(SqliteStore, path)

    @pytest.fixture
    def faults(self, path: Path) -> Faults:
        return Faults(path)


def test_the_registry_finds_it() -> None:
    assert store_type("sqlite") is SqliteStore
