"""Measures moves on Google Cloud, against a fake of Compute Engine: `python -m bench.gcp --help`.

The standby is warm, as it is in practice. The time is that of `bind`: until everything has moved and is seen to lead
here.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_interface
from pathlib import Path
from statistics import median
from typing import Any

from bench.report import machine, markdown, write_section
from controller.daemon.clock import boottime
from controller.demo.pace import hurry
from providers.base import Grant
from providers.cloud.calls import Calls
from providers.cloud.moving import Moving
from providers.gcp.alias_ip import AliasIp
from providers.gcp.compute import translate
from providers.gcp.route import Routes
from providers.gcp.static_ip import StaticIp
from tests.lab.gcp.compute import Compute
from tests.lab.gcp.metadata import MetadataServer
from tests.lab.http.rest import RestServer
from tests.providers.gcp.conftest import project

LIMIT_SECONDS = 2.5  # ten routes, each operation one second long
NODES = ("n1", "n2")
VIPS = tuple(f"192.0.2.{number}/32" for number in range(10))
MECHANISMS: dict[str, tuple[Any, tuple[str, ...], dict[str, Any]]] = {
    "gcp.route, 10 VIPs": (Routes, VIPS, {}),
    "gcp.route, 1 VIP": (Routes, VIPS[:1], {}),
    "gcp.alias_ip, 1 VIP": (AliasIp, ("10.0.0.100/32",), {"instances": NODES}),
    "gcp.static_ip": (StaticIp, ("203.0.113.7/32",), {}),
}
_IMPORT = """
import time
began = time.monotonic()
import {name}
seconds = time.monotonic() - began
print(seconds, next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""
LEGEND = """\
Seconds, median / max. *moved*: `bind` of a warm standby that takes over from the other node, until a read shows that
all of it leads here. *calls*: its requests to the API, without those that only wait. *none*, *two*: of all changes of
the routing table, each checked as it takes effect, those after which a VIP had no route, or two of the best priority.
An operation takes {seconds:g} s in the fake."""


@dataclass
class Seen:
    """How often a VIP led nowhere, or to two nodes, after a change took effect."""

    none: int = 0
    two: int = 0
    looks: int = 0


@dataclass
class Run:
    """One takeover."""

    seconds: float
    calls: int


@dataclass
class Scene:
    """The fakes and their addresses."""

    compute: Compute
    url: str
    metadata: dict[str, str]
    seen: Seen = field(default_factory=Seen)


def main(argv: Sequence[str]) -> int:
    """Measure and print. Returns 1 when the limit is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m bench.gcp", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="takeovers of each mechanism (default 10)")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each operation takes (default 1)")
    parser.add_argument("--out", type=Path, help="Markdown file; its section `gcp` is replaced by the result")
    options = parser.parse_args(argv)
    hurry()
    rows, slowest = [], 0.0
    for name, (kind, vips, keys) in MECHANISMS.items():
        with scene(options.seconds, vips if kind is Routes else ()) as made:
            runs = asyncio.run(takeovers(made, kind, vips, keys, options.runs))
        rows.append((name, *_row(runs, made.seen, watched=kind is Routes)))
        print("; ".join(rows[-1]), flush=True)
        if kind is Routes:
            slowest = max(slowest, *(run.seconds for run in runs))
    text = "\n\n".join(
        [
            f"{machine()}, {options.runs} takeovers each.",
            markdown(("mechanism", "moved", "calls", "changes checked", "none", "two"), rows),
            LEGEND.format(seconds=options.seconds),
            _imports(),
        ]
    )
    print(f"\n{text}")
    if options.out:
        write_section(options.out, "gcp", text)
    return 1 if slowest > LIMIT_SECONDS * options.seconds else 0


@contextmanager
def scene(seconds: float, watched: Sequence[str]) -> Iterator[Scene]:
    """Yield the fake of the API and one metadata server per node."""
    compute = Compute(project(), seconds=seconds)
    with ExitStack() as stack:
        stack.callback(compute.close)
        url = stack.enter_context(RestServer(compute.answer)).url
        servers = [MetadataServer(compute.cloud, each) for each in compute.cloud.machines]
        urls = {each.machine.name: stack.enter_context(RestServer(each.answer)).url for each in servers}
        made = Scene(compute, url, urls)
        addresses = [vip.partition("/")[0] for vip in watched]

        def look() -> None:
            for address in addresses:
                leads = compute.cloud.leads_to(address)
                made.seen.looks += 1
                made.seen.none += not leads
                made.seen.two += len(leads) > 1

        made.compute.landed = look
        yield made


async def takeovers(made: Scene, kind: Any, vips: tuple[str, ...], keys: dict[str, Any], runs: int) -> list[Run]:
    """Let the nodes take the VIPs from each other in turn. The first promotion is not counted."""
    nodes = {name: _provider(made, kind, name, vips, keys) for name in NODES}
    found: list[Run] = []
    try:
        await nodes["n1"].bind(Grant("web", 1, boottime() + 60))
        made.seen = Seen()
        for epoch in range(2, runs + 2):
            taking, leaving = (nodes[name] for name in (NODES if epoch % 2 else NODES[::-1]))
            await taking.inspect()
            before = _asked(made)
            began = time.monotonic()
            await taking.bind(Grant("web", epoch, boottime() + 60))
            found.append(Run(time.monotonic() - began, _asked(made) - before))
            await asyncio.sleep(1.1 * made.compute.seconds)  # operations without a waiter end before the next run
            leaving._epoch = None  # noqa: SLF001  (as after an unbind, which itself would move something)
    finally:
        for provider in nodes.values():
            await provider.close()
    return found


def _provider(made: Scene, kind: Any, node: str, vips: tuple[str, ...], keys: dict[str, Any]) -> Moving:
    given = {"endpoint": made.url, "metadata_endpoint": made.metadata[node], "nic": "nic1", **keys}
    options = kind.Options.model_validate(given)
    calls = Calls(node, clock=boottime, translate=translate, threads=len(vips) + 2)
    mover = kind(options, group="web", vips=tuple(map(ip_interface, vips)), calls=calls, interface=None)
    return Moving(mover, calls, group="web", clock=boottime, options=options)


def _asked(made: Scene) -> int:
    return sum(not each.method.endswith("Operations.wait") for each in made.compute.seen)


def _row(runs: Sequence[Run], seen: Seen, *, watched: bool) -> tuple[str, ...]:
    moved = f"{median(run.seconds for run in runs):.2f} / {max(run.seconds for run in runs):.2f}"
    calls = f"{max(run.calls for run in runs)}"
    return (moved, calls, *((str(seen.looks), str(seen.none), str(seen.two)) if watched else ("", "", "")))


def _imports() -> str:
    """Measure what importing the SDKs costs, each in a process of its own."""
    rows = []
    for name in ("google.cloud.compute_v1", "google.auth.transport.requests"):
        code = _IMPORT.format(name=name)
        told = [
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
            for _ in range(3)
        ]
        seconds = sorted(float(each[0]) for each in told)
        rows.append((f"`{name}`", ", ".join(f"{each:.2f}" for each in seconds), f"{int(told[0][1]) // 1024}"))
    return markdown(("import", "seconds, three times", "resident MB"), rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
