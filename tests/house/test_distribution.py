"""The wheel and the source distribution contain what they must, and the wheel contains nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"controller", "providers", "health"}
PAPERS = {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "HACKING.md", "SECURITY.md"}
NEEDED_TO_TEST = {"Makefile", "conftest.py", "constraints.txt", "pyproject.toml"}
FOLDERS = {"tests", "bench", "docs", "packaging", "terraform", ".ci"}


def build(kind: str, into: Path) -> Path:
    """Builds one distribution with the backend's own hook, in a separate process: the hook uses the current folder."""
    script = f"import sys; from hatchling.build import build_{kind}; print(build_{kind}(sys.argv[1]))"
    command = [sys.executable, "-c", script, str(into)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return into / run.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel")))


def test_the_wheel_holds_exactly_the_three_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    modules = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert {name for name in wheel.namelist() if name.endswith(".py")} == modules


def test_the_wheel_carries_the_licence(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = BytesParser().parsebytes(wheel.read(f"{info}/METADATA"))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_the_source_distribution_can_be_read_and_tested(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert inside >= PAPERS | NEEDED_TO_TEST
    assert {name.split("/")[0] for name in inside if "/" in name} == PACKAGES | FOLDERS
