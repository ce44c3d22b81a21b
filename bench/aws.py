"""Measures takeovers on AWS, against a fake EC2 whose every answer takes 50 ms: `python -m bench.aws --help`.

The time runs from the order to bind until EC2 is seen to lead here, with the real SDK over real HTTP: for 25 route
tables at the same time, and for one secondary address, whose calls are counted. For comparison, `aws-vpc-move-ip` of
Debian's resource-agents runs with the aws command against the same fake. The last measurement is how long a late call
of a former owner leads traffic astray. The last two need root.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from multiprocessing import Pipe, Process
from pathlib import Path
from statistics import median
from typing import Any

from bench.report import machine, markdown, milliseconds, write_section
from controller.demo.pace import hurry
from providers.aws.route import Route
from providers.aws.secondary_ip import SecondaryIp
from tests.lab.aws import ec2 as fake_ec2
from tests.lab.aws import imds as fake_imds
from tests.lab.aws.ec2 import Ec2, Fault
from tests.lab.aws.imds import Imds
from tests.lab.aws.lab import ec2_lab
from tests.lab.aws.movers import Movers, grant
from tests.lab.aws.network import NODES, small_network
from tests.lab.host.namespaces import eventually, namespaces

CALL_SECONDS = 0.05
TABLES = 25
OVERLAY, VIP = "192.0.2.10", "10.77.0.100"
LATE_SECONDS = 5.0
METADATA = "169.254.169.254"
AGENT = "resource.d/heartbeat/aws-vpc-move-ip"
LIMITS = {"route": 5 * CALL_SECONDS, "secondary_ip": 3 * CALL_SECONDS}  # of the median takeover
CALLS = {"route": TABLES + 1, "secondary_ip": 3}  # at most
KINDS: Mapping[str, tuple[Any, str, dict[str, Any]]] = {
    "route": (Route, f"{OVERLAY}/32", {"route_tables": tuple(f"rtb-{n}" for n in range(1, TABLES + 1))}),
    "secondary_ip": (SecondaryIp, f"{VIP}/24", {}),
}


def main(argv: Sequence[str]) -> int:
    """Measure and print. Returns 1 when a limit is exceeded."""
    options = _options().parse_args(argv)
    hurry()
    os.environ.update(_environment())
    rows, kept = _takeovers(options.runs)
    rows += _agent(options.agent, options.agent_tables)
    table = markdown(("what", "seconds, median / max in ms", "calls", "metadata", "look-ups, connections"), rows)
    parts = [f"{machine()}; every answer of EC2 takes {CALL_SECONDS * 1000:.0f} ms; {options.runs} runs.", table]
    if not options.no_late:
        parts.append(_late())
    text = "\n\n".join(parts)
    print(f"\n{text}")
    if options.out:
        write_section(options.out, "aws", text)
    return int(not kept)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.aws", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="takeovers of each kind (default 20)")
    parser.add_argument("--agent", type=Path, default=Path("/usr/lib/ocf"), help="directory of the OCF agents")
    parser.add_argument("--agent-tables", type=int, default=TABLES, help="route tables for the agent (default 25)")
    parser.add_argument("--no-late", action="store_true", help="skip the late call")
    parser.add_argument("--out", type=Path, help="Markdown file; its section `aws` is replaced by the result")
    return parser


def _environment() -> dict[str, str]:
    nowhere = str(Path(tempfile.gettempdir()) / "no-such-file")
    secrets = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
    return {**secrets, "AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere}


# --- takeovers -------------------------------------------------------------------------------------------------------


class Watched:
    """Counts name look-ups and connections of this process while `on` is set (PEP 578)."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, _: tuple[Any, ...]) -> None:
        if self.on and event in {"socket.getaddrinfo", "socket.connect"}:
            self.seen.append(event)


class Cloud:
    """Runs the fakes in a process of their own, because the real EC2 does not run in ours either."""

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        self._process = Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        self.ec2_url, self.imds_url = self._pipe.recv()

    def ask(self, what: str) -> Any:
        """`elsewhere`: give everything to the other node; `calls`: return what was asked since then."""
        self._pipe.send(what)
        return self._pipe.recv()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _serve(pipe: Any) -> None:
    fake = small_network(TABLES)
    fake.delay_seconds = CALL_SECONDS
    with (
        fake_ec2.serving(fake) as ec2,
        fake_imds.serving(Imds(ec2.cloud, [ec2.cloud.interfaces["eni-1"]])) as imds,
    ):
        pipe.send((ec2.url, imds.url))
        while True:
            if pipe.recv() == "elsewhere":
                _elsewhere(ec2)
                ec2.calls.clear()
                imds.asked.clear()
            pipe.send((len(ec2.calls), len(imds.asked)))


def _takeovers(runs: int) -> tuple[list[Sequence[str]], bool]:
    cloud = Cloud()
    try:
        os.environ["AWS_ENDPOINT_URL"] = cloud.ec2_url
        os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = cloud.imds_url
        return asyncio.run(_measure(cloud, runs))
    finally:
        cloud.close()


