"""Measures failovers: `python -m bench.failover --help`.

Two nodes, a client and a load balancer share one bridge. Each node is asked by its own MAC address, so that two nodes
that answer are seen as two. Every fault hits the active node. keepalived runs in the same lab, with the same probers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from bench.faults import FAULTS, Fault, Scene
from bench.measure import CYCLE_SECONDS, HEALTH_PERIOD_SECONDS, Run, Void, measure
from bench.peers import Anyvip, Keepalived, Peer, compile_packages
from bench.report import highest, machine, markdown, milliseconds, package, write_section
from bench.witness import MEMBERS, allowed, witness
from controller.demo import sandbox
from controller.demo.lab import ROOT, Lab
from controller.demo.pace import hurry

P = TypeVar("P", bound=Peer)
VOID_LIMIT = 10  # attempts at one run, when the earlier ones prove nothing
HEADINGS = (
    "peer",
    "fault",
    "runs",
    "takeover",
    "client outage",
    "no owner",
    "outage after heal",
    "wrong MAC",
    "two answering",
    "two 200s",
)
LEGEND = """\
Milliseconds, median / max over the runs. The last two columns are the sum over one run, maximum over the runs.
*takeover*: from the fault to the first answer of the other node; for a planned switchover it includes the start of the
command's process. *client outage*, *no owner*: the longest silence until the fault was undone, seen by the client, and
seen by asking each node by its own MAC. *wrong MAC*: the longest time for which the client kept sending to a node that
no longer answered while the other did, after the heal (after the fault if nothing heals). *two answering*: both nodes
answered VIP traffic or ARP. The probers' cycle is 1 ms, the load balancer's 25 ms."""


class Missed(Exception):  # noqa: N818  (a kind of result)
    """A fault cannot be measured on this peer, or no longer. The message says why."""


def main(argv: Sequence[str]) -> int:
    """Enter the sandbox, measure and print. Returns 1 when a fault was not measured or two nodes served."""
    options = _options().parse_args(argv)
    if not sandbox.inside():
        return sandbox.enter([sys.executable, "-m", "bench.failover", *argv])
    sandbox.settle()
    hurry()
    compile_packages()
    runs = [Run(**run) for file in options.read for run in json.loads(file.read_text())]
    missed: list[str] = []
    for found in () if options.runs == 0 else _all(options):
        if isinstance(found, Run):
            runs.append(found)
        else:
            missed.append(str(found))
        if options.json:  # after each run, so that an interruption loses only one
            options.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))
    text = "\n\n".join([_environment(), _table(runs), *missed, LEGEND])
    print(f"\n{text}")
    if options.out:
        write_section(options.out, options.section, text)
    return 1 if missed or any(run.two or run.healthy for run in runs if run.peer.startswith("anyvip")) else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="runs of each fault (default 10; 0: only those of --read)")
    parser.add_argument(
        "--lease",
        type=float,
        action="append",
        help="lease.duration_seconds, or the shortest that the store allows; can be repeated",
    )
    parser.add_argument(
        "--store", choices=list(MEMBERS), action="append", help="can be repeated (default: etcd and file)"
    )
    parser.add_argument("--fault", action="append", help="only faults whose name contains this; can be repeated")
    parser.add_argument(
        "--peer",
        choices=["anyvip", "keepalived-1", "keepalived-0.1"],
        action="append",
        help="can be repeated (default: all)",
    )
    parser.add_argument("--quick", action="store_true", help="one run of each fault, lease 1 s")
    parser.add_argument("--stall", type=float, default=0.05, help="seconds a prober may stall before the run is void")
    parser.add_argument("--out", type=Path, help="Markdown file; one of its sections is replaced by the result")
    parser.add_argument("--section", default="failover", help="that section's name")
    parser.add_argument("--json", type=Path, help="file to which every run is written when it ends")
    parser.add_argument("--read", type=Path, action="append", default=[], help="such a file, whose runs come first")
    return parser


def _all(options: argparse.Namespace) -> Iterator[Run | Missed]:
    peers = options.peer or ["anyvip", "keepalived-1", "keepalived-0.1"]
    leases = [1.0] if options.quick else options.lease or [1.0]
    for store in options.store or ["etcd", "file"]:
        for lease in leases if "anyvip" in peers else ():
            with scene_of(store, allowed(store, lease)) as scene:
                yield from _every_fault(scene, store, options)
    for name in peers:
        if name.startswith("keepalived"):
            with _lab(members=0) as lab, running(Keepalived(lab, float(name.partition("-")[2]))) as peer:
                yield from _every_fault(Scene(lab, peer, None), "keepalived", options)


def _every_fault(scene: Scene, where: str, options: argparse.Namespace) -> Iterator[Run | Missed]:
    for fault in FAULTS:
        wanted = not options.fault or any(part in fault.name for part in options.fault)
        if wanted and where in fault.where:
            for number in range(1 if options.quick else options.runs):
                try:
                    run = valid(scene, fault, options.stall)
                except Missed as missed:
                    print(missed, file=sys.stderr, flush=True)
                    yield missed
                    break
                print(_line(run, number + 1), flush=True)
                yield run


def valid(scene: Scene, fault: Fault, stall: float) -> Run:
    """Return one run in which no prober stalled. Raises Missed when there is none."""
    for _ in range(VOID_LIMIT):
        try:
            return measure(scene, fault, stall)
        except Void as reason:
            print(f"void: {scene.peer.name}, {fault.name}: {reason}", file=sys.stderr, flush=True)
        except TimeoutError as reason:
            scene.peer.stop()
            raise Missed(f"{scene.peer.name}, {fault.name}: no further runs: {reason}") from reason
    raise Missed(f"{scene.peer.name}, {fault.name}: not measured: no valid run in {VOID_LIMIT} attempts")


@contextmanager
def scene_of(store: str, lease: float) -> Iterator[Scene]:
    """Yield two daemons that agree through a store of this type, with all that it needs."""
    with _lab(MEMBERS[store]) as lab, witness(store, lab) as where:
        config = where.config if where else {"type": "file", "path": str(ROOT / "store")}
        with running(Anyvip(lab, config, lease)) as peer:
            yield Scene(lab, peer, where)


@contextmanager
def _lab(members: int) -> Iterator[Lab]:
    with Lab(members=members) as lab:
        lab.observe(CYCLE_SECONDS, HEALTH_PERIOD_SECONDS)
        yield lab


@contextmanager
def running(peer: P) -> Iterator[P]:
    """Stop the peer at the end, in any case."""
    try:
        yield peer
    finally:
        peer.stop()


def _line(run: Run, number: int) -> str:
    figures = {
        "takeover": run.takeover,
        "outage": run.outage,
        "no owner": run.nobody,
        "after heal": run.heal_outage,
        "wrong MAC": run.astray,
        "two": run.two,
        "two 200s": run.healthy,
    }
    shown = ", ".join(f"{name} {value * 1000:.1f}" for name, value in figures.items() if value is not None)
    return f"{run.peer}: {run.fault} #{number}: {shown}"


def _table(runs: Sequence[Run]) -> str:
    rows = []
    for (peer, fault), of_one in groupby(runs, key=lambda run: (run.peer, run.fault)):
        found = list(of_one)
        rows.append(
            (
                peer,
                fault,
                str(len(found)),
                milliseconds(run.takeover for run in found),
                milliseconds(run.outage for run in found),
                milliseconds(run.nobody for run in found),
                milliseconds(run.heal_outage for run in found),
                milliseconds(run.astray for run in found),
                highest(run.two for run in found),
                "" if peer.startswith("keepalived") else highest(run.healthy for run in found),
            )
        )
    return markdown(HEADINGS, rows)


def _environment() -> str:
    return f"{machine()}, {package('keepalived')}, {package('etcd-server')} (three members)."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
