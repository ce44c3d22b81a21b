"""Every module and example: formatted, with tests of its own that pass, without warnings."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.lab.terraform.roots import ROOT, Tree, roots
from tests.terraform.conftest import Examined

pytestmark = pytest.mark.timeout(600)


def test_all_is_formatted(tree: Tree) -> None:
    ran = tree.run(".", "fmt", "-check", "-recursive", "-diff")
    assert ran.code == 0, ran


@pytest.mark.parametrize("root", roots())
def test_its_own_tests_pass_and_nothing_is_deprecated(examined: Callable[[str], Examined], root: str) -> None:
    found = examined(root)
    assert found.test.code == 0, found.test
    (summary,) = found.said("test_summary")
    assert summary["status"] == "pass"
    assert summary["passed"] > 0
    assert found.said("diagnostic") == []


@pytest.mark.parametrize("root", [root for root in roots() if root.startswith("examples/")])
def test_an_example_names_its_module_as_a_stranger_would_find_it(root: str) -> None:
    text = (ROOT / "terraform" / root / "main.tf").read_text()
    assert re.search(r'source\s+= "\.\./\.\./(aws|azure|gcp)"', text)
