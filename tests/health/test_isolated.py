"""Checks on broken networks, in namespaces of their own."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.netns

ISOLATED = """
import asyncio, pathlib, socket, subprocess, sys
from health.checks import failure
from health.options import PingCheck, TcpCheck

def say(what):
    print(asyncio.run(what), flush=True)
"""


def isolated(script: str) -> list[str]:
    """Runs the script in new network and mount namespaces, and returns the lines that it prints."""
    command = ["unshare", "-Urnm", sys.executable, "-c", ISOLATED + textwrap.dedent(script)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if ran.returncode and "unshare" in ran.stderr:
        pytest.skip(f"no namespaces here: {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_ping_without_an_answer() -> None:
    said = isolated(
        """
        say(failure(PingCheck(type="ping", target="127.0.0.1")))
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        both = [PingCheck(type="ping", target=target, timeout_seconds=20) for target in ("127.0.0.1", "::1")]
        for check in both:  # by a raw socket
            say(failure(check))
        pathlib.Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 0")
        for check in both:  # by a ping socket
            say(failure(check))
        pathlib.Path("/proc/sys/net/ipv4/icmp_echo_ignore_all").write_text("1")
        say(failure(PingCheck(type="ping", target="127.0.0.1", timeout_seconds=0.3)))
        """
    )
    assert said == ["network is unreachable", *["None"] * 4, "no result within 0.3 s"]


def test_a_port_where_one_only_meets_oneself() -> None:
    """With one ephemeral port and no listener on it, TCP's simultaneous open connects a socket to itself."""
    said = isolated(
        """
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40001 40001")
        say(failure(TcpCheck(type="tcp", target="127.0.0.1:40001", timeout_seconds=20)))
        """
    )
    assert said == ["connected to itself"]


def test_a_resolver_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    """Neither the check, nor the loop's own threads, nor the end of the process waits for the resolver."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")
    said = isolated(
        f"""
        import threading, time
        for name in ("resolv.conf", "nsswitch.conf"):
            subprocess.run(["mount", "--bind", "{tmp_path}/" + name, "/etc/" + name], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        nobody = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        nobody.bind(("127.0.0.1", 53))
        for _ in range(3):
            say(failure(TcpCheck(type="tcp", target="app.example:80", timeout_seconds=0.2)))
        say(asyncio.to_thread(lambda: "other threads go on"))
        print(threading.active_count())
        assert nobody.recv(512)
        """
    )
    assert said == ["no result within 0.2 s"] * 3 + ["other threads go on", "2"]
