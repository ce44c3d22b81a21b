"""The picture in the README is drawn from the recording, and shows everything in it."""

from __future__ import annotations

import runpy
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

DOCS = Path(__file__).parents[2] / "docs"
RECORDING = (DOCS / "failover.txt").read_text()
TIMELINE = runpy.run_path(str(DOCS / "timeline.py"))


def test_the_picture_is_the_one_of_the_recording() -> None:
    drawn = TIMELINE["draw"](TIMELINE["read"](RECORDING))
    assert (DOCS / "failover.svg").read_text() == drawn, "run: make docs"
    ET.fromstring(drawn)


def test_every_event_and_every_gap_is_in_it() -> None:
    run = TIMELINE["read"](RECORDING)
    assert [label for _, label in run.events] == [
        "n1 dies: network cut, SIGKILL",
        "n1 is back",
        "n2 freezes: SIGSTOP",
        "n2 goes on",
        "switchover to n2",
    ]
    told = [line.split("after ")[1].split()[0] for line in RECORDING.splitlines() if "ms without an answer" in line]
    assert [f"{(gap.end - gap.start) * 1000:.0f}" for gap in run.silences] == told


def test_one_node_at_a_time_answers() -> None:
    run = TIMELINE["read"](RECORDING)
    spans = sorted((span.start, span.end) for found in run.answers.values() for span in found)
    assert len(spans) == 4
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_run_that_broke_its_promise_is_not_drawn() -> None:
    with pytest.raises(ValueError, match="does not say"):
        TIMELINE["read"](RECORDING.replace(TIMELINE["PROMISED"], "NOT AS PROMISED"))
