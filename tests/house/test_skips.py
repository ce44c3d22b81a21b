"""CI does not pass by skipping tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPS = {
    "a test": "import pytest\ndef test_one():\n    pytest.skip('no such kernel')\n",
    "a module": "import pytest\npytest.skip('no such kernel', allow_module_level=True)\n",
}
PASSES = "import pytest\ndef test_one():\n    pass\n@pytest.mark.xfail\ndef test_two():\n    assert False\n"


def outcome(tmp_path: Path, source: str, ci: str, *flags: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-p", "tests.skips", "-p", "no:cacheprovider", *flags, str(tmp_path)]
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS.keys())
def test_an_unexpected_skip_fails_in_ci(tmp_path: Path, source: str) -> None:
    run = outcome(tmp_path, source, "true")
    assert run.returncode != 0
    assert "no such kernel" in run.stdout


def test_it_fails_on_a_worker_too(tmp_path: Path) -> None:
    """`make test` uses workers, whose results another process reports."""
    (tmp_path / "test_another.py").write_text(SKIPS["a module"])
    run = outcome(tmp_path, SKIPS["a test"], "true", "-n", "1", "--continue-on-collection-errors")
    assert "1 failed, 1 error" in run.stdout, run.stdout


def test_a_skip_is_fine_elsewhere(tmp_path: Path) -> None:
    assert outcome(tmp_path, SKIPS["a test"], "").returncode == 0


def test_passes_and_expected_failures_are_no_skips(tmp_path: Path) -> None:
    assert outcome(tmp_path, PASSES, "true").returncode == 0
