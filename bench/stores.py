"""Measures what a store costs, and how soon a group moves with it: `python -m bench.stores --help`.

A proxy in front of the store counts requests and bytes of two idle daemons, with 1 and 50 groups. The takeover is the
time from a crash to the first answer of the other node.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import inf
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from bench.failover import Missed, running, scene_of, valid
from bench.faults import FAULTS
from bench.peers import START_LIMIT_SECONDS, Anyvip, wait_for
from bench.report import machine, markdown, package, write_section
from bench.witness import MEMBERS, SERVERS, allowed, options, witness
from controller.core.timing import Timing
from controller.demo import sandbox
from controller.demo.cluster import group
from controller.demo.lab import ROOT, Lab
from controller.demo.pace import hurry
from tests.lab.host.servers import Server
from tests.lab.stores import moto

GROUPS = (1, 50)
SETTLE_LEASES = 1.0
IDLE_ROUNDS = 12  # whole rounds, so that the start of the first one does not matter
LONGEST_TAKEOVER = 1.25  # leases; the limit for a takeover
STALL_SECONDS = 0.05  # a prober that stalls for longer voids a run
COUNTER_PORT = 6000
HEADINGS = (
    "store",
    "server",
    "lease, s",
    *(f"{what} / s, {groups}" for what in ("requests", "bytes") for groups in ("1 group", "50 groups")),
    "crashes",
    "takeover / lease",
)
LEGEND = f"""\
Requests and bytes of each node, active / standby, counted over {IDLE_ROUNDS} rounds. Bytes are HTTP's, both ways,
without TCP, IP and TLS. *requests*: of all kinds. On object stores each node also fetches the other's session when it
has changed. `file` sends no requests. *takeover*: from SIGKILL to the first answer of the other node, median / max. The
limit is {LONGEST_TAKEOVER:g}."""


def main(argv: Sequence[str]) -> int:
    """Enter the sandbox, measure and print. Returns 1 if a takeover was too late or did not happen."""
    arguments = _options().parse_args(argv)
    if not sandbox.inside():
        return sandbox.enter([sys.executable, "-m", "bench.stores", *argv])
    sandbox.settle()
    hurry()
    rows, worst = [], 0.0
    for kind in arguments.store or MEMBERS:
        lease = allowed(kind, arguments.lease)
        shares = _takeovers(kind, lease, arguments.runs)
        worst = max(worst, *shares) if shares else worst
        rows.append((kind, SERVERS[kind], f"{lease:g}", *_idle(kind, lease), str(len(shares)), _spread(shares)))
        print(" | ".join(rows[-1]), flush=True)
    text = f"{machine()}, {package('etcd-server')}.\n\n{markdown(HEADINGS, rows)}\n\n{LEGEND}"
    print(f"\n{text}")
    if arguments.out:
        write_section(arguments.out, "stores", text)
    return 1 if worst > LONGEST_TAKEOVER else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.stores", description=__doc__)
    parser.add_argument("--store", choices=list(MEMBERS), action="append", help="can be repeated (default: all)")
    parser.add_argument(
        "--lease", type=float, default=5.0, help="lease.duration_seconds (default 5), or the shortest allowed"
    )
    parser.add_argument("--runs", type=int, default=5, help="crashes per store (default 5)")
    parser.add_argument("--out", type=Path, help="Markdown file; its section `stores` is replaced by the result")
    return parser


# --- idle ----------------------------------------------------------------------------------------------------------


def _idle(kind: str, lease: float) -> list[str]:
    """Return requests per second with each number of groups, then bytes. Empty for `file`, which sends none."""
    if kind == "file":
        return [""] * 2 * len(GROUPS)
    found = []
    for groups in GROUPS:
        with _counted(kind) as (lab, config, counts):
            peer = Anyvip(lab, config, lease, {f"g{n}": group(f"10.77.1.{n + 1}/32") for n in range(groups)})
            with running(peer):
                try:
                    found.append(_rates(lab, peer, lease, counts))
                except TimeoutError as reason:
                    print(f"{peer.name}, {groups} groups: {reason}", file=sys.stderr, flush=True)
                    found.append(("not counted", "not counted"))
    return [*(requests for requests, _ in found), *(carried for _, carried in found)]


def _rates(lab: Lab, peer: Anyvip, lease: float, counts: Path) -> tuple[str, str]:
    """Return requests and bytes per second of each idle node. The first node is the active one."""
    for host in lab.nodes:
        peer.start(host)
        if not wait_for(partial(_known, counts, host.address), START_LIMIT_SECONDS):
            raise TimeoutError(f"{host.name} has sent the store no request in {START_LIMIT_SECONDS:g} s")
        time.sleep(SETTLE_LEASES * lease)
    before, since = _read(counts), time.monotonic()
    time.sleep(IDLE_ROUNDS * Timing.derive(lease).retry_period)
    after, seconds = _read(counts), time.monotonic() - since

    def rates(what: str, digits: int) -> str:
        each = [(after[what][host.address] - before[what][host.address]) / seconds for host in lab.nodes]
        return " / ".join(f"{rate:.{digits}f}" for rate in each)

    return rates("requests", 2), rates("bytes", 0)


def _read(counts: Path) -> dict[str, dict[str, int]]:
    """Return the counts of each client so far."""
    if not counts.exists():  # the counter has only just started
        return {"requests": {}, "bytes": {}}
    found: dict[str, dict[str, int]] = json.loads(counts.read_text())
    return found


def _known(counts: Path, client: str) -> bool:
    return client in _read(counts)["requests"]


@contextmanager
def _counted(kind: str) -> Iterator[tuple[Lab, dict[str, Any], Path]]:
    """Yield a lab, the configuration of a store behind a counter, and the counter's file."""
    with Lab(members=1) as lab, witness(kind, lab, "127.0.0.1") as kept:
        assert kept is not None
        member, counts = lab.members[0], ROOT / "counts.json"
        lab.respond()
        inside = ["ip", "netns", "exec", member.name, sys.executable, "-m", "tests.lab.http.counter"]
        there = ["127.0.0.1", str(urlsplit(kept.url).port)]
        command = [*inside, member.address, str(COUNTER_PORT), *there, str(counts)]
        with Server.start(command, ROOT / "counter.log", moto.ROOT):
            yield lab, options(kind, f"http://{member.address}:{COUNTER_PORT}"), counts


# --- takeover ------------------------------------------------------------------------------------------------------


def _takeovers(kind: str, lease: float, runs: int) -> list[float]:
    """Return the times from SIGKILL to the other node's first answer, in leases; infinite when there was none."""
    crash = FAULTS[0]
    try:
        with scene_of(kind, lease) as scene:
            took = [valid(scene, crash, STALL_SECONDS).takeover for _ in range(runs)]
    except Missed as missed:
        print(missed, file=sys.stderr, flush=True)
        return [inf]
    return [inf if seconds is None else seconds / lease for seconds in took]


def _spread(shares: Sequence[float]) -> str:
    return f"{median(shares):.2f} / {max(shares):.2f}" if shares else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
