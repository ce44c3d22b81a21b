"""Which lease durations a store carries: real etcd and S3 by moto, near and far away."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from controller.cli import commands
from controller.cli import store_latency as measurement
from controller.cli.main import main
from controller.cli.store_latency import READS, Latency, latency_problems, shortest_lease, store_latency
from controller.config.loading import from_bytes
from controller.config.model import Config
from controller.core.records import Cluster, encode
from controller.core.timing import Timing
from tests.lab.http.bad_network import dark_endpoint
from tests.lab.http.delay import Far, far_away
from tests.lab.stores.backends import Backend
from tests.lab.stores.moto import REGION, make_bucket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from pathlib import Path

    from tests.lab.host.servers import Server
    from tests.lab.stores.etcd import EtcdCluster

FAR_SECONDS = 0.1


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the measurement time on a busy machine, where loading an SDK takes seconds."""
    monkeypatch.setattr(measurement, "_CALL_SECONDS", 60.0)
    monkeypatch.setattr(measurement, "ASK_SECONDS", 110.0)


def configured(endpoint: str, lease: str = "", store: Mapping[str, Any] | None = None) -> Config:
    return from_bytes(text(endpoint, lease, store).encode(), "anyvip.yml")


def text(endpoint: str, lease: str = "", store: Mapping[str, Any] | None = None) -> str:
    lines = [
        "cluster: shop",
        "node: n1",
        f"store: {json.dumps(store or {'type': 'etcd', 'endpoints': [endpoint]})}",
        lease or "lease: {duration_seconds: 3}",
        "groups:",
        "  web: {vips: [10.77.0.100/24], providers: [{type: baremetal, interface: lo}]}",
    ]
    return "\n".join(lines) + "\n"


def after(slow: float) -> Latency:
    return Latency(slow, (slow,) * READS)


# --- which durations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [0.2, 0.4, 1.3, 30.0])
@pytest.mark.parametrize("overshoot", [0.05, 1.0])
def test_the_shortest_lease_gives_each_call_its_time_and_a_shorter_one_does_not(call: float, overshoot: float) -> None:
    least = shortest_lease(call, 0.01, overshoot)
    assert Timing.derive(least, overshoot=overshoot).call_timeout >= call
    assert Timing.derive(least - 0.11, overshoot=overshoot).call_timeout < call


def test_one_slow_read_of_ten_does_not_count_two_do() -> None:
    assert Latency(1.0, (0.01,) * 9 + (5.0,)).slow == 0.01
    assert Latency(1.0, (5.0,) + (0.01,) * 8 + (4.0,)).slow == 4.0


def test_a_lease_that_is_too_short_is_refused_with_file_line_key_and_the_least() -> None:
    (problem,) = latency_problems(configured("http://127.0.0.1:9"), after(0.5))
    least = shortest_lease(1.0)
    assert str(problem) == (
        f"anyvip.yml:4: lease.duration_seconds: found 3.0; allowed: at least {least:g}: the etcd store answers a read in "
        "0.500 s, a write is assumed to take 1.000 s, and a call of this lease may take 0.787 s"
    )
    lease = f"lease: {{duration_seconds: {least}}}"
    assert list(latency_problems(configured("http://127.0.0.1:9", lease), after(0.5))) == []


def test_durations_that_were_given_are_named_where_the_duration_alone_is_not_at_fault() -> None:
    config = configured("http://127.0.0.1:9", "lease: {duration_seconds: 30, renew_deadline_seconds: 2}")
    (problem,) = latency_problems(config, after(0.5))
    assert "renew_deadline_seconds and retry_period_seconds left out" in str(problem)


# --- asking ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
@pytest.mark.etcd
async def test_distance_is_measured_and_nothing_is_written(shared_etcd: EtcdCluster) -> None:
    began_at = time.monotonic()
    async with far_away(shared_etcd.endpoints[0], FAR_SECONDS) as far:
        latency = await store_latency(configured(far.endpoint))
    assert len(latency.reads) == READS
    assert min(latency.reads) >= FAR_SECONDS
    assert latency.first >= FAR_SECONDS
    assert latency.first + sum(latency.reads) <= time.monotonic() - began_at
    assert far.round_trips == 1 + READS, "each read waits for one answer"
    place = Backend("etcd", {"endpoints": shared_etcd.endpoints})
    assert await place.open("shop").read("") == {}
    await place.close()


