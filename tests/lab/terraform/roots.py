"""Terraform on a copy of terraform/, so that it writes nothing into the checkout, on one root at a time.

`terraform init` finds the providers in the registry, or where TF_CLI_CONFIG_FILE and TF_REATTACH_PROVIDERS say.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[3]
SECONDS = 400.0  # for one command; AWS's provider waits for minutes even without a reason


def roots() -> list[str]:
    """Return every module and example, by its path below terraform/."""
    where = ROOT / "terraform"
    return sorted({str(file.parent.relative_to(where)) for file in where.rglob("*.tf")})


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    command: str
    code: int
    output: str

    def __str__(self) -> str:
        return f"{self.command}: exit {self.code}\n{self.output}"


@dataclass
class Tree:
    """The copy, in a directory of the test run. Leaving its context ends running commands."""

    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    _running: set[subprocess.Popen[str]] = field(default_factory=set)
    _initialising: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def __post_init__(self) -> None:
        for part in ("terraform", "packaging"):
            shutil.copytree(ROOT / part, self.directory / part, ignore=shutil.ignore_patterns(".terraform*"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        for process in list(self._running):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    @cached_property
    def terraform(self) -> str | None:
        """The command, or None if there is none."""
        return shutil.which("terraform")

    def init(self, root: str) -> Ran:
        """Run `terraform init`, one at a time, because they share the downloads."""
        with self._initialising:
            return self.run(root, "init", "-input=false", "-no-color", "-backend=false")

    def run(self, root: str, *arguments: str, **environment: str) -> Ran:
        """Run one terraform command in a root."""
        if self._closed:
            raise RuntimeError("the test run is over")
        plugins = self.directory / "plugins"
        plugins.mkdir(exist_ok=True)
        own = {"TF_PLUGIN_CACHE_DIR": str(plugins), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        # A cached provider is used as it is: fetching it again would remove it for a moment while others use it.
        own["TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE"] = "1"
        own["GOGC"] = "400"  # a command lives for seconds, and collecting garbage would be a third of its work
        process = subprocess.Popen(
            ["nice", self.terraform or "terraform", *arguments],  # tests that depend on time run beside it
            cwd=self.directory / "terraform" / root,
            env={**os.environ, **own, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._running.add(process)
        try:
            output, _ = process.communicate(timeout=SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its providers, too, if it did not end by itself
            self._running.discard(process)
        return Ran(f"{root}: terraform {' '.join(arguments)}", process.returncode, output)

    def outputs(self, root: str) -> dict[str, Any]:
        """Return the outputs of what is applied in a root."""
        ran = self.run(root, "output", "-json")
        assert ran.code == 0, ran
        return {name: output["value"] for name, output in json.loads(ran.output).items()}
