"""A sandbox for the lab, with its own network, mounts and processes.

The kernel ends everything in it when its first process ends, so nothing is left behind even when the lab is killed. It
works as root, and as an ordinary user where user namespaces are allowed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from health.errors import AnyvipError

INSIDE = "ANYVIP_LAB"  # set in the environment of processes inside
GRACE_SECONDS = 3.0

_OWN = ("--net", "--mount", "--pid", "--fork", "--kill-child")
_AS_USER = ("--user", "--map-root-user", *_OWN)
_TRY = ("sh", "-c", "mount -t tmpfs tmpfs /run && mount -t proc proc /proc && ip link set lo up")


class Unavailable(AnyvipError):  # noqa: N818  (a fact about this machine)
    """This machine cannot run the lab. The message says what is missing and what to do about it."""


def inside() -> bool:
    """Reports whether this process runs inside the sandbox."""
    return os.environ.get(INSIDE) == "1"


def flags() -> tuple[str, ...]:
    """Returns the options that `unshare` needs on this machine. Raises Unavailable."""
    for binary, package in (("unshare", "util-linux"), ("ip", "iproute2")):
        if shutil.which(binary, path=_path()) is None:
            raise Unavailable(f"the command `{binary}` is missing: install the package {package}")
    found = ""
    for candidate in (_OWN, _AS_USER) if os.geteuid() == 0 else (_AS_USER,):
        trial = subprocess.run(
            [_unshare(), *candidate, *_TRY], capture_output=True, text=True, check=False, env=_environment()
        )
        if trial.returncode == 0:
            return candidate
        found = trial.stderr.strip().splitlines()[-1] if trial.stderr.strip() else f"exit {trial.returncode}"
    raise Unavailable(
        f"cannot make network namespaces on this machine ({found}): run it as root, "
        "or allow user namespaces (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)"
    )


def enter(command: Sequence[str]) -> int:
    """Runs the command inside and returns its exit code. When this process ends, everything inside ends."""
    inside = [_unshare(), *flags(), "--", *command]
    process = subprocess.Popen(inside, env={**_environment(), INSIDE: "1"}, stdin=subprocess.PIPE)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return _end(process)
    finally:
        signal.signal(signal.SIGTERM, before)


def settle() -> None:
    """Sets up a private /run in memory, a /proc of the sandbox's processes, and a reaper. Call it first inside.

    Returns in a second process. The first one stays behind to reap orphans: without it, a search for a process by its
    number would find the zombies of killed processes.
    """
    os.environ["PATH"] = _path()
    subprocess.run(_TRY, check=True)
    main = os.fork()
    if main:
        os._exit(_reap(main))
    signal.signal(signal.SIGTERM, _interrupt)


def _reap(main: int) -> int:
    """Reaps processes until `main` has ended, and returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches `main`, too
    signal.signal(signal.SIGTERM, lambda *_: os.kill(main, signal.SIGTERM))
    threading.Thread(target=_end_with_outside, daemon=True).start()
    while True:
        pid, status = os.wait()
        if pid == main:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_with_outside() -> None:
    """Exits when the process in `enter` ends: it holds the other end of stdin, a pipe without data."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(128 + signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> int:
    """Waits for the inside, which Ctrl-C in a terminal reaches, too. Kills it if it does not end."""
    try:
        process.wait(GRACE_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()
    return 128 + signal.SIGINT


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _unshare() -> str:
    return shutil.which("unshare", path=_path()) or "unshare"


def _path() -> str:
    """Returns PATH with the directories that can contain `ip`, which an ordinary user's PATH often lacks."""
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": _path()}
