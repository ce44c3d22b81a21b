"""Measures many VIPs and many groups: `python -m bench.scale --help`.

The host of 1,000 VIPs goes dark: how long after the first VIP does the last one answer? Two nodes are idle, with 1
group and with 200: how many writes per second does the store get?
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.failover import running
from bench.peers import Anyvip, wait_for
from bench.report import machine, markdown, milliseconds, package, write_section
from bench.witness import etcd_cluster
from controller.demo import sandbox
from controller.demo.cluster import group
from controller.demo.lab import ROOT, Host, Lab
from controller.demo.pace import hurry
from controller.demo.samples import SampleKind
from tests.lab.stores.etcd import EtcdCluster

VIPS, GROUPS = 1000, 200
LEASE_SECONDS = 1.0
IDLE_LEASE_SECONDS = 3.0
IDLE_SECONDS = 20.0
SETTLE_SECONDS = 4.0
READY_LIMIT_SECONDS = 60.0
HEALTH_PERIOD_SECONDS = 0.1
SWEEP_READY_SECONDS = 1.0

_REVISION = """\
import json, sys, urllib.request as r
asked = r.Request(sys.argv[1] + "/v3/kv/range", json.dumps({"key": "AA=="}).encode())
print(json.load(r.urlopen(asked, timeout=5))["header"]["revision"])
"""


def main(argv: Sequence[str]) -> int:
    """Enter the sandbox, measure and print."""
    options = _options().parse_args(argv)
    if not sandbox.inside():
        return sandbox.enter([sys.executable, "-m", "bench.scale", *argv])
    sandbox.settle()
    hurry()
    text = "\n\n".join([f"{machine()}, {package('etcd-server')} (three members).", _vips(options.runs), _writes()])
    print(f"\n{text}")
    if options.out:
        write_section(options.out, "scale", text)
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="runs in which the host goes dark (default 10)")
    parser.add_argument("--out", type=Path, help="Markdown file; its section `scale` is replaced by the result")
    return parser


def _vips(runs: int) -> str:
    """Let the host of one group with many VIPs go dark, and ask the other node for all of them."""
    addresses = [f"10.78.{n // 250}.{n % 250 + 1}" for n in range(VIPS)]
    groups = {"web": group(*(f"{address}/32" for address in addresses))}
    answers, announcements, firsts = [], [], []
    with Lab(members=3) as lab, etcd_cluster(lab) as etcd:
        lab.respond()
        lab.balance(HEALTH_PERIOD_SECONDS)
        with running(Anyvip(lab, _section(etcd), LEASE_SECONDS, groups)) as peer:
            for number in range(runs):
                for node in lab.nodes:
                    peer.start(node)
                seen, struck = _sweep_failover(lab, addresses)
                firsts.append(seen["answered"][0] - struck)
                answers.append(seen["answered"][-1] - seen["answered"][0])
                announcements.append(seen["announced"][-1] - seen["answered"][0])
                print(
                    f"{VIPS} VIPs #{number + 1}: first {firsts[-1]:.3f} s, last {answers[-1]:.3f} s later", flush=True
                )
                peer.stop()
    row = (str(VIPS), str(runs), milliseconds(firsts), milliseconds(answers), milliseconds(announcements))
    headings = (
        "VIPs in one group",
        "runs",
        "host dark to first answer",
        "first to last answer",
        "first answer to last GARP",
    )
    return markdown(headings, [row]) + "\n\nMilliseconds, median / max; lease 1 s; each VIP is asked every 20 ms."


def _sweep_failover(lab: Lab, addresses: Sequence[str]) -> tuple[dict[str, list[float]], float]:
    active = _serving(lab)
    standby = next(node for node in lab.nodes if node != active)
    command = [sys.executable, "-m", "bench.sweep", lab.monitor.mac, lab.monitor.address, standby.mac]
    with subprocess.Popen(
        ["ip", "netns", "exec", lab.monitor.name, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        process.stdin.write("\n".join(addresses))
        process.stdin.close()
        time.sleep(SWEEP_READY_SECONDS)
        struck = time.monotonic()
        lab.darken(active)
        assert process.stdout is not None
        seen: dict[str, list[float]] = json.load(process.stdout)
    lab.lighten(active)
    if len(seen["answered"]) != len(addresses):
        raise SystemExit(f"only {len(seen['answered'])} of {len(addresses)} VIPs answered")
    return seen, struck


def _writes() -> str:
    rows = []
    for groups in (1, GROUPS):
        with Lab(members=3) as lab, etcd_cluster(lab) as etcd:
            each = {f"g{n}": group(f"10.79.0.{n + 1}/32") for n in range(groups)}
            with running(Anyvip(lab, _section(etcd), IDLE_LEASE_SECONDS, each)) as peer:
                for node in lab.nodes:
                    peer.start(node)
                _settle(lab.members[0], etcd)
                rows.append((str(groups), f"{_rate(lab.members[0], etcd, IDLE_SECONDS):.2f}"))
    note = f"Two nodes, lease {IDLE_LEASE_SECONDS:g} s, counted by etcd's revision over {IDLE_SECONDS:g} s."
    return markdown(("groups on two nodes", "store writes per second, idle"), rows) + f"\n\n{note}"


def _settle(member: Host, etcd: EtcdCluster) -> None:
    """Wait until the store's rate of writes is steady, because every group has found its owner."""
    rates: list[float] = []

    def steady() -> bool:
        rates.append(_rate(member, etcd, SETTLE_SECONDS))
        return len(rates) > 2 and 0 < max(rates[-3:]) < 1.2 * min(rates[-3:])

    if not wait_for(steady, READY_LIMIT_SECONDS):
        raise SystemExit(f"the rate of writes never got steady; per second: {[f'{rate:.1f}' for rate in rates]}")


def _rate(member: Host, etcd: EtcdCluster, seconds: float) -> float:
    """Return the writes per second over the next `seconds`."""
    before, since = _revision(member, etcd), time.monotonic()
    time.sleep(seconds)
    return (_revision(member, etcd) - before) / (time.monotonic() - since)


def _serving(lab: Lab) -> Host:
    """Wait until exactly one node answers 200, and return it."""

    def healthy() -> set[int]:
        now = time.monotonic()
        recent = lab.recording.between(now - 5 * HEALTH_PERIOD_SECONDS, now)
        return {s.node for s in recent if s.kind == SampleKind.HEALTH and s.value == 200}

    if not wait_for(lambda: len(healthy()) == 1, READY_LIMIT_SECONDS):
        raise TimeoutError(f"not exactly one node answers 200; logs are in {ROOT}")
    return lab.nodes[healthy().pop()]


def _revision(member: Host, etcd: EtcdCluster) -> int:
    command = [sys.executable, "-c", _REVISION, etcd.endpoints[0]]
    asked = subprocess.run(["ip", "netns", "exec", member.name, *command], check=True, capture_output=True)
    return int(asked.stdout)


def _section(etcd: EtcdCluster) -> dict[str, object]:
    return {"type": "etcd", "endpoints": etcd.endpoints}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
