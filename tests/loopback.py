"""Keeps tests on loopback: a test that reaches beyond it fails, even if it swallows the error.

This catches default endpoints that a test forgot to replace. Python calls an audit hook for every connection and name
lookup of this process (PEP 578). In a test's own network namespace, everything is allowed: such a namespace leads
nowhere.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Generator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

# Nothing listens there, so the processes that tests start do not ask this machine's metadata service, either.
_NO_METADATA = {
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9/",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9/",
    "GCE_METADATA_HOST": "127.0.0.1:9",
}
_beyond: list[str] = []
_home = Path("/proc/self/ns/net").readlink()


class BeyondLoopbackError(RuntimeError):
    """Raised when a test tries to reach beyond loopback."""


def pytest_configure() -> None:
    os.environ.update(_NO_METADATA)
    sys.addaudithook(_audit)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _beyond and report.when == "teardown":
        report.outcome = "failed"
        report.longrepr = "reached beyond loopback: " + ", ".join(_beyond)
        _beyond.clear()
    return report


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in {"socket.connect", "socket.sendto"}:
        asked, address = arguments
        if asked.family in {socket.AF_INET, socket.AF_INET6}:
            _judge(str(address[0]))
    elif event == "socket.getaddrinfo" and not _needs_nobody(_text(arguments[0])):
        _judge(_text(arguments[0]))


def _judge(host: str) -> None:
    if _local(host) or Path("/proc/thread-self/ns/net").readlink() != _home:
        return
    _beyond.append(host)
    raise BeyondLoopbackError(f"a test reached for {host}")


def _needs_nobody(host: str) -> bool:
    """Returns whether the lookup stays local: of an address, or of a `.invalid` name (RFC 6761, section 6.4)."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return host.endswith(".invalid")
    return True


def _text(host: Any) -> str:
    return host.decode() if isinstance(host, bytes) else str(host or "localhost")


def _local(host: str) -> bool:
    try:
        address = ip_address(host.partition("%")[0] or "0.0.0.0")
    except ValueError:
        return host in {"localhost", socket.gethostname()}
    return address.is_loopback or address.is_unspecified
