"""The load balancer's prober: asks every node for its health, over a new connection each time."""

from __future__ import annotations

import http.client
import os
import sys
import threading
import time
from collections.abc import Sequence

from controller.demo.samples import LAYOUT, SampleKind

TIMEOUT_SECONDS = 0.25


def ask(node: int, address: str, port: int, path: str, period: float) -> None:
    """Probes one node for ever. Writes each sample to stdout in one write, which a pipe keeps apart from others."""
    due = time.monotonic()
    while True:
        sent = time.monotonic()
        status = _status(address, port, path)
        received = time.monotonic()
        os.write(1, LAYOUT.pack(SampleKind.HEALTH, node, status, sent, 0.0, received))
        due = max(due + period, received)
        time.sleep(due - received)


def _status(address: str, port: int, path: str) -> int:
    """Returns the HTTP status, 0 when there is no answer."""
    connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def main(port: str, period: str, path: str, addresses: Sequence[str]) -> None:
    """Probes this path at each address every `period` seconds."""
    asking = [
        threading.Thread(target=ask, args=(node, address, int(port), path, float(period)), daemon=True)
        for node, address in enumerate(addresses)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
