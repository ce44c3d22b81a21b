"""The guard that no test reaches beyond loopback is itself tested: by a test run that tries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRIES = """
import contextlib, http.client, socket

def test_connects():
    with contextlib.suppress(Exception), socket.create_connection(("192.0.2.1", 80), 0.1):
        pass

def test_sends():
    with contextlib.suppress(Exception), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sending:
        sending.sendto(b"x", ("2001:db8::1", 9))

def test_looks_up():
    with contextlib.suppress(Exception):
        http.client.HTTPSConnection("ec2.eu-central-1.amazonaws.com", timeout=0.1).request("GET", "/")

def test_stays():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
"""


def test_reaching_out_fails_the_test_that_swallows_the_error(tmp_path: Path) -> None:
    tries = tmp_path / "test_tries.py"
    tries.write_text(TRIES)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.loopback", "--rootdir", str(tmp_path), str(tries)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "4 passed, 3 errors" in run.stdout, run.stdout
    for host in ("192.0.2.1", "2001:db8::1", "ec2.eu-central-1.amazonaws.com"):
        assert f"reached beyond loopback: {host}" in run.stdout
