"""The pages are complete and right: they have every key, option, code and metric, and their examples work."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from controller.api.server import Code
from controller.cli import main as cli
from controller.config.loading import from_bytes
from controller.config.model import Admin, Config, Group, Health, Hooks, Lease, Reconcile
from controller.config.plugins import AUTO
from controller.telemetry.metrics import Metrics
from tests.lab.plugins.own import OWN_PROVIDERS, OWN_STORES

DOCS = Path(__file__).parents[3] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text()
COMMANDS = (DOCS / "commands.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def table_keys(page: str) -> set[str]:
    """Returns the words in backquotes in the first columns of the tables."""
    first_cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    return {word for cell in first_cells for word in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("model", [Config, Lease, Health, Admin, Reconcile, Group, Hooks])
def test_every_key_has_its_row(model: type[Config]) -> None:
    assert set(model.model_fields) - table_keys(CONFIGURATION) == set()


def test_every_plugin_has_its_row() -> None:
    assert {*OWN_STORES, *OWN_PROVIDERS, AUTO} - table_keys(CONFIGURATION) == set()


def test_every_complete_example_is_right() -> None:
    pages = CONFIGURATION + (DOCS.parent / "README.md").read_text()
    examples = [block for block in blocks(pages, "yaml") if "cluster:" in block]
    assert len(examples) == 3
    for block in examples:
        assert from_bytes(block.encode(), "docs").cluster == "shop"


def test_every_option_is_told() -> None:
    parser = cli._parser()
    (verbs,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for verb, parsed in verbs.choices.items():
        assert f"anyvip {verb}" in COMMANDS
        for action in parsed._actions:
            for option in action.option_strings:
                assert option in ("-h", "--help") or option in COMMANDS


def test_every_code_and_every_metric_is_told() -> None:
    told = table_keys(COMMANDS)
    assert {code.value for code in Code} - told == set()
    families = {family.name + ("_total" if family.type == "counter" else "") for family in Metrics().registry.collect()}
    assert families == {name for name in told if name.startswith("anyvip_")}
