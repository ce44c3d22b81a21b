"""The pages hang together: every link leads to something that is there, and every line fits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "terraform").rglob("*.md")])
LONGEST_LINE = 119
FENCE = "```"


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines outside of code."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith(FENCE):
            fenced = not fenced
        elif not fenced:
            yield number, line


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them, and those that the page sets itself."""
    headings = (line.lstrip("#").strip() for _, line in prose(page) if line.startswith("#"))
    texts = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    own = {anchor for _, line in prose(page) for anchor in re.findall(r'<a id="([^"]+)">', line)}
    return own | {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


def dead_links(page: Path) -> Iterator[str]:
    text = "\n".join(line for _, line in prose(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(dead_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_line_fits(page: Path) -> None:
    """The rows of a table cannot be broken; code shows what programs print."""
    long = [number for number, line in prose(page) if len(line) > LONGEST_LINE and not line.lstrip().startswith("|")]
    assert long == []


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text('# B, and `more`\n\n<a id="b.c"></a>\n')
    page = tmp_path / "a.md"
    page.write_text(
        "[1](b.md) [2](b.md#b-and-more) [3](c.md) [4](b.md#c) [5](b.md#b.c) [6](https://example.com)\n```\n[7](d.md)\n```\n"
    )
    assert list(dead_links(page)) == ["c.md", "b.md#c"]
