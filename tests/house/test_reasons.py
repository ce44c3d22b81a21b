"""Every reason has its row in docs/reasons.md, and every row there is a reason."""

from __future__ import annotations

import re
from pathlib import Path

from controller.core.group import Reason

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (Path(__file__).parents[2] / "docs" / "reasons.md").read_text().splitlines()
    if line.startswith("| `")
]


def test_every_reason_has_one_row_and_every_row_a_reason() -> None:
    assert sorted(row[0].strip("`") for row in ROWS) == sorted(Reason)


def test_every_row_says_what_it_means_and_what_to_do() -> None:
    assert [row[0] for row in ROWS if len(row) != 3 or not all(re.search(r"\.$|`$", cell) for cell in row[1:])] == []
