"""Plays a bad night on three real nodes, and prints what a survivor tells of it: `python -m bench.night`.

The page docs/3am.md shows such a transcript. tests/netns/test_night.py plays the night and reads the survivor's answer.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from bench.witness import EtcdWitness, etcd_cluster
from controller.api.client import NotThere
from controller.demo import sandbox
from controller.demo.cluster import ANYVIP, GROUP, DemoCluster, group
from controller.demo.lab import ROOT, VIP, Host, Lab

LEASE_SECONDS = 3.0
PAUSE_SECONDS = 4.0  # between two faults, so that each has its own minute in the story
CUT_SECONDS = 6.0
LIMIT_SECONDS = 60.0


class Night:
    """Three nodes, one etcd, one group with a check that looks for a file."""

    def __init__(self, lab: Lab, witness: EtcdWitness) -> None:
        self.lab, self.witness = lab, witness
        groups = {GROUP: group(f"{VIP}/24")}
        self.cluster = DemoCluster(lab, witness.config, {"duration_seconds": LEASE_SECONDS}, groups)
        for host in lab.nodes:
            self._add_check(host)
            self.cluster.start(host)
            self.wait(lambda host=host: self._is_member(host), f"{host.name} has joined")  # type: ignore[misc]
        self.settle()

    def _add_check(self, host: Host) -> None:
        app, file = ROOT / f"app-{host.name}", self.cluster.config_file(host)
        app.touch()
        config = yaml.safe_load(file.read_text())
        check = {"type": "command", "argv": ["test", "-e", str(app)], "interval_seconds": 0.5, "fall": 1, "rise": 1}
        config["groups"][GROUP]["checks"] = {"app": check}
        file.write_text(yaml.safe_dump(config, sort_keys=False))

    # --- what is seen

    def view(self, host: Host) -> Any:
        """Return the node's view of the group; None if no daemon answers."""
        try:
            return self.cluster.status(host)["groups"][GROUP]
        except NotThere:
            return None

    def _is_member(self, host: Host) -> bool:
        view = self.view(host)
        return view is not None and view["role"] in ("standby", "active")

    def owner(self) -> Host:
        """Return the node that is active by its own account."""
        active = [host for host in self.lab.nodes if (view := self.view(host)) is not None and view["role"] == "active"]
        return active[0]

    def survivor(self) -> Host:
        """Return the last node whose daemon still runs."""
        return [host for host in self.lab.nodes if self.cluster.running(host)][-1]

    def settle(self) -> None:
        """Wait until one node serves and both others could take over."""

        def settled() -> bool:
            views = [self.view(host) for host in self.lab.nodes]
            return all(view is not None and view["served"] and len(view["standbys"]) == 2 for view in views)

        self.wait(settled, "one serves, two stand by")

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds. Raises TimeoutError."""
        limit = time.monotonic() + LIMIT_SECONDS
        while not holds():
            if time.monotonic() > limit:
                raise TimeoutError(what)
            time.sleep(0.1)

    def moved_from(self, host: Host) -> None:
        """Wait until another node serves."""
        others = [other for other in self.lab.nodes if other is not host]
        self.wait(
            lambda: any((view := self.view(other)) is not None and view["role"] == "active" for other in others),
            f"{host.name} is succeeded",
        )

    def ask(self, host: Host, *arguments: str) -> str:
        """Run one command on that node, and return what it prints."""
        verb, *rest = arguments
        command = [*ANYVIP, verb, *rest, "--config", str(self.cluster.config_file(host))]
        ran = subprocess.run(
            ["ip", "netns", "exec", host.name, *command], capture_output=True, text=True, check=False, timeout=60
        )
        return ran.stdout + ran.stderr

    # --- what happens

    def kill_the_owner(self) -> str:
        """Kill the owner's daemon; start it again when another node serves."""
        host = self.owner()
        self.cluster.signal(host, signal.SIGKILL)
        self.moved_from(host)
        self.cluster.start(host)
        return f"the daemon on {host.name} is killed"

    def cut_the_owner_off(self) -> str:
        """Cut the owner off from the store for a while."""
        host = self.owner()
        self.lab.cut_from_store(host)
        time.sleep(CUT_SECONDS)
        self.moved_from(host)
        self.lab.join_to_store(host)
        return f"{host.name} is cut off from the store"

    def break_a_check(self) -> str:
        """Make the owner's check fail for a while."""
        host = self.owner()
        (ROOT / f"app-{host.name}").unlink()
        self.moved_from(host)
        (ROOT / f"app-{host.name}").touch()
        return f"the check on {host.name} fails"

    def restart_the_store(self) -> str:
        """Keep the store down for longer than a lease."""
        self.witness.stop()
        time.sleep(CUT_SECONDS)
        self.witness.start()
        return "the store is restarted"

    def stop_the_owner(self) -> str:
        """Stop the owner's daemon in order, and leave it stopped."""
        host = self.owner()
        self.cluster.signal(host, signal.SIGTERM)
        self.moved_from(host)
        self.wait(lambda: not self.cluster.running(host), f"{host.name} has left")
        return f"the daemon on {host.name} is told to stop"

    def play(self) -> list[str]:
        """Let everything happen, one after the other. Returns what did."""
        happened = []
        for act in (self.kill_the_owner, self.cut_the_owner_off, self.break_a_check, self.restart_the_store):
            happened.append(act())
            self.settle()
            time.sleep(PAUSE_SECONDS)
        happened.append(self.stop_the_owner())
        time.sleep(PAUSE_SECONDS)
        return happened


@contextmanager
def night() -> Iterator[Night]:
    """Yield three nodes in namespaces, with one etcd."""
    with Lab(nodes=3, members=1) as lab, etcd_cluster(lab) as etcd:
        begun = Night(lab, EtcdWitness(etcd))
        try:
            yield begun
        finally:
            begun.cluster.stop()


def main(argv: Sequence[str]) -> int:
    """Enter the sandbox, play the night, and print the survivor's story."""
    options = _options().parse_args(argv)
    if not sandbox.inside():
        return sandbox.enter([sys.executable, "-m", "bench.night", *argv])
    sandbox.settle()
    with night() as scene:
        happened = scene.play()
        survivor = scene.survivor()
        if options.json:
            entries = [json.loads(line) for line in scene.ask(survivor, "history", "--cluster", "--json").splitlines()]
            status = scene.cluster.status(survivor)
            options.json.write_text(json.dumps({"happened": happened, "entries": entries, "status": status}))
        for line in happened:
            print(f"# {line}")
        for command in (("history", "--cluster"), ("explain", GROUP), ("status",), ("status", "--check")):
            print(f"\n{survivor.name}$ anyvip {' '.join(command)}\n{scene.ask(survivor, *command)}", end="")
        if options.logs:
            for host in scene.lab.nodes:
                print(f"\n--- log of {host.name}\n{scene.cluster.log_file(host).read_text()}")
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.night", description=__doc__)
    parser.add_argument("--json", type=Path, help="write what happened, and what the survivor tells, to this file")
    parser.add_argument("--logs", action="store_true", help="print the daemons' logs, too")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
