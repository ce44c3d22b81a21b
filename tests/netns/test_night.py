"""A bad night on real daemons: a survivor tells what happened, to whom, why, and for how long nobody served."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.demo import sandbox
from tests.lab.stores.etcd import missing

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 300.0

pytestmark = [pytest.mark.netns, pytest.mark.timeout(LIMIT_SECONDS)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if reason := missing():
        pytest.skip(reason)
    try:
        sandbox.flags()
    except sandbox.Unavailable as unavailable:
        pytest.skip(str(unavailable))
    found = tmp_path_factory.mktemp("night") / "night.json"
    command = [sys.executable, "-m", "bench.night", "--json", str(found)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
    assert found.exists(), run.stdout + run.stderr
    return json.loads(found.read_text())


def host_of(happened: str, words: str) -> str:
    """The node that a fault hit: `the daemon on n1 is killed`."""
    assert words in happened
    return next(word for word in happened.split() if word[0] == "n" and word[1:].isdigit())


def test_the_survivor_tells_it(told: Any) -> None:
    killed, cut, unfit, store, stopped = told["happened"]
    changes = [entry for entry in told["entries"] if entry["kind"] == "owner" and entry["owner"]]
    reasons = [(entry["was"], entry["why"], entry["detail"]) for entry in changes]
    story = [
        (host_of(killed, "killed"), "owner-fenced", "silent"),
        (host_of(cut, "cut off"), "owner-fenced", "silent"),
        (host_of(unfit, "check"), "unhealthy", "app: exit status 1"),
        (host_of(stopped, "stop"), "stopping", ""),
    ]
    assert store == "the store is restarted"
    without_store = [one for one in reasons if one not in story and one[1] in ("grant-expired", "owner-fenced")]
    assert without_store, "the store was away for longer than a lease"
    assert [one for one in reasons if one in story] == story
    for entry in changes:
        if (entry["was"], entry["why"], entry["detail"]) in story:
            assert all(entry[name] for name in ("served", "gap_seconds", "since", "told_by")), entry
            assert {"bind", "announce", "promote"} <= set(entry["stages"])


def test_the_survivor_tells_of_the_store_and_of_members(told: Any) -> None:
    kinds = {entry["kind"]: entry for entry in told["entries"]}
    assert kinds["cut-off"]["since"] < kinds["cut-off"]["served"]
    gone = host_of(told["happened"][-1], "stop")
    assert (kinds["left"]["was"], kinds["left"]["why"]) == (gone, "left")
    (left,) = told["status"]["left"]
    assert (left["node"], left["why"]) == (gone, "left")
    assert told["status"]["groups"]["web"]["not_standby"] == {gone: "left in order"}
