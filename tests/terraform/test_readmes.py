"""What the READMEs say of the modules is so."""

from __future__ import annotations

import re

import pytest

from tests.lab.terraform.roots import ROOT, roots
from tests.lab.terraform.tables import readmes, with_tables

MODULES = [root for root in roots() if not root.startswith("examples/")]


@pytest.mark.parametrize("root", MODULES)
def test_the_tables_are_those_of_the_module(root: str) -> None:
    readme = ROOT / "terraform" / root / "README.md"
    assert readme in readmes()
    assert readme.read_text() == with_tables(readme), "python -m tests.lab.terraform.tables"


@pytest.mark.parametrize("root", MODULES)
def test_every_input_and_output_is_described(root: str) -> None:
    where = ROOT / "terraform" / root
    declared = re.findall(
        r'^(?:variable|output) "(\w+)"', "".join(f.read_text() for f in where.glob("*.tf")), re.MULTILINE
    )
    text = (where / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*[a-z]{3}.*\|$", text, re.MULTILINE)
    assert sorted(rows) == sorted(declared)


@pytest.mark.parametrize("root", MODULES)
def test_names_in_the_text_are_there(root: str) -> None:
    """An example in a README uses arguments that the module has."""
    where = ROOT / "terraform" / root
    declared = set(re.findall(r'^variable "(\w+)"', (where / "variables.tf").read_text(), re.MULTILINE))
    for block in re.findall(r"```hcl\n(.*?)```", (where / "README.md").read_text(), re.DOTALL):
        if 'module "anyvip"' in block:
            assert set(re.findall(r"^  (\w+) +=", block, re.MULTILINE)) <= declared | {"source"}


def test_the_index_names_every_module_and_example() -> None:
    text = (ROOT / "terraform" / "README.md").read_text()
    assert [root for root in roots() if f"({root})" not in text] == []
