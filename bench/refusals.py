"""Counts refused connections while a service that is slow to start moves: `python -m bench.refusals --help`.

A client connects to the VIP all the time. The service runs on the active node only: it is started in anyvip's hook
`prepare`, in its hook `promote`, or by keepalived's `notify_master`. Each move is planned. The service binds the VIP
itself.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from bench import slow_service
from bench.peers import compile_packages, wait_for
from bench.report import machine, markdown, package, write_section
from controller.demo import sandbox
from controller.demo.cluster import GROUP, DemoCluster, group
from controller.demo.lab import ROOT, VIP, Host, Lab, ip
from controller.demo.pace import hurry

PORT = 8080
LEASE_SECONDS = 3.0
LIMIT_SECONDS = 60.0
SETTLED_SECONDS = 1.0
SERVICE = str(Path(slow_service.__file__).resolve())
PEERS = ("prepare", "promote", "keepalived")

_KEEPALIVED = """\
global_defs {{
  script_user root
}}
vrrp_instance web {{
  interface eth0
  state BACKUP
  version 3
  virtual_router_id 51
  priority {priority}
  advert_int 1
  virtual_ipaddress {{
    {vip}/24 dev eth0
  }}
  notify_master "{start}"
  notify_backup "{stop}"
  notify_stop "{stop}"
}}
"""


class Peer(Protocol):
    """A program that moves the service between two nodes."""

    name: str

    def start(self) -> None:
        """Start it on both nodes."""

    def move(self, source: Host) -> None:
        """Begin to move the service away from this node."""

    def stop(self) -> None:
        """End it everywhere."""


class Anyvip:
    """Two daemons and a store in a directory. `hook`: which hook starts the service."""

    def __init__(self, lab: Lab, hook: str, seconds: float) -> None:
        self.name = f"anyvip, {hook}"
        self._lab = lab
        state = "/run/lab/service-$ANYVIP_NODE"
        hooks = {
            hook: ["sh", "-c", f"exec {_start(seconds, state)}"],
            "cleanup" if hook == "prepare" else "demote": ["sh", "-c", f"exec {_stop(state)}"],
        }
        groups = {GROUP: {**group(f"{VIP}/24"), "hooks": hooks}}
        store = {"type": "file", "path": str(ROOT / "store")}
        self._cluster = DemoCluster(lab, store, {"duration_seconds": LEASE_SECONDS}, groups)

    def start(self) -> None:
        """Start both daemons."""
        for host in self._lab.nodes:
            self._cluster.start(host)

    def move(self, source: Host) -> None:
        """Run `anyvip switchover`."""
        self._cluster.command(source, "switchover", GROUP)

    def stop(self) -> None:
        """Stop both daemons."""
        self._cluster.stop()


class Keepalived:
    """VRRPv3 with two priorities. The first node is stopped, and takes the address back when it starts."""

    name = "keepalived, notify_master"

    def __init__(self, lab: Lab, seconds: float) -> None:
        self._lab = lab
        self._running: dict[Host, Any] = {}
        for host in lab.nodes:
            state = f"/run/lab/service-{host.name}"
            text = _KEEPALIVED.format(
                priority=150 - 50 * lab.nodes.index(host),
                vip=VIP,
                start=_start(seconds, state, host.name),
                stop=_stop(state),
            )
            (ROOT / f"{host.name}.conf").write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Start both."""
        for host in self._lab.nodes:
            self._begin(host)

    def _begin(self, host: Host) -> None:
        config, pid = ROOT / f"{host.name}.conf", ROOT / f"{host.name}.keepalived"
        command = ["keepalived", "-n", "-l", "-P", "-f", str(config), "-p", f"{pid}.pid", "-r", f"{pid}.vrrp.pid"]
        with (ROOT / f"{host.name}.keepalived.log").open("ab") as log:
            self._running[host] = self._lab.spawn(host, command, log)

    def move(self, source: Host) -> None:
        """Stop the first node, or start it again."""
        first = self._lab.nodes[0]
        if source is first:
            self._lab.stop(self._running.pop(first))
        else:
            self._begin(first)

    def stop(self) -> None:
        """Stop both, and remove the address."""
        for process in self._running.values():
            self._lab.stop(process)
        for host in self._lab.nodes:
            ip([f"addr flush dev eth0 to {VIP}/32"], where=host.name)


