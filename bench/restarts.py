"""Measures restarts of a host's network: `python -m bench.restarts --help`.

ifupdown, dhclient, systemd-networkd, NetworkManager and radvd configure the first of two nodes, and do again what they
do when they are restarted, renewed or told to. The same is done where nobody keeps a VIP, and the two hosts compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.peers import compile_packages
from bench.report import machine, markdown, milliseconds, package, write_section
from bench.restart_runs import PEERS, ROLES, Run, measure_all
from controller.demo import sandbox
from controller.demo.pace import hurry
from tests.lab.managers.base import hide_files
from tests.lab.managers.every import NAMES

HEADINGS = ("manager", "event", "node", "peer", "two answering", "outage", "back", "changed", "changed when it left")
LEGEND = """\
Milliseconds, one run of each event. *node*: what the node is whose network is restarted; *moving*: a planned move away
from it has just begun. *outage*: the longest silence that a client of the VIP saw, with the time in which the node's
link or address was away. *back*: from the end of the event until the client was answered without a pause. *changed*,
*changed when it left*: how many lines of the host's addresses and routes, and of how it sends, are not as on a host
where nobody keeps a VIP."""


def main(argv: Sequence[str]) -> int:
    """Measure and print. Returns 1 when something is missing, two nodes answered, or anyvip changed the host."""
    options = _options().parse_args(argv)
    if options.inside:
        return _inside(options)
    compile_packages()
    runs = [Run(**run) for file in options.read for run in json.loads(file.read_text())]
    for manager in options.manager or ([] if options.read else NAMES):
        for role in options.role or ROLES[:1]:
            for peer in ("nobody", *(options.peer or PEERS[1:])):
                runs += _outside(manager, peer, role)
                if options.json:
                    options.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))
    text = "\n\n".join([_environment(), _table(runs), LEGEND])
    print(f"\n{text}\n")
    for run in runs:
        print(_explain(run, runs), end="")
    if options.out:
        write_section(options.out, "restarts", text)
    return int(any(run.two or (run.peer == "anyvip" and any(changes(run, runs))) for run in runs))


def changes(run: Run, runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """Return in what the host is not as where nobody keeps a VIP: after the event, and when the peer has left."""
    alone = next(r for r in runs if (r.manager, r.event, r.peer) == (run.manager, run.event, "nobody"))
    return _difference(alone.after, run.after), _difference(alone.after, run.left)


def _difference(before: Sequence[str], after: Sequence[str]) -> list[str]:
    gone = [f"- {line}" for line in before if line not in after]
    return gone + [f"+ {line}" for line in after if line not in before]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.restarts", description=__doc__)
    parser.add_argument("--manager", action="append", choices=NAMES, help="can be repeated (default: all)")
    parser.add_argument("--peer", action="append", choices=PEERS[1:], help="can be repeated (default: both)")
    parser.add_argument("--role", action="append", choices=ROLES, help="of the node; can be repeated (default: active)")
    parser.add_argument("--out", type=Path, help="Markdown file; its section `restarts` is replaced by the result")
    parser.add_argument("--json", type=Path, help="file to which every run is written")
    parser.add_argument("--read", type=Path, action="append", default=[], help="such a file, whose runs come first")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    return parser


def _outside(manager: str, peer: str, role: str) -> Iterator[Run]:
    """Run one manager with one peer in a sandbox of its own: nothing of the last one is left."""
    with tempfile.TemporaryDirectory() as directory:
        found = Path(directory) / "runs.json"
        chosen = ["--manager", manager, "--role", role, "--inside", str(found)]
        chosen += [] if peer == "nobody" else ["--peer", peer]
        if code := sandbox.enter([sys.executable, "-m", "bench.restarts", *chosen]):
            raise SystemExit(f"{manager}, {peer}: exit {code}")
        yield from (Run(**run) for run in json.loads(found.read_text()))


def _inside(options: argparse.Namespace) -> int:
    sandbox.settle()
    hurry()
    hide_files()
    runs = []
    for run in measure_all(options.manager[0], (options.peer or ["nobody"])[0], options.role[0]):
        print(_line(run), flush=True)
        runs.append(asdict(run))
    options.inside.write_text(json.dumps(runs))
    return 0


def _line(run: Run) -> str:
    shown = f"outage {run.outage * 1000:.0f}, back {run.back * 1000:.0f}, two {run.two * 1000:.0f}"
    return f"{run.manager}, {run.event}, {run.role}, {run.peer}: {shown}{' '.join(['', *run.flaws])}"


def _explain(run: Run, runs: Sequence[Run]) -> str:
    """Return in what the host differs, for people to read; empty if in nothing."""
    after, left = changes(run, runs)
    lines = [f"  afterwards {line}" for line in after] + [f"  when it left {line}" for line in left]
    return "\n".join([_line(run), *lines, ""]) if lines else ""


def _environment() -> str:
    names = ("ifupdown", "isc-dhcp-client", "systemd", "network-manager", "radvd", "keepalived")
    return f"{machine()}; {', '.join(package(name) for name in names)}."


def _table(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        if run.peer != "nobody":
            after, left = changes(run, runs)
            times = [milliseconds([value]).partition(" ")[0] for value in (run.two, run.outage, run.back)]
            rows.append([run.manager, run.event, run.role, run.peer, *times, str(len(after)), str(len(left))])
    return markdown(HEADINGS, rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
