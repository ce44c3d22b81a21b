"""Measures the health endpoint under load: `python -m bench.health_endpoint --help`.

It measures how many requests the endpoint answers on one core, and how late its first 503 comes meanwhile. The server
has one core; the load (wrk, if it is installed) and the prober share another. The prober asks on a connection of its
own, as fast as it is answered. Its figure is the time from the end of the grant to the arrival of the first 503, with
its own wait for the core. A plain aiohttp server is measured in the same way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import select
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from bench.report import machine, markdown, write_section
from health.endpoint import Endpoint, GroupStatus, HealthStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONNECTIONS = 16
REQUEST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
SERVER_CORE, CLIENT_CORE = 0, 1
SELF = (sys.executable, "-m", "bench.health_endpoint")
HEADINGS = (
    "server",
    "requests/s, median / least",
    "per second of processor time",
    "first 503, ms, median / latest",
    "last 200 seen, ms",
)


def boottime() -> float:
    """Read the clock that grants end by."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# --- the servers -----------------------------------------------------------------------------------------------------


class Grant:
    """A grant whose end the bench sets, by one moment per line of stdin."""

    def __init__(self) -> None:
        self.until = 0.0
        asyncio.get_running_loop().add_reader(sys.stdin, self._read)

    def _read(self) -> None:
        line = sys.stdin.readline()
        if not line:
            raise SystemExit
        self.until = float(line)
        print(self.until, flush=True)

    def status(self) -> HealthStatus:
        """Return the status with the end of the only group's grant."""
        return HealthStatus({"web": GroupStatus(self.until)}, ready=True, live=True)


async def serve_anyvip() -> None:
    """Serve the endpoint as the daemon does."""
    grant = Grant()
    endpoint = Endpoint(listen=[("127.0.0.1", 0)], paths={}, status=grant.status, clock=boottime, metrics=lambda: b"")
    await endpoint.start()
    print(endpoint.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def serve_aiohttp() -> None:
    """Serve the same answers with aiohttp's low-level server."""
    grant = Grant()

    async def answer(_: web.BaseRequest) -> web.Response:
        if boottime() < grant.until:
            return web.Response(text="active\n", headers={"Cache-Control": "no-store"})
        return web.Response(text="standby\n", status=503, headers={"Cache-Control": "no-store"})

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


SERVERS = {"anyvip": serve_anyvip, "aiohttp.web.Server": serve_aiohttp}


class Server:
    """One of the servers, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._said())

    def end_at(self, moment: float) -> None:
        """Set the end of the grant, and wait until the server knows it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{moment}\n")
        self._process.stdin.flush()
        self._said()

    def processor_seconds(self) -> float:
        """Return the processor time that it has used. Other processes on the same core do not count."""
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[0]) / 1e9

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextlib.contextmanager
def server(name: str) -> Iterator[Server]:
    """Start a server, and end it on exit."""
    command = [*SELF, "--serve", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process)
        finally:
            process.kill()


# --- the clients -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def load(port: int, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """Send requests on 16 connections, each as soon as the last one is answered.

    The process prints ``Requests/sec: ...`` at the end.
    """
    url = f"http://127.0.0.1:{port}/health"
    wrk = [f"-c{CONNECTIONS}", "-t1", f"-d{seconds}s", url]
    own = [*SELF, "--load", str(port), "--seconds", str(seconds)]
    command = ["wrk", *wrk] if shutil.which("wrk") else own
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def own_load(port: int, seconds: int) -> None:
    """Replace wrk where it is not installed. It is slower than the server."""
    connections = {}
    poll = select.epoll()
    for _ in range(CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)
        connection.sendall(REQUEST)
    answered, began = 0, time.monotonic()
    while time.monotonic() < began + seconds:
        for descriptor, _ in poll.poll(1):
            connections[descriptor].recv(4096)
            connections[descriptor].sendall(REQUEST)
            answered += 1
    print(f"Requests/sec: {answered / (time.monotonic() - began):.0f}")


def throughput(port: int, seconds: int) -> float:
    """Put the server under full load, and return the requests per second."""
    with load(port, seconds) as process:
        output, _ = process.communicate()
    found = re.search(r"Requests/sec:\s*([\d.]+)", output)
    assert found, output
    return float(found[1])


def lateness(tested: Server, runs: int) -> tuple[list[float], float]:
    """Return the seconds from each grant's end to the first 503, and to the latest 200 of all, under load."""
    first_503, last_200 = [], 0.0
    with load(tested.port, 600), socket.create_connection(("127.0.0.1", tested.port)) as prober:
        prober.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for run in range(runs):
            end = boottime() + 0.1 + 0.0007 * run
            tested.end_at(end)
            while True:
                prober.sendall(REQUEST)
                status = prober.recv(4096)[9:12]
                late = boottime() - end
                if status != b"200":
                    break
                last_200 = max(last_200, late)
            assert status == b"503", status
            assert late >= 0, f"503 {-late} s before the end"
            first_503.append(late)
    return first_503, last_200


# --- the table -------------------------------------------------------------------------------------------------------


def measure(name: str, runs: int, seconds: int) -> list[str]:
    """Measure one server, and return its line of the table."""
    with server(name) as tested:
        tested.end_at(boottime() + 3600)
        throughput(tested.port, 1)  # warm
        rates, per_cpu = [], []
        for _ in range(3):
            used = tested.processor_seconds()
            rates.append(throughput(tested.port, seconds))
            per_cpu.append(rates[-1] * seconds / (tested.processor_seconds() - used))
        first_503, last_200 = lateness(tested, runs)
    late = f"{statistics.median(first_503) * 1e3:.2f} / {max(first_503) * 1e3:.2f}"
    rate = f"{statistics.median(rates):.0f} / {min(rates):.0f}"
    return [name, rate, f"{statistics.median(per_cpu):.0f}", late, f"{last_200 * 1e3:.2f}"]


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.health_endpoint", description=__doc__)
    parser.add_argument("--runs", type=int, default=30, help="ends of a grant under load (default 30)")
    parser.add_argument("--seconds", type=int, default=3, help="length of each of three runs at full load (default 3)")
    parser.add_argument("--out", type=Path, help="Markdown file; its section `health endpoint` is replaced")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--load", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    os.sched_setaffinity(0, {SERVER_CORE if options.serve else CLIENT_CORE})
    if options.serve:
        asyncio.run(SERVERS[options.serve]())
        return 0
    if options.load:
        own_load(options.load, options.seconds)
        return 0
    client = "wrk" if shutil.which("wrk") else "the bench's own client"
    head = f"{machine()}, {client}, {CONNECTIONS} keep-alive connections, {options.runs} ends of a grant."
    rows = [measure(name, options.runs, options.seconds) for name in SERVERS]
    text = f"{head}\n\n{markdown(HEADINGS, rows)}"
    print(text)
    if options.out:
        write_section(options.out, "health endpoint", text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
