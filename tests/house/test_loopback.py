"""The guard that keeps tests on loopback fails a test run that tries to reach beyond it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("workers", ["0", "1"])
def test_reaching_out_fails_the_test_that_swallows_the_error(tmp_path: Path, workers: str) -> None:
    tries = tmp_path / "test_tries.py"
    tries.write_text(TRIES)
    flags = ["-q", "-p", "tests.loopback", "-n", workers, "--rootdir", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, str(tries)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "4 passed, 3 errors" in run.stdout, run.stdout
    for host in ("192.0.2.1", "2001:db8::1", "ec2.eu-central-1.amazonaws.com"):
        assert f"reached beyond loopback: {host}" in run.stdout
