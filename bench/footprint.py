"""Measures what a daemon costs: `python -m bench.footprint --help`.

It measures the time from start to first health answer, memory, and processor time when idle.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.peers import compile_packages, wait_for
from bench.report import machine, markdown, milliseconds, package, write_section
from bench.witness import etcd_cluster
from controller.demo import sandbox
from controller.demo.cluster import DemoCluster
from controller.demo.lab import Lab
from controller.demo.pace import hurry
from controller.demo.samples import SampleKind

LEASE_SECONDS = 3.0
IDLE_SECONDS = 30.0
START_LIMIT_SECONDS = 20.0
PERIOD_SECONDS = 0.005


def main(argv: Sequence[str]) -> int:
    """Enter the sandbox, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.footprint", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="starts (default 10)")
    parser.add_argument("--out", type=Path, help="Markdown file; its section `footprint` is replaced by the result")
    options = parser.parse_args(argv)
    if not sandbox.inside():
        return sandbox.enter([sys.executable, "-m", "bench.footprint", *argv])
    sandbox.settle()
    hurry()
    compile_packages()
    head = f"{machine()}, {package('etcd-server')} (three members), lease {LEASE_SECONDS:g} s, one group."
    text = f"{head}\n\n{_starts(options.runs)}\n\n{_idle()}"
    print(f"\n{text}")
    if options.out:
        write_section(options.out, "footprint", text)
    return 0


def _starts(runs: int) -> str:
    """Measure from process start to the first HTTP answer of any code, one daemon at a time."""
    took = []
    for _ in range(runs):
        with Lab(members=3) as lab, etcd_cluster(lab) as etcd:
            cluster = _cluster(lab, etcd.endpoints)
            lab.balance(PERIOD_SECONDS)
            time.sleep(1)
            began = time.monotonic()
            cluster.start(lab.nodes[0])

            def answered(lab: Lab = lab, began: float = began) -> float | None:
                seen = lab.recording.between(began, time.monotonic())
                return next((s.received for s in seen if s.kind == SampleKind.HEALTH and s.value), None)

            if not wait_for(lambda: answered() is not None, START_LIMIT_SECONDS):
                raise TimeoutError("no health answer")
            took.append((answered() or 0.0) - began)
            cluster.stop()
    return markdown(("start to first health answer, ms", "runs"), [(milliseconds(took), str(runs))])


def _idle() -> str:
    """Measure both daemons while they get no requests."""
    rows = []
    with Lab(members=3) as lab, etcd_cluster(lab) as etcd:
        cluster = _cluster(lab, etcd.endpoints)
        for node in lab.nodes:
            cluster.start(node)
        time.sleep(5 * LEASE_SECONDS)
        before, since = [_processor(cluster.pid(node)) for node in lab.nodes], time.monotonic()
        time.sleep(IDLE_SECONDS)
        for node, used in zip(lab.nodes, before, strict=True):
            share = (_processor(cluster.pid(node)) - used) / (time.monotonic() - since)
            rows.append((node.name, f"{_resident(cluster.pid(node)) / 1e6:.1f}", f"{share * 100:.2f}"))
        cluster.stop()
    return markdown(("daemon", "resident, MB", "of one core when idle, %"), rows)


def _cluster(lab: Lab, endpoints: list[str]) -> DemoCluster:
    return DemoCluster(lab, {"type": "etcd", "endpoints": endpoints}, {"duration_seconds": LEASE_SECONDS})


def _processor(pid: int) -> float:
    """Return the seconds that all threads of the process have run."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _resident(pid: int) -> int:
    """Return VmRSS in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