async def round_trips(far: Far, call: Awaitable[object]) -> int:
    """How many answers this call waits for, one after the other."""
    before = far.round_trips
    await call
    return far.round_trips - before


@pytest.mark.etcd
async def test_a_lease_works_at_the_latency_that_check_config_accepts_it_at(shared_etcd: EtcdCluster) -> None:
    """What a renewal waits for is no more than what the latency allows a call, counted in answers."""
    async with far_away(shared_etcd.endpoints[0], FAR_SECONDS) as far:
        place = Backend("etcd", {"endpoints": [far.endpoint], "prefix": "/far/"})
        store = place.open()
        version = await store.swap("cluster", encode(Cluster(seq=0)), None)
        asked = await round_trips(far, store.read(""))
        written = await round_trips(far, store.swap("cluster", encode(Cluster(seq=1)), version))
        await place.close()
    assert asked == 1
    assert max(asked, written) <= after(asked).call


@pytest.mark.usefixtures("patient")
async def test_the_latency_allows_for_a_read_that_fetches_what_another_node_has_changed(moto: Server) -> None:
    """It waits for two answers, which asking an idle store does not show."""
    bucket = make_bucket(moto.url)
    async with far_away(moto.url, FAR_SECONDS) as far:
        place = Backend("s3", {"bucket": bucket, "region": REGION, "endpoint_url": far.endpoint})
        latency = await store_latency(configured(far.endpoint, store={"type": "s3", **place.options}))
        near, store = place.open(endpoint_url=moto.url), place.open()
        version = await near.swap("sessions/2", b"0", None)
        await store.read("")
        idle = await round_trips(far, store.read(""))
        await near.swap("sessions/2", b"1", version)
        changed = await round_trips(far, store.read(""))
        await place.close()
    assert min(latency.reads) >= FAR_SECONDS
    assert (idle, changed) == (1, 2)
    assert changed <= after(idle).call


@pytest.mark.usefixtures("patient")
@pytest.mark.etcd
async def test_a_lease_that_the_distance_does_not_carry_is_refused(
    shared_etcd: EtcdCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with far_away(shared_etcd.endpoints[0], FAR_SECONDS) as far:
        code, out, err = await checked(tmp_path, capsys, text(far.endpoint, "lease: {duration_seconds: 0.5}"))
        assert (code, out) == (commands.USAGE, "")
        assert err.startswith(f"{tmp_path}/anyvip.yml:4: lease.duration_seconds: found 0.5; allowed: at least ")
        assert err.count("\n") == 1
        code, out, err = await checked(tmp_path, capsys, text(far.endpoint, "lease: {duration_seconds: 600}"))
        assert (code, err) == (commands.DONE, "")
        assert "the etcd store answers a read in " in out
        assert "fast enough for a lease of " in out


async def checked(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> tuple[int, str, str]:
    file = tmp_path / "anyvip.yml"
    file.write_text(content)
    code = await asyncio.to_thread(main, ["check-config", "--config", str(file), "--ask-store"])
    out, err = capsys.readouterr()
    return code, out, err


async def test_a_store_that_is_not_there_is_said_and_is_no_error_of_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with dark_endpoint() as endpoint:
        code, out, err = await checked(tmp_path, capsys, text(endpoint))
    assert (code, out) == (commands.FAILED, "")
    assert err.startswith(f"anyvip: the etcd store did not answer: {endpoint}")


async def test_the_store_is_not_asked_unless_told_to(tmp_path: Path) -> None:
    file = tmp_path / "anyvip.yml"
    file.write_text(text("http://127.0.0.1:9"))
    assert await asyncio.to_thread(main, ["check-config", "--config", str(file)]) == commands.DONE