async def _measure(cloud: Cloud, runs: int) -> tuple[list[Sequence[str]], bool]:
    watched, movers = Watched(), Movers()
    rows: list[Sequence[str]] = []
    kept = True
    for name, (kind, vip, keys) in KINDS.items():
        _, provider = movers.make(kind, vip, **keys)
        took, calls, others, network = [], 0, 0, 0
        for epoch in range(1, runs + 1):
            await provider.inspect()  # as on a standby
            cloud.ask("elsewhere")
            watched.seen.clear()
            watched.on = True
            began = time.monotonic()
            await provider.bind(grant(epoch))
            took.append(time.monotonic() - began)
            watched.on = False
            asked = cloud.ask("calls")
            calls, others = max(calls, asked[0]), max(others, asked[1])
            network = max(network, len(watched.seen))
            await provider.unbind()
        kept = kept and median(took) < LIMITS[name] and calls <= CALLS[name] and others == 0
        said = f"anyvip, `aws.{name}`" + (f", {TABLES} tables" if name == "route" else "")
        rows.append((said, milliseconds(took), str(calls), str(others), str(network)))
    await movers.close()
    return rows, kept


def _elsewhere(ec2: Ec2) -> None:
    cloud = ec2.cloud
    cloud.assign(cloud.interfaces["eni-2"], [VIP], reassign=True)
    for table in cloud.tables.values():
        table.routes[f"{OVERLAY}/32"] = "eni-2"
    ec2.remember()


# --- the agent of resource-agents ------------------------------------------------------------------------------------


def _agent(root: Path, tables: int) -> list[Sequence[str]]:
    """Run the agent's `start` once and return its row; none when the agent or a command that it needs is missing."""
    missing = [name for name in ("aws", "curl", "ip") if shutil.which(name) is None]
    if not (root / AGENT).exists() or missing or os.geteuid() != 0:
        print(f"aws-vpc-move-ip is skipped: no {root / AGENT}, or not root, or no {' '.join(missing)}")
        return []
    fake = small_network(tables)
    fake.delay_seconds = CALL_SECONDS
    _elsewhere(fake)
    with namespaces("agent") as (space,), tempfile.TemporaryDirectory() as home, ExitStack() as ending:
        eni = fake.cloud.interfaces["eni-1"]
        space.ip("link set lo up", f"address add {METADATA}/32 dev lo")
        space.ip(f"link add eth0 address {eni.mac} type veth peer name wire", "link set wire up", "link set eth0 up")
        with space.entered():
            ending.enter_context(fake_ec2.serving(fake))
            ending.enter_context(fake_imds.serving(Imds(fake.cloud, [eni]), METADATA, 80))
        took = _start_agent(space.name, root, fake, Path(home))
        missed = [table.id for table in fake.cloud.tables.values() if table.routes[f"{OVERLAY}/32"] != eni.id]
    said = f"aws-vpc-move-ip, {tables} tables" + (f", {len(missed)} of them not moved" if missed else "")
    return [(said, milliseconds([took]), str(len(fake.calls)), "", "")]


def _start_agent(space: str, root: Path, ec2: Ec2, home: Path) -> float:
    """Return the seconds that its `start` takes."""
    (home / "credentials").write_text("[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n")
    parameters = {
        "ip": OVERLAY,
        "routing_table": ",".join(ec2.cloud.tables),
        "region": "eu-central-1",
        "interface": "eth0",
        "lookup_type": "NetworkInterfaceId",
        "awscli": str(shutil.which("aws")),
    }
    environment = {
        **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
        **{f"OCF_RESKEY_{name}": value for name, value in parameters.items()},
        "OCF_ROOT": str(root),
        "OCF_RESOURCE_INSTANCE": "vip",
        "HA_RSCTMP": str(home),
        "AWS_ENDPOINT_URL": ec2.url,
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
    }
    began = time.monotonic()
    command = ["ip", "netns", "exec", space, str(root / AGENT), "start"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    if run.returncode:
        print(f"aws-vpc-move-ip failed ({run.returncode}): {run.stderr[-1500:]}")
    return took


# --- a late call -----------------------------------------------------------------------------------------------------


def _late() -> str:
    """Kill the owner while one of its calls is under way. The call lands long after the other node has taken over."""
    with tempfile.TemporaryDirectory() as directory, ec2_lab(Path(directory)) as lab:
        active = lab.settled()
        ours, other = (lab.ec2.cloud.interfaces[NODES[name]] for name in (active, lab.other(active)))
        late = Fault(
            "AssignPrivateIpAddresses",
            1,
            late=True,
            concerns=lambda p: p["NetworkInterfaceId"] == ours.id,
        )
        lab.ec2.faults.append(late)
        lab.ec2.cloud.assign(other, [VIP], reassign=True)  # makes the owner repair it, with that call
        if not eventually(lambda: late.times == 0, 150.0):
            raise TimeoutError(f"{active} does not repair the drift: {lab.log()}")
        sent = time.monotonic()
        threading.Timer(LATE_SECONDS, lab.ec2.landing.set).start()
        lab.kill(active)
        owners: list[tuple[float, str | None]] = []
        end = sent + LATE_SECONDS + 40.0
        while time.monotonic() < end and not _came_back(owners, ours.id):
            owner = lab.ec2.cloud.owner(VIP)
            if not owners or owners[-1][1] != owner:
                owners.append((time.monotonic() - sent, owner))
            time.sleep(0.005)
    story = ", ".join(f"{owner} from {at:.2f} s" for at, owner in owners)
    return f"A call lands {LATE_SECONDS:.0f} s after it was sent; its sender was killed immediately: {story}. " + (
        f"It led astray for {owners[-1][0] - owners[-2][0]:.2f} s."
        if _came_back(owners, ours.id)
        else "It was not undone."
    )


def _came_back(owners: Sequence[tuple[float, str | None]], former: str) -> bool:
    """Return whether the VIP went to the former owner and away from it again."""
    return former in [owner for _, owner in owners][1:-1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
