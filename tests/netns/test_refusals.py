"""A service that is slow to start moves between real daemons: with the prepare hook, no connection is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.demo import sandbox

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 300.0

pytestmark = [pytest.mark.netns, pytest.mark.timeout(LIMIT_SECONDS)]


def counted(directory: Path, hook: str) -> dict[str, Any]:
    """Return how the client's connections ended during two moves."""
    try:
        sandbox.flags()
    except sandbox.Unavailable as unavailable:
        pytest.skip(str(unavailable))
    found = directory / "counts.json"
    command = [sys.executable, "-m", "bench.refusals", "--moves", "2", "--peer", hook, "--json", str(found)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
    assert found.exists(), run.stdout + run.stderr
    counts: dict[str, Any] = json.loads(found.read_text())[hook]
    return counts


def test_a_service_that_is_started_in_prepare_refuses_nothing(tmp_path: Path) -> None:
    counts = counted(tmp_path, "prepare")
    assert counts["served"] > 0
    assert counts.get("refused", 0) == 0, counts
    assert counts["silent"] > 0, "the moves took place"


def test_the_lab_sees_refusals_where_there_are_some(tmp_path: Path) -> None:
    """The same service, started when the guard is open."""
    assert counted(tmp_path, "promote")["refused"] > 0
