"""`anyvip demo`: shows failover and switchover on a real kernel, as a client sees them."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from controller.demo import sandbox
from controller.demo.chapters import HEALTH_PERIOD_SECONDS, Chapter, ChapterOutcome, outcome, table
from controller.demo.cluster import GROUP, DemoCluster
from controller.demo.lab import ROOT, VIP, Host, Lab
from controller.demo.narrator import Narrator
from controller.demo.samples import first_answer

LEASE_SECONDS = 1.0
START_LIMIT_SECONDS = 10.0
START_TRIES = 3  # on a loaded machine a prober can stand still, and then no node seems to serve
FAILOVER_LIMIT_SECONDS = 3.0  # generous, because a loaded machine does not break a promise
UNDISTURBED_SECONDS = 0.5
AFTERMATH_SECONDS = 1.5  # longer than the lease, so that a node that should not serve has had time to try
STANDBY = 503
LOG_LINES = 15
NOTE = """\
first answer: from the event to the new owner's first answer; in a switchover, the start of the command is included.
client outage: the longest time without an answer. no owner: the same, each node asked by its own MAC address.
two answering: how long two nodes answered VIP traffic or ARP, each asked by its own MAC address."""

_INSIDE = "import sys; from controller.demo.story import tell; sys.exit(tell())"


def run(argv: Sequence[str]) -> int:
    """Shows the demo. Returns 0 if all promises were kept, 1 if not, 2 on a wrong usage or an unfit machine."""
    parser = argparse.ArgumentParser(prog="anyvip demo", description=__doc__)
    try:
        parser.parse_args(argv)
        return sandbox.enter([sys.executable, "-P", "-c", _INSIDE])
    except SystemExit as leaving:  # argparse has printed why
        return int(leaving.code or 0)
    except sandbox.Unavailable as missing:
        print(f"anyvip demo: {missing}", file=sys.stderr)
        return 2


def tell() -> int:
    """Runs inside the sandbox: sets up the lab and tells the story. Returns the exit code."""
    try:
        sandbox.settle()
        with Lab() as lab:
            lab.observe(health_period=HEALTH_PERIOD_SECONDS)
            return Story(lab).tell()
    except KeyboardInterrupt:
        return 130


class Story:
    """Two nodes, and the events that hit them."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._narrator = Narrator(lab.recording, lab.nodes)
        self._cluster = DemoCluster(
            lab, {"type": "file", "path": str(ROOT / "store")}, {"duration_seconds": LEASE_SECONDS}
        )
        self._outcomes: list[ChapterOutcome] = []
        self._problems: list[str] = []

    def tell(self) -> int:
        """Tells all chapters and prints the table. Returns the exit code. Ends early if no node serves at the start."""
        first = self._begin()
        if first is None:
            self._problems.append("no node serves")
            return self._end()
        second = self._other(first)
        self._host_dies(first)
        self._host_returns(first)
        self._freeze(second)
        self._thaw(second)
        self._switchover(to=second)
        return self._end()

    # --- chapters --------------------------------------------------------------------------------------------------

    def _begin(self) -> Host | None:
        names = " and ".join(node.name for node in self._lab.nodes)
        self._say(f">> {names} start: VIP {VIP}, file store, lease {LEASE_SECONDS:g} s (times are in seconds)")
        for node in self._lab.nodes:
            self._cluster.start(node)
        for _ in range(START_TRIES):
            self._narrator.watch(START_LIMIT_SECONDS, self._is_settled)
            self._narrator.watch(UNDISTURBED_SECONDS)
            if (owner := self._owner()) is not None:
                return owner
        return None

    def _host_dies(self, host: Host) -> None:
        self._say(f">> the host of {host.name} dies: no frame passes, its daemon is killed")
        since = time.monotonic()
        self._lab.darken(host)
        self._cluster.signal(host, signal.SIGKILL)
        self._failover(f"host of {host.name} dies", since, host)

    def _host_returns(self, host: Host) -> None:
        self._say(f">> the host of {host.name} is back, and its daemon starts")
        since = time.monotonic()
        self._lab.lighten(host)
        self._cluster.start(host)
        self._narrator.watch(START_LIMIT_SECONDS, lambda: self._narrator.codes.get(host.name) == STANDBY)
        self._check_undisturbed(f"host of {host.name} returns", since, self._other(host))

    def _freeze(self, host: Host) -> None:
        self._say(f">> {host.name}'s daemon is frozen (SIGSTOP), its host and its network still work")
        since = time.monotonic()
        self._cluster.signal(host, signal.SIGSTOP)
        self._failover(f"{host.name} frozen", since, host)

    def _thaw(self, host: Host) -> None:
        self._say(f">> {host.name}'s daemon goes on (SIGCONT), and does not know that time has passed")
        since = time.monotonic()
        self._cluster.signal(host, signal.SIGCONT)
        self._check_undisturbed(f"{host.name} goes on", since, self._other(host))

    def _switchover(self, to: Host) -> None:
        self._say(f">> anyvip switchover {GROUP} --to {to.name}")
        since = time.monotonic()
        command = self._cluster.command(to, "switchover", GROUP, "--to", to.name)
        self._narrator.watch(START_LIMIT_SECONDS, lambda: command.poll() is not None)
        back = time.monotonic()
        self._say(f">> the command has returned, exit code {command.returncode}")
        if command.returncode != 0:
            self._problems.append(f"anyvip switchover: exit code {command.returncode}")
        self._failover(f"switchover to {to.name}", since, self._other(to))
        served = first_answer(self._lab.recording.between(since, time.monotonic()), self._lab.nodes.index(to), since)
        if served is None or served > back:
            self._problems.append(f"anyvip switchover returned before {to.name} served")

    # --- what they share -------------------------------------------------------------------------------------------

    def _failover(self, event: str, since: float, old: Host) -> None:
        new = self._other(old)
        self._narrator.watch(2 * FAILOVER_LIMIT_SECONDS, lambda: self._owner() == new)
        self._narrator.watch(AFTERMATH_SECONDS)
        self._close(event, since, old, new, FAILOVER_LIMIT_SECONDS)

    def _check_undisturbed(self, event: str, since: float, owner: Host) -> None:
        self._narrator.watch(AFTERMATH_SECONDS)
        self._close(event, since, owner, owner, UNDISTURBED_SECONDS)

    def _close(self, event: str, since: float, before: Host, expected: Host, outage_limit: float) -> None:
        self._narrator.watch(UNDISTURBED_SECONDS, lambda: self._owner() == expected)  # a prober can stand still
        after, until = self._owner(), time.monotonic()
        chapter = Chapter(event, before, after, since, until, outage_limit)
        samples = self._lab.recording.between(since, until)
        self._outcomes.append(outcome(chapter, expected, samples, self._lab.nodes))

    def _end(self) -> int:
        problems = [*self._problems, *(f"{name} has ended" for name in self._lab.dead_probers())]
        problems += [f"{o.chapter.event}: {problem}" for o in self._outcomes for problem in o.broken]
        self._cluster.stop()
        _print("", table(self._outcomes), "", NOTE, "")
        if not problems:
            _print("As promised: one owner at every moment.")
            return 0
        _print(*(f"NOT AS PROMISED: {problem}" for problem in problems))
        for node in self._lab.nodes:
            lines = self._cluster.log_file(node).read_text(errors="replace").splitlines()
            _print("", f"The last lines of the log of {node.name}:", *lines[-LOG_LINES:])
        return 1

    def _is_settled(self) -> bool:
        return self._owner() is not None and sorted(self._narrator.codes.values()) == [200, STANDBY]

    def _owner(self) -> Host | None:
        answering = self._lab.answering()
        return answering[0] if len(answering) == 1 else None

    def _other(self, host: Host) -> Host:
        one, two = self._lab.nodes
        return two if host == one else one

    def _say(self, text: str) -> None:
        self._narrator.say(text)


def _print(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)
