"""A third-party plug-in that is installed beside the tree does not break the tree's own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Tests that read stores and providers by name. The tests of stores need servers, so they are only collected.
RUN = (
    "tests/controller/config/test_docs.py",
    "tests/controller/config/test_schema.py",
    "tests/controller/stores/test_registry.py",
    "tests/providers/test_registry.py",
)
MODULE = """
from pydantic import BaseModel


class Depth(BaseModel):
    metres: int


class Plugin:
    class Options(BaseModel):
        depth: Depth

    async def changes(self, prefix):
        yield {}
"""
ENTRY_POINTS = """
[anyvip.stores]
abyss = a_foreign_plugin:Plugin
abyss_broken = no_such_module_at_all:Plugin

[anyvip.providers]
abyss.ip = a_foreign_plugin:Plugin
abyss.broken = no_such_module_at_all:Plugin
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Installs a distribution as pip does. Its options allow unknown keys, and half of it cannot be loaded."""
    info = tmp_path / "a_foreign_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-foreign-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "a_foreign_plugin.py").write_text(MODULE)
    return tmp_path


def run(foreign: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(foreign)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_tests_that_count_plugins_pass(foreign: Path) -> None:
    done = run(foreign, "pytest", "-q", "-p", "no:cacheprovider", *RUN)
    assert done.returncode == 0, done.stdout


def test_the_stores_that_are_tested_are_ours(foreign: Path) -> None:
    done = run(foreign, "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", "tests/controller/stores")
    assert done.returncode == 0, done.stdout
    assert "[etcd" in done.stdout
    assert "abyss" not in done.stdout


def test_the_plugin_is_there(foreign: Path) -> None:
    asked = "from controller.stores.registry import known_stores; print(*known_stores())"
    command = [sys.executable, "-c", asked]
    environment = {**os.environ, "PYTHONPATH": str(foreign)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert {"abyss", "abyss_broken"} <= set(done.stdout.split())
