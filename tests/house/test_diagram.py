"""The page with the roles agrees with the code."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_diagram_is_the_one_the_code_draws() -> None:
    drawn = runpy.run_path(str(DOCS / "diagram.py"))["diagram"]()
    assert (DOCS / "roles.md").read_text() == drawn, "run: make docs"
