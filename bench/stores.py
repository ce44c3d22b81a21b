"""What a store costs, and how soon it moves a group: `python -m bench.stores --help`.

Requests and bytes of two idle daemons, counted by a proxy in front of the store, with 1 and 50 groups; and the time
from a crash to the first answer of the other node.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench.failover import running, scene_of, valid
from bench.faults import FAULTS
from bench.peers import START_LIMIT_SECONDS, Anyvip, wait_for
from bench.report import machine, markdown, write_section
from bench.witness import MEMBERS, options, witness
from controller.demo import sandbox
from controller.demo.cluster import group
from controller.demo.lab import ROOT, Lab
from controller.demo.pace import hurry
from tests.lab import moto
from tests.lab.etcd import start_etcd
from tests.lab.fakes import PROCESSES
from tests.lab.servers import Server

STORES = tuple(kind for kind in MEMBERS if kind not in {"file", *PROCESSES})  # those with a real server
GROUPS = (1, 50)
SETTLE_LEASES = 2
IDLE_SECONDS = 30.0
STALL_SECONDS = 0.05  # a prober that stood still longer voids a run
COUNTER_PORT = 6000
LEGEND = """\
Per node, one after the other: the active one / the standby. Bytes are HTTP's, both ways, without TCP, IP and TLS.
*requests*: of all kinds. On objects each node fetches the other's session, too, when it has changed."""


def main(argv: Sequence[str]) -> int:
    """Enter the sandbox, measure, print."""
    arguments = _options().parse_args(argv)
    if not sandbox.inside():
        return sandbox.enter([sys.executable, "-m", "bench.stores", *argv])
    sandbox.settle()
    hurry()
    kinds = arguments.store or STORES
    parts = [f"{machine()}, lease {arguments.lease:g} s."]
    if not arguments.takeover_only:
        parts += [_idle_table(kinds, arguments.lease), LEGEND]
    if arguments.runs:
        parts.append(_takeover_table(kinds, arguments.lease, arguments.runs))
    text = "\n\n".join(parts)
    print(f"\n{text}")
    if arguments.out:
        write_section(arguments.out, "stores", text)
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.stores", description=__doc__)
    parser.add_argument("--store", choices=STORES, action="append", help="may be repeated (default: all with a server)")
    parser.add_argument("--lease", type=float, default=5.0, help="lease.duration_seconds (default 5)")
    parser.add_argument("--runs", type=int, default=10, help="crashes per store (default 10; 0: none)")
    parser.add_argument("--takeover-only", action="store_true", help="do not count requests")
    parser.add_argument("--out", type=Path, help="a Markdown file whose section `stores` takes the result")
    return parser


# --- idle ----------------------------------------------------------------------------------------------------------


def _idle_table(kinds: Sequence[str], lease: float) -> str:
    rows = []
    for kind in kinds:
        for groups in GROUPS:
            with _counted(kind) as (lab, config, counts):
                peer = Anyvip(lab, config, lease, {f"g{n}": group(f"10.77.1.{n + 1}/32") for n in range(groups)})
                with running(peer):
                    requests, carried = _idle(lab, peer, lease, counts)
            rows.append((kind, str(groups), requests, carried))
            print(" ".join(rows[-1]), flush=True)
    return markdown(("store", "groups", "requests / s", "bytes / s"), rows)


def _idle(lab: Lab, peer: Anyvip, lease: float, counts: Path) -> tuple[str, str]:
    """Requests and bytes a second of each node, once nothing happens any more. The first node is the active one."""
    for host in lab.nodes:
        peer.start(host)
        if not wait_for(partial(_known, counts, host.address), START_LIMIT_SECONDS):
            raise TimeoutError(f"{host.name} has asked the store nothing in {START_LIMIT_SECONDS:g} s")
        time.sleep(SETTLE_LEASES * lease)
    before, since = _read(counts), time.monotonic()
    time.sleep(IDLE_SECONDS)
    after, seconds = _read(counts), time.monotonic() - since

    def rates(what: str, digits: int) -> str:
        each = [(after[what][host.address] - before[what][host.address]) / seconds for host in lab.nodes]
        return " / ".join(f"{rate:.{digits}f}" for rate in each)

    return rates("requests", 2), rates("bytes", 0)


def _read(counts: Path) -> dict[str, dict[str, int]]:
    """What each client has cost so far."""
    if not counts.exists():  # the counter has only just begun
        return {"requests": {}, "bytes": {}}
    found: dict[str, dict[str, int]] = json.loads(counts.read_text())
    return found


def _known(counts: Path, client: str) -> bool:
    return client in _read(counts)["requests"]


@contextmanager
def _counted(kind: str) -> Iterator[tuple[Lab, dict[str, Any], Path]]:
    """A lab, the configuration of a store behind a counter, and the counter's file."""
    with Lab(members=1) as lab:
        member = lab.members[0]
        lab.respond()
        counts = ROOT / "counts.json"
        with _store_at_home(kind, lab) as (port, config):
            inside = ["ip", "netns", "exec", member.name, sys.executable, "-m", "tests.lab.counter"]
            command = [*inside, member.address, str(COUNTER_PORT), "127.0.0.1", str(port), str(counts)]
            with Server.start(command, ROOT / "counter.log", moto.ROOT):
                yield lab, config, counts


@contextmanager
def _store_at_home(kind: str, lab: Lab) -> Iterator[tuple[int, dict[str, Any]]]:
    """The store on its member's loopback; its port, and the configuration by way of the counter."""
    member = lab.members[0]
    url = f"http://{member.address}:{COUNTER_PORT}"
    if kind == "etcd":
        with start_etcd(1, ROOT, ["127.0.0.1"], [member.name]):
            yield 2379, {"type": "etcd", "endpoints": [url]}
    else:
        with witness(kind, lab, "127.0.0.1") as kept:
            assert kept is not None
            where = "endpoint" if kind == "azure_blob" else "endpoint_url"
            there = str(kept.config[where])
            port = int(there.split(":")[2].partition("/")[0])
            yield port, options(kind, there.replace(f"http://127.0.0.1:{port}", url))


# --- takeover ------------------------------------------------------------------------------------------------------


def _takeover_table(kinds: Sequence[str], lease: float, runs: int) -> str:
    """SIGKILL to the first answer of the other node, over the lease's duration."""
    crash = FAULTS[0]
    rows = []
    for kind in kinds:
        with scene_of(kind, lease) as scene:
            made = [valid(scene, crash, STALL_SECONDS) for _ in range(runs)]
        took = [run.takeover for run in made if run.takeover is not None]
        shares = sorted(seconds / lease for seconds in took)
        rows.append((kind, str(len(took)), f"{median(shares):.2f}", f"{shares[-1]:.2f}"))
        print(" ".join(rows[-1]), flush=True)
    return markdown(("store", "crashes", "takeover / lease, median", "max"), rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
