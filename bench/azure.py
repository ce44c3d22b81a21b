"""Measures moves in a fake of Azure whose operations take a second each: `python -m bench.azure --help`.

The time runs from the order to bind until Azure is seen to lead here: for ten route tables at the same time, an IP
configuration, and a public address. It uses the real SDK, over real HTTP and TLS. Whole NICs are compared before and
after each move.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from bench.report import machine, markdown, milliseconds, write_section
from controller.demo.pace import hurry
from providers.azure.ip_config import IpConfig
from providers.azure.public_ip import PublicIp
from providers.azure.route import Route
from tests.lab.azure.arm import Arm
from tests.lab.azure.metadata import Metadata
from tests.lab.azure.movers import grant, moving
from tests.lab.azure.world import Node, ip_config, network, nic, public_ip, route_table
from tests.lab.http.rest import RestServer

OPERATION_SECONDS = 1.0
TABLES = [f"t{number}" for number in range(10)]
NODES = (Node(1), Node(2))
VIP, OUTSIDE, PUBLIC = "10.7.0.100", "10.99.0.1", "203.0.113.7"
LIMIT_SECONDS = 2.5  # for ten route tables


@dataclass(frozen=True)
class Case:
    """One provider whose VIP is moved back and forth."""

    name: str
    kind: Any
    vip: str
    keys: dict[str, Any]
    writes: int  # the exact number of writes of each move


CASES = (
    Case("`azure.route`, ten tables", Route, f"{OUTSIDE}/32", {"route_tables": TABLES}, len(TABLES)),
    Case("`azure.ip_config`", IpConfig, f"{VIP}/24", {}, 2),
    Case("`azure.public_ip`", PublicIp, f"{PUBLIC}/32", {"public_ip": "free"}, 2),
)


def main(argv: Sequence[str]) -> int:
    """Measure and print. Returns 1 when a limit is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m bench.azure", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="moves of each kind (default 10)")
    parser.add_argument("--out", type=Path, help="Markdown file; its section `moves` is replaced by the result")
    options = parser.parse_args(argv)
    hurry()
    measured = [asyncio.run(_measured(case, options.runs)) for case in CASES]
    rows = [
        (case.name, str(options.runs), milliseconds(warm), milliseconds(cold), f"exactly {case.writes}", "none")
        for case, (warm, cold) in zip(CASES, measured, strict=True)
    ]
    longest = max(seconds for each in measured[0] for seconds in each)
    headings = ("", "moves", "standby has looked before", "first look", "writes", "other NIC fields changed")
    note = f"Milliseconds, median / max; each operation takes {OPERATION_SECONDS:g} s. {machine()}."
    text = f"{markdown(headings, rows)}\n\n{note}"
    print(text)
    if options.out:
        write_section(options.out, "moves", text)
    if longest > LIMIT_SECONDS:
        print(f"ten route tables once took {longest:.3f} s, more than {LIMIT_SECONDS:g} s", file=sys.stderr)
    return int(longest > LIMIT_SECONDS)


async def _measured(case: Case, runs: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each move: by nodes that have looked before, and by nodes that have not."""
    with _azure() as (arm, where):
        await _moved(arm, where, case, 1, looked=False, writes=0)  # warms the SDK up; nothing has to move
        warm = [await _moved(arm, where, case, run, looked=True, writes=case.writes) for run in range(runs)]
        further = range(runs, 2 * runs)
        cold = [await _moved(arm, where, case, run, looked=False, writes=case.writes) for run in further]
    return warm, cold


async def _moved(  # noqa: PLR0913  (all that differs between runs)
    arm: Arm, where: dict[str, Any], case: Case, run: int, *, looked: bool, writes: int
) -> float:
    """Return the seconds from the order to bind until Azure is seen to lead here.

    Raises SystemExit for a wrong number of writes, or when something else of a NIC changed.
    """
    node = NODES[run % 2]
    keys = {**case.keys, "nic": f"nic{node.number}", "next_hop": [node.address]}
    if case.kind is not Route:
        del keys["next_hop"]
    async with moving(case.kind, where, case.vip, **keys) as (_, provider):
        if looked:
            await provider.inspect()
        before, written = _everything_else(arm), len(arm.writes)
        began_at = time.monotonic()
        await provider.bind(grant(1))
        seconds = time.monotonic() - began_at
    if len(arm.writes) - written != writes:
        raise SystemExit(f"{case.name}: {len(arm.writes) - written} writes instead of {writes}")
    if _everything_else(arm) != before:
        raise SystemExit(f"{case.name}: something else of a NIC was changed")
    return seconds


def _everything_else(arm: Arm) -> list[dict[str, Any]]:
    """Return both NICs without what moves."""
    nics = [arm.written(node.nic) for node in NODES]
    for each in nics:
        configs = each["properties"]["ipConfigurations"]
        each["properties"]["ipConfigurations"] = [c for c in configs if c["properties"]["privateIPAddress"] != VIP]
        for config in each["properties"]["ipConfigurations"]:
            config["properties"].pop("publicIPAddress", None)
    return nics


@contextmanager
def _azure() -> Iterator[tuple[Arm, dict[str, Any]]]:
    """Yield the fake, with everything at node 2, and the configuration keys for reaching it."""
    arm = Arm()
    network(arm)
    arm.add(NODES[0].nic, nic(NODES[0]))
    hanging: dict[str, Any] = {"publicIPAddress": {"id": public_ip(arm, "hanging", "203.0.113.8")}}
    second = nic(NODES[1], ip_config("vip", VIP, **hanging))
    free = {"publicIPAddress": {"id": public_ip(arm, "free", PUBLIC)}}
    second["properties"]["ipConfigurations"][0]["properties"] |= free
    arm.add(NODES[1].nic, second)
    for table in TABLES:
        route_table(arm, table, f"{OUTSIDE}/32", NODES[1].address)
    arm.seconds = OPERATION_SECONDS
    metadata = Metadata(NODES[0].machine)
    with tempfile.TemporaryDirectory() as directory, RestServer(metadata.answer) as imds:
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        ca_file = Path(directory) / "ca.pem"
        authority.cert_pem.write_to_path(ca_file)
        os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = imds.url
        with RestServer(arm.answer, tls=context) as server:
            arm.audience = server.url
            yield arm, {"endpoint": server.url, "ca_file": str(ca_file)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
