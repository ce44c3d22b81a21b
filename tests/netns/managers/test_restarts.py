"""Each manager of a host's network does what it does, and the host is what it would be without the daemon.

How long clients wait is the benchmark's business; here only that two nodes never answer, that the VIP is served again,
and that the host's addresses, routes and sources are as on the same host where nobody keeps a VIP.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.restart_runs import Run
from bench.restarts import changes
from controller.demo import sandbox
from tests.lab.managers.base import missing
from tests.lab.managers.every import NAMES

ROOT = Path(__file__).parents[3]
LIMIT_SECONDS = 400.0
OTHER_ROLES = [("NetworkManager", "standby"), ("NetworkManager", "moving")]  # it does most of its own accord

pytestmark = [pytest.mark.netns, pytest.mark.timeout(2 * LIMIT_SECONDS)]


@pytest.mark.parametrize(("manager", "role"), [*((name, "active") for name in NAMES), *OTHER_ROLES])
def test_a_host_stays_what_it_is_and_serves(tmp_path: Path, manager: str, role: str) -> None:
    try:
        as_root = "--user" not in sandbox.flags()
    except sandbox.Unavailable as unavailable:
        pytest.skip(str(unavailable))
    if lacking := missing():
        pytest.skip(f"these packages are not installed: {', '.join(lacking)}")
    if not as_root:
        pytest.skip("layers over /etc and /var need root")
    runs = measured(tmp_path, manager, role)
    of_anyvip = [run for run in runs if run.peer == "anyvip"]
    assert len(of_anyvip) == len(runs) / 2 > 0, "an event is missing: see what the benchmark said"
    for run in of_anyvip:
        assert run.two == 0, f"{run.event}: two nodes answered"
        assert run.served, f"{run.event}: the VIP is not served"
        assert changes(run, runs) == ([], []), run.event


def measured(directory: Path, manager: str, role: str) -> list[Run]:
    found = directory / "runs.json"
    chosen = ["--manager", manager, "--role", role, "--peer", "anyvip", "--json", str(found)]
    command = [sys.executable, "-m", "bench.restarts", *chosen]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
    assert found.exists(), run.stdout + run.stderr
    print(run.stdout, run.stderr)  # why a run is missing
    return [Run(**one) for one in json.loads(found.read_text())]
