"""Every edit of the benchmark once, against real daemons: never two owners of an address, and it is served in the end.

How long clients wait is the benchmark's business; here only that the service comes back.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.rolling import SCENARIOS
from controller.demo import sandbox
from tests.lab.stores.etcd import missing

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 400.0

pytestmark = [pytest.mark.netns, pytest.mark.etcd, pytest.mark.timeout(LIMIT_SECONDS)]
Runs = Mapping[str, Mapping[str, Any]]  # by edit
NAMES = [scenario.name for scenario in SCENARIOS]
SOON_OVER = {name for name in NAMES if "killed" in name}  # a slow machine can reload when nobody is waited for any more


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """One run of each edit. A prober may stand still for half a second: this machine has more to do than this."""
    if reason := missing():
        pytest.skip(reason)
    try:
        sandbox.flags()
    except sandbox.Unavailable as unavailable:
        pytest.skip(str(unavailable))
    found = tmp_path_factory.mktemp("edits") / "runs.json"
    command = [sys.executable, "-m", "bench.edits", "--quick", "--stall", "0.5", "--json", str(found)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
    assert found.exists(), run.stdout + run.stderr
    print(run.stdout, run.stderr)  # why an edit is missing
    return {of_one["edit"]: of_one for of_one in json.loads(found.read_text())}


@pytest.mark.parametrize("name", NAMES)
def test_one_node_answers_for_each_address_and_one_does_in_the_end(runs: Runs, name: str) -> None:
    assert name in runs, "not served as both files say in the end: see the output of the fixture"
    assert runs[name]["two"] == 0, "two nodes answered for one address"
    assert runs[name]["healthy"] == 0, "two nodes said 200"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SOON_OVER])
def test_the_node_that_waits_says_for_whom(runs: Runs, name: str) -> None:
    assert any(" has 10.77.0.10" in text for text in runs[name]["said"]), runs[name]["said"]
