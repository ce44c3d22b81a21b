"""A place outside the tree, where the wheels of anyvip and of the worked examples are installed and tested."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, copytree

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples"


@dataclass(frozen=True)
class Done:
    """The exit code and the output of a run of pytest."""

    passed: bool
    output: str


@dataclass(frozen=True)
class Outside:
    """A virtual environment with the wheels, and a copy of the examples' tests."""

    directory: Path

    @property
    def python(self) -> Path:
        return self.directory / "venv" / "bin" / "python"

    @property
    def site(self) -> Path:
        """The directory in which the wheels are installed."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.directory / "venv" / "lib" / version / "site-packages"

    def run_python(self, program: str) -> str:
        command = [str(self.python), "-c", program]
        return subprocess.run(
            command, cwd=self.directory, env=_environment(), capture_output=True, text=True, check=True
        ).stdout

    def run_tests(self, example: str, *options: str, instead: Path | None = None) -> Done:
        """Run an example's tests. Modules in the directory `instead` are imported before the installed ones."""
        command = [str(self.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin"]
        environment = _environment() | ({"PYTHONPATH": str(instead)} if instead else {})
        done = subprocess.run(
            [*command, *options],
            cwd=self.directory / example, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return Done(done.returncode == 0, done.stdout + done.stderr)


def install_outside(directory: Path, examples: Sequence[str]) -> Outside:
    """Build the wheels of anyvip and of the examples, install them, and copy the examples' tests."""
    made = Outside(directory)
    wheels = [_build(ROOT, directory), *(_build(EXAMPLES / example, directory) for example in examples)]
    venv.create(directory / "venv", with_pip=False, symlinks=True)
    # The wheels' dependencies come from this environment. A path that a .pth file names is not a site directory, so the
    # .pth file in it that leads to the tree is not read.
    (made.site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(made.python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*command, "--no-compile", "--disable-pip-version-check", *map(str, wheels)], check=True)
    for example in examples:
        copytree(EXAMPLES / example / "tests", directory / example / "tests")
        copyfile(EXAMPLES / example / "pyproject.toml", directory / example / "pyproject.toml")
    return made


def _build(project: Path, directory: Path) -> Path:
    """Build a wheel with the installed build backend, so that nothing is downloaded."""
    target = directory / "wheels" / project.name
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
    subprocess.run(command, cwd=project, capture_output=True, check=True)
    (wheel,) = target.glob("*.whl")
    return wheel


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "COV"))}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
