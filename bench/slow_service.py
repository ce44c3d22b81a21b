"""A service that takes a while to start, and a client that keeps connecting to it.

    python bench/slow_service.py start SECONDS ADDRESS PORT STATE [NAME]   return when it listens
    python bench/slow_service.py stop STATE
    python bench/slow_service.py knock ADDRESS PORT                        one JSON line for each connection

It is a file that needs nothing but Python, because a hook runs it. STATE is the file that holds its process id.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PAUSE_SECONDS = 0.02
SILENCE_SECONDS = 0.5  # after which the client counts a connection as unanswered
_LOOK_SECONDS = 0.02


def start(seconds: str, address: str, port: str, state: str, name: str = "") -> None:
    """Start the service on its own, and return when it listens."""
    who = name or os.environ["ANYVIP_NODE"]
    stop(state)
    command = [sys.executable, __file__, "serve", seconds, address, port, state, who]
    served = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not Path(state).exists():
        if served.poll() is not None:
            sys.exit(f"the service ended with {served.returncode}")
        time.sleep(_LOOK_SECONDS)


def serve(seconds: str, address: str, port: str, state: str, who: str) -> None:
    """Take the time to start, then greet every client with the node's name."""
    time.sleep(float(seconds))
    with socket.create_server((address, int(port)), backlog=128) as listening:
        Path(state).write_text(str(os.getpid()), encoding="utf-8")
        while True:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.sendall(who.encode())


def stop(state: str) -> None:
    """End the service if it runs."""
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int(Path(state).read_text(encoding="utf-8")), signal.SIGKILL)
    Path(state).unlink(missing_ok=True)


def knock(address: str, port: str) -> None:
    """Connect again and again. Print when each connection began, how it ended, and who answered."""
    while True:
        at = time.monotonic()
        outcome, who = _connect(address, int(port))
        sys.stdout.write(json.dumps({"at": at, "outcome": outcome, "who": who}) + "\n")
        sys.stdout.flush()
        time.sleep(PAUSE_SECONDS)


def _connect(address: str, port: int) -> tuple[str, str]:
    try:
        with socket.create_connection((address, port), timeout=SILENCE_SECONDS) as connection:
            who = connection.recv(64).decode()
            return ("served", who) if who else ("closed", "")
    except TimeoutError:
        return "silent", ""
    except ConnectionRefusedError:
        return "refused", ""
    except ConnectionResetError:
        return "reset", ""
    except OSError:  # no answer to ARP
        return "silent", ""


if __name__ == "__main__":
    verbs: dict[str, Callable[..., None]] = {"start": start, "serve": serve, "stop": stop, "knock": knock}
    verbs[sys.argv[1]](*sys.argv[2:])
