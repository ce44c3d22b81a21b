"""No test talks to the world: a default endpoint that somebody forgot fails the test, whatever the test makes of it.

Python tells an audit hook of every connection and name look-up of this process (PEP 578). In a network namespace of the
test's own all is allowed: there is nothing beyond it.
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

# Nobody listens there: nor do the processes that tests start ask the metadata service of this machine.
_NO_METADATA = {
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9/",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9/",
    "GCE_METADATA_HOST": "127.0.0.1:9",
}
_beyond: list[str] = []
_home = Path("/proc/self/ns/net").readlink()


class BeyondLoopbackError(RuntimeError):
    """Somebody tried to reach beyond loopback."""


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
    """Addresses are no names, and `.invalid` is none that a resolver asks others for (RFC 6761, section 6.4)."""
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
