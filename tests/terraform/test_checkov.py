"""What checkov finds is mended, or explained where it stands."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tests.lab.terraform.roots import ROOT

CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"

pytestmark = pytest.mark.timeout(300)


def test_nothing_is_found_that_is_not_explained() -> None:
    found = shutil.which(CHECKOV) or shutil.which("checkov")
    if found is None:
        pytest.skip("checkov is not installed (make .venv-checkov/stamp)")
    # Terraform's own tests are no configuration, and their syntax is more than checkov's parser knows.
    flags = ["--framework", "terraform", "--skip-download", "--skip-path", "[.]tftest[.]hcl$", "--quiet", "-o", "json"]
    ran = subprocess.run([found, "-d", "terraform", *flags], cwd=ROOT, capture_output=True, text=True, check=False)
    report = json.loads(ran.stdout)
    failed = [
        f"{each['check_id']} {each['resource']}: {each['check_name']}" for each in report["results"]["failed_checks"]
    ]
    assert failed == []
    assert ran.returncode == 0, ran.stderr
    assert report["summary"]["passed"] > 0
    assert report["summary"]["parsing_errors"] == 0


def test_every_exception_gives_its_reason() -> None:
    for file in (ROOT / "terraform").rglob("*.tf"):
        for skip in re.findall(r"checkov:skip=(.*)", file.read_text()):
            check, _, reason = skip.partition(":")
            assert re.fullmatch(r"CKV2?_[A-Z]+_\d+", check), file
            assert len(reason) > 20, f"{file}: {skip}"
