"""The README's example, pasted: its own lines, on three hosts with the addresses that it names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.lab.host.namespaces import Namespace, namespaces
from tests.lab.stores.etcd import missing

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 180.0  # generous

pytestmark = [pytest.mark.netns, pytest.mark.etcd, pytest.mark.timeout(600)]


def blocks() -> list[str]:
    """What the example says to type: the witness's lines, a node's, an operator's."""
    text = (ROOT / "README.md").read_text().split("## Two nodes and a witness")[1]
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[:3]


def typed(block: str) -> str:
    """Without the installation, which was done; with the command found where it is installed."""
    lines = [line for line in block.splitlines() if " -m venv " not in line and "/pip " not in line]
    return "\n".join(lines).replace(".venv/bin/anyvip", str(Path(sys.executable).parent / "anyvip"))


@contextmanager
def shell(host: Namespace, hostname: str, script: str, directory: Path) -> Iterator[Path]:
    """Run the lines on a host of this name, in a directory of its own, until the block ends; yields its output's file."""
    directory.mkdir()
    output = directory / "output"
    state = f"mount -t tmpfs tmpfs /run && hostname {hostname}"  # /run is a host's own
    command = ["ip", "netns", "exec", host.name, "unshare", "-um", "sh", "-ec", f"{state}\n{script}"]
    with output.open("wb") as sink:
        process = subprocess.Popen(command, cwd=directory, stdout=sink, stderr=sink, start_new_session=True)
        try:
            yield output
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


def on_node(directory: Path, pid: int, script: str) -> str:
    """Run an operator's lines where a node's shell runs."""
    enter = ["nsenter", "-t", str(pid), "-n", "-m", "-u", "--wd=" + str(directory), "sh", "-ec", script]
    return subprocess.run(enter, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True).stdout


def daemon_of(directory: Path) -> int:
    """The process of the node whose lines run in this directory."""
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (proc / "cmdline").read_bytes().split(b"\0")
            if b"run" in arguments and (proc / "cwd").readlink() == directory:
                return int(proc.name)
        except OSError:
            continue
    return 0


def until(what: str, holds: Callable[[], bool], outputs: list[Path]) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while not holds():
        assert time.monotonic() < end, what + "".join(f"\n--- {path}\n{path.read_text()}" for path in outputs)
        time.sleep(0.1)


@pytest.fixture
def hosts() -> Iterator[tuple[Namespace, Namespace, Namespace]]:
    if reason := missing():
        pytest.skip(reason)
    with namespaces("w", "a", "b", "l") as (witness, first, second, lan):
        lan.ip("link add lan type bridge", "link set lan up")
        for host, number in ((witness, 9), (first, 1), (second, 2)):
            host.ip(
                "link set lo up",
                f"link add eth0 type veth peer name port{number} netns {lan.name}",
                f"addr add 10.77.0.{number}/24 dev eth0",
                "link set eth0 up",
            )
            lan.ip(f"link set port{number} master lan up")
        yield witness, first, second


def test_the_example_works_when_it_is_pasted(tmp_path: Path, hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    on_witness, on_both, on_either = blocks()
    app = f"{sys.executable} -m http.server 80 --bind 0.0.0.0 >/dev/null 2>&1 &\n"
    with ExitStack() as running:
        outputs = [running.enter_context(shell(hosts[0], "witness", on_witness, tmp_path / "witness"))]
        for number, host in ((1, hosts[1]), (2, hosts[2])):
            lines = app + typed(on_both)
            outputs.append(running.enter_context(shell(host, f"n{number}", lines, tmp_path / f"n{number}")))
        first = tmp_path / "n1"
        until("no daemon runs", lambda: daemon_of(first) > 0, outputs)
        until("nobody serves", lambda: any("to=active" in path.read_text() for path in outputs), outputs)
        with hosts[0].entered(), urlopen("http://10.77.0.100/", timeout=60) as answer:
            assert answer.status == 200
        said = on_node(first, daemon_of(first), typed(on_either))
        assert "serves" in said
        assert "switchover" in said or "handed-over" in said
