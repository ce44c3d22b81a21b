"""The costs of stores in the docs are those that follow from the lease's rounds."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
COSTS = runpy.run_path(str(DOCS / "costs.py"))


def test_the_section_is_the_one_the_code_computes() -> None:
    assert COSTS["section"]() in (DOCS / "stores.md").read_text(), "run: make docs"


def test_a_month_by_hand() -> None:
    """A lease of 3 s grants 2.1 s per renewal, so each of 2 nodes begins a round every 0.525 s."""
    rounds = 730 * 3600 / 0.525 * 2
    s3 = next(priced for priced in COSTS["PRICES"] if priced.store == "`s3`")
    assert s3.month(3.0, 2) == pytest.approx(rounds * (0.005 + 0.005 + 0.0004) / 1000)
