"""What operators ask for is carried out, or withdrawn: what was reported as failed does not happen later."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from controller.api.server import Code, Moved, PauseRequest, RequestRefused
from controller.core.events import Asked
from controller.core.records import CLUSTER, GROUPS, Cluster, Ownership, decode
from controller.daemon.requests import Requests, record_of
from tests.simulation.mutant import NONE
from tests.simulation.script import Stage

PAUSE, RESUME = PauseRequest(True, 3600.0, "kernel upgrade", "root"), PauseRequest(False, by="root")


class Operator:
    """Three simulated machines, of which a serves, and an operator at one of them."""

    def __init__(self) -> None:
        self._stage = Stage(NONE)
        self._requests: dict[str, Requests] = {}
        self.play("node a", "node b", "node c", "start a b c", "given web on a", "run 5s")

    def close(self) -> None:
        self._stage.close()

    def play(self, *commands: str) -> None:
        for command in commands:
            for _ in self._stage.play(command):
                pass

    def requests(self, name: str) -> Requests:
        process = self._process(name)
        return self._requests.setdefault(name, Requests(process.node, process.clock))

    def begin(self, name: str, request: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self._process(name).loop.create_task(request)
        return task

    def pause(self, name: str, request: PauseRequest = PAUSE, seconds: float = 10.0) -> asyncio.Task[Any]:
        return self.begin(name, self.requests(name).pause(request, seconds))

    def switchover(self, name: str, to: str | None = "b", seconds: float = 30.0) -> asyncio.Task[Any]:
        before = record_of(self._process(name).state, "web")
        assert before is not None
        return self.begin(name, self.requests(name).switchover(Asked("web", to), before, seconds))

    def scribble(self, key: str) -> None:
        self._stage.cluster.scribble(key)

    def _process(self, name: str) -> Any:
        process = self._stage.cluster.hosts[name].process
        assert process is not None
        return process

    @property
    def cluster(self) -> Cluster:
        entry = self._stage.cluster.store.entries.get(CLUSTER)
        return Cluster() if entry is None else decode(entry.value, Cluster)

    @property
    def web(self) -> Ownership:
        return decode(self._stage.cluster.store.entries[f"{GROUPS}web"].value, Ownership)

    def wishes(self, name: str) -> tuple[object, object]:
        state = self._process(name).state
        return state.wishes.pause, state.groups["web"].campaign.ask


@pytest.fixture
def operator() -> Iterator[Operator]:
    made = Operator()
    yield made
    made.close()


def refusal(task: asyncio.Task[Any]) -> tuple[Code, str]:
    assert task.done()
    error = task.exception()
    assert isinstance(error, RequestRefused)
    return error.code, str(error)


# --- pause and resume --------------------------------------------------------------------------------------------


def test_a_pause_says_who_paused_where_and_why_and_for_how_long(operator: Operator) -> None:
    task = operator.pause("b")
    operator.play("run 1s")
    assert task.result() is None
    pause = operator.cluster
    assert (pause.paused, pause.by, pause.node, pause.why, pause.lasts) == (True, "root", "b", "kernel upgrade", 3600.0)
    assert pause.at > 0
    task = operator.pause("c", RESUME)
    operator.play("run 1s")
    assert task.result() is None
    assert not operator.cluster.paused


def test_a_later_pause_replaces_the_time_and_the_reason(operator: Operator) -> None:
    operator.pause("b")
    operator.play("run 1s")
    again = operator.pause("b", PauseRequest(True, by="alice"))
    operator.play("run 1s")
    assert again.result() is None
    assert (operator.cluster.by, operator.cluster.lasts, operator.cluster.why) == ("alice", 0.0, "")


def test_a_pause_that_a_node_without_the_store_reports_as_failed_never_comes(operator: Operator) -> None:
    operator.play("cut b")
    task = operator.pause("b")
    operator.play("run 15s")
    said = "the store has not confirmed it within 10 s: the cluster is not paused, and will not be by this request"
    assert refusal(task) == (Code.TIMEOUT, said)
    assert operator.wishes("b") == (None, None)
    operator.play("mend b", "run 30s")
    assert not operator.cluster.paused


def test_a_write_that_may_still_land_is_said_to_and_then_made_impossible(operator: Operator) -> None:
    operator.play("hold b cluster")
    task = operator.pause("b", seconds=0.1)
    operator.play("run 1s", "cut b", "run 5s")
    code, said = refusal(task)
    assert code == Code.TIMEOUT
    assert said == (
        "the store has not confirmed it within 0.1 s: the cluster may be paused all the same, see `anyvip status`"
    )
    operator.play("mend b", "run 10s", "release", "run 10s")
    assert not operator.cluster.paused
    assert operator.wishes("b") == (None, None)


def test_a_pause_whose_answer_was_lost_is_found_and_reported_as_done(operator: Operator) -> None:
    operator.play("lose b answer cluster")
    task = operator.pause("b")
    operator.play("run 15s")
    assert task.result() is None
    assert operator.cluster.paused


def test_a_pause_that_is_seen_to_hold_while_it_is_withdrawn_is_done(operator: Operator) -> None:
    operator.play("hold b answer cluster")
    task = operator.pause("b", seconds=0.1)
    operator.play("run 0.5s", "release", "run 3s")
    assert task.result() is None
    assert operator.cluster.paused


def test_an_operator_who_hangs_up_leaves_no_wish(operator: Operator) -> None:
    operator.play("cut b")
    task = operator.pause("b")
    operator.play("run 1s")
    task.cancel()
    operator.play("run 1s")
    assert task.cancelled()
    assert operator.wishes("b") == (None, None)


def test_of_two_requests_the_later_one_holds_and_the_other_says_so(operator: Operator) -> None:
    requests = operator.requests("b")
    first = operator.begin("b", requests.pause(PAUSE, 10.0))
    second = operator.begin("b", requests.pause(RESUME, 10.0))
    operator.play("run 1s")
    assert refusal(first) == (Code.STORE, "another request came first: see `anyvip status`")
    assert second.result() is None


def test_a_record_that_cannot_be_read_is_named(operator: Operator) -> None:
    operator.scribble(CLUSTER)
    task = operator.pause("b")
    operator.play("run 1s")
    assert refusal(task) == (Code.BAD_RECORD, "the store's record 'cluster' cannot be read: not JSON: b'oops'")


# --- switchover --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["a", "b", "c"])
def test_a_switchover_returns_when_the_new_node_serves(operator: Operator, asked: str) -> None:
    task = operator.switchover(asked)
    operator.play("run 1s")
    moved = task.result()
    assert isinstance(moved, Moved)
    assert (moved.before, moved.to, moved.epoch) == ("a", "b", operator.web.epoch)


def test_a_switchover_that_the_owner_does_not_hear_of_is_taken_back(operator: Operator) -> None:
    operator.play("watch off", "cut a")
    task = operator.switchover("c", seconds=1.0)
    operator.play("run 0.5s")
    assert operator.web.wanted is not None
    operator.play("run 1s")
    said = "b does not serve web within 1 s; the request is withdrawn; if a has just begun to hand over, that goes on"
    assert refusal(task) == (Code.TIMEOUT, said)
    assert operator.web.wanted is None
    operator.play("mend a", "run 20s", "expect web on a")


def test_a_switchover_that_cannot_be_taken_back_says_so_and_is_as_soon_as_the_store_answers(operator: Operator) -> None:
    operator.play("watch off", "cut a")
    task = operator.switchover("c", to=None, seconds=1.0)
    operator.play("run 0.5s", "cut c", "run 4s")
    code, said = refusal(task)
    assert code == Code.TIMEOUT
    assert said.endswith("has not confirmed that the request is withdrawn, so it may happen yet: see `anyvip status`")
    operator.play("mend c", "run 4s")
    assert operator.web.wanted is None
    assert operator.wishes("c") == (None, None)


def test_a_switchover_under_way_is_not_taken_back(operator: Operator) -> None:
    operator.play("freeze a at step demote")
    task = operator.switchover("a", seconds=1.0)
    operator.play("until a frozen", "run 1s", "thaw a", "run 1s")
    said = "b does not serve web within 1 s; it is being handed over, which goes on: see `anyvip status`"
    assert refusal(task) == (Code.TIMEOUT, said)
    operator.play("run 5s", "expect web on b")


def test_a_request_of_another_operator_stays(operator: Operator) -> None:
    operator.play("watch off", "cut a")
    task = operator.switchover("c", seconds=1.0)
    operator.play("run 0.5s")
    operator.play("ask b web to c", "run 0.3s")
    operator.play("run 1s")
    assert refusal(task)[0] == Code.TIMEOUT
    wanted = operator.web.wanted
    assert wanted is not None
    assert wanted.to == "c"
