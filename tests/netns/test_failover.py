"""Every fault of the benchmark once, against real daemons: never two owners, and the service comes back.

How long it takes is the benchmark's business; here only that it happens.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.faults import FAULTS, Fault
from controller.demo import sandbox
from tests.lab.stores.etcd import missing

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 400.0

pytestmark = [pytest.mark.netns, pytest.mark.timeout(LIMIT_SECONDS)]
Runs = Mapping[str, Mapping[str, Any]]  # by fault


def measured(tmp_path_factory: pytest.TempPathFactory, *arguments: str) -> Runs:
    """One run of each fault. A prober may stand still for half a second: this machine has more to do than this."""
    try:
        sandbox.flags()
    except sandbox.Unavailable as unavailable:
        pytest.skip(str(unavailable))
    found = tmp_path_factory.mktemp("failover") / "runs.json"
    command = [sys.executable, "-m", "bench.failover", "--quick", "--stall", "0.5", "--json", str(found), *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
    assert found.exists(), run.stdout + run.stderr
    return {of_one["fault"]: of_one for of_one in json.loads(found.read_text())}


@pytest.fixture(scope="module")
def etcd_runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    if reason := missing():
        pytest.skip(reason)
    return measured(tmp_path_factory, "--peer", "anyvip", "--store", "etcd")


@pytest.fixture(scope="module")
def file_runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return measured(tmp_path_factory, "--peer", "anyvip", "--store", "file")


def faults(where: str) -> pytest.MarkDecorator:
    found = [fault for fault in FAULTS if where in fault.where]
    return pytest.mark.parametrize("fault", found, ids=[fault.name for fault in found])


def check(run: Mapping[str, Any], fault: Fault) -> None:
    assert run["two"] == 0, "two nodes answered VIP traffic or ARP"
    assert run["healthy"] == 0, "two nodes said 200"
    if fault.moves:
        assert run["takeover"] is not None, "no other node took over"
    if fault.heal is not None:
        assert run["astray"] < 15, "the client was sent to the wrong MAC until its own cache forgot it"


@faults("etcd")
def test_with_etcd_there_is_one_owner_and_there_is_one_again(etcd_runs: Runs, fault: Fault) -> None:
    check(etcd_runs[fault.name], fault)


@faults("file")
def test_with_the_file_store_there_is_one_owner_and_there_is_one_again(file_runs: Runs, fault: Fault) -> None:
    check(file_runs[fault.name], fault)


def test_the_lab_sees_two_owners_where_there_are_two(tmp_path_factory: pytest.TempPathFactory) -> None:
    """keepalived, killed, leaves its address behind: if the lab saw one owner here, it would see nothing anywhere."""
    if shutil.which("keepalived", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("keepalived is not installed (Debian: apt-get install keepalived)")
    runs = measured(tmp_path_factory, "--peer", "keepalived-0.1", "--fault", "not restarted")
    assert runs["SIGKILL, not restarted"]["two"] > 0.5