def _start(seconds: float, state: str, name: str = "") -> str:
    return f"{sys.executable} {SERVICE} start {seconds:g} {VIP} {PORT} {state} {name}".strip()


def _stop(state: str) -> str:
    return f"{sys.executable} {SERVICE} stop {state}"


def main(argv: Sequence[str]) -> int:
    """Enter the sandbox, move and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.refusals", description=__doc__)
    parser.add_argument("--moves", type=int, default=20, help="planned moves of each peer (default 20)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long the service takes to start (default 3)")
    parser.add_argument("--peer", choices=PEERS, action="append", help="can be repeated (default: all)")
    parser.add_argument("--json", type=Path, help="also write the counts to this file")
    parser.add_argument("--out", type=Path, help="Markdown file; its section `refusals` is replaced by the result")
    options = parser.parse_args(argv)
    if not sandbox.inside():
        return sandbox.enter([sys.executable, "-m", "bench.refusals", *argv])
    sandbox.settle()
    hurry()
    compile_packages()
    counts = {peer: _measure(peer, options.moves, options.seconds) for peer in options.peer or PEERS}
    if options.json:
        options.json.write_text(json.dumps(counts), encoding="utf-8")
    text = _report(counts, options.moves, options.seconds)
    print(f"\n{text}")
    if options.out:
        write_section(options.out, "refusals", text)
    return 0


def _measure(name: str, moves: int, seconds: float) -> Mapping[str, Any]:
    """Move the service this often, and count how the client's connections ended."""
    with Lab() as lab:
        peer: Peer = Keepalived(lab, seconds) if name == "keepalived" else Anyvip(lab, name, seconds)
        peer.start()
        with _client(lab) as tape:
            owner = _served_by(lab, tape, None)
            time.sleep(SETTLED_SECONDS)
            began = time.monotonic()
            for _ in range(moves):
                peer.move(owner)
                owner = _served_by(lab, tape, owner)
                time.sleep(SETTLED_SECONDS)
            seen = [line for line in _lines(tape) if line["at"] >= began]
        peer.stop()
    counts = Counter(line["outcome"] for line in seen)
    return {"peer": peer.name, **counts, "longest": _longest_gap(seen)}


@contextmanager
def _client(lab: Lab) -> Iterator[Path]:
    """Run the client. Yields the file that it writes to."""
    tape = ROOT / "client.jsonl"
    with tape.open("wb") as out:
        process = lab.spawn(lab.client, [sys.executable, SERVICE, "knock", VIP, str(PORT)], out)
    yield tape
    process.send_signal(signal.SIGTERM)
    process.wait()


def _served_by(lab: Lab, tape: Path, before: Host | None) -> Host:
    """Wait until a node other than `before` serves the client, and return it. Raises TimeoutError."""
    others = {host.name: host for host in lab.nodes if host != before}
    if not wait_for(lambda: (_lines(tape) or [{}])[-1].get("who") in others, LIMIT_SECONDS):
        raise TimeoutError(f"no node but {before and before.name} serves after {LIMIT_SECONDS:g} s")
    return others[_lines(tape)[-1]["who"]]


def _lines(tape: Path) -> list[dict[str, Any]]:
    whole = tape.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def _longest_gap(seen: Sequence[Mapping[str, Any]]) -> float:
    """Return the longest time between two connections that were served, in seconds."""
    served = [line["at"] for line in seen if line["outcome"] == "served"]
    return max((after - before for before, after in pairwise(served)), default=0.0)


def _report(counts: Mapping[str, Mapping[str, Any]], moves: int, seconds: float) -> str:
    rows = [
        (
            str(found["peer"]),
            str(found.get("refused", 0)),
            str(found.get("reset", 0) + found.get("closed", 0)),
            str(found.get("silent", 0)),
            str(found.get("served", 0)),
            f"{found['longest']:.1f}",
        )
        for found in counts.values()
    ]
    head = (
        f"{machine()}, {package('keepalived')}; {moves} planned moves each, the service takes {seconds:g} s to start; "
        f"a connection every {slow_service.PAUSE_SECONDS * 1000:.0f} ms, silent after "
        f"{slow_service.SILENCE_SECONDS:g} s."
    )
    headings = ("peer", "refused", "reset or closed", "silent", "served", "longest time without service, s")
    return f"{head}\n\n{markdown(headings, rows)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
