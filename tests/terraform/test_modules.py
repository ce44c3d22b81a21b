"""Every module and example: formatted, valid without warnings, with tests of its own that pass."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.lab.terraform import ROOT, Tree, roots
from tests.terraform.conftest import Examined

pytestmark = pytest.mark.timeout(600)


def test_all_is_formatted(tree: Tree) -> None:
    ran = tree.run(".", "fmt", "-check", "-recursive", "-diff")
    assert ran.code == 0, ran


@pytest.mark.parametrize("root", roots())
def test_it_is_valid_and_nothing_is_deprecated(examined: Callable[[str], Examined], root: str) -> None:
    ran = examined(root).validate
    found = json.loads(ran.output[ran.output.index("{") : ran.output.rindex("}") + 1])  # warnings may stand around it
    assert found["valid"], ran
    assert found["diagnostics"] == [], ran


@pytest.mark.parametrize("root", roots())
def test_its_own_tests_pass(examined: Callable[[str], Examined], root: str) -> None:
    found = examined(root)
    assert found.test.code == 0, found.test
    (summary,) = found.said("test_summary")
    assert summary["status"] == "pass"
    assert summary["passed"] > 0


@pytest.mark.parametrize("root", [root for root in roots() if root.startswith("examples/")])
def test_an_example_names_its_module_as_a_stranger_would_find_it(root: str) -> None:
    text = (ROOT / "terraform" / root / "main.tf").read_text()
    assert re.search(r'source\s+= "\.\./\.\./(aws|azure|gcp)"', text)
