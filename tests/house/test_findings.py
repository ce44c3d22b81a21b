"""Every code of a finding has its section in docs/findings.md, and every section there has a code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from controller.contracts.providers import CODE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "findings.md").read_text().splitlines()
HEADING = "### "


def sources() -> Iterator[Path]:
    for package in ("controller", "providers"):
        yield from (ROOT / package).rglob("*.py")


def codes_in(tree: ast.AST) -> Iterator[str]:
    """The codes of a module: the second argument of each Finding, the first of each Topic.

    A finding that has the topic of its check is `Finding(level, *topic, ...)`. Any other code that is not written out
    is given as it stands, which is no code.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Finding"), args=[_, ast.Starred(), *_]):
                pass
            case (
                ast.Call(func=ast.Name(id="Finding"), args=[_, code, *_])
                | ast.Call(func=ast.Name(id="Topic"), args=[code, *_])
            ):
                yield str(code.value) if isinstance(code, ast.Constant) else ast.unparse(code)


def codes() -> set[str]:
    return {code for source in sources() for code in codes_in(ast.parse(source.read_text()))}


def sections(page: list[str]) -> dict[str, str]:
    """The text of each section that explains a code."""
    texts: dict[str, str] = {}
    code = None
    for line in page:
        if line.startswith("#"):
            code = line.removeprefix(HEADING) if line.startswith(HEADING) else None
        elif code is not None and not line.startswith("<a "):
            texts[code] = f"{texts.get(code, '')} {line}".strip()
    return texts


def test_every_code_has_a_section_and_every_section_a_code() -> None:
    assert set(sections(PAGE)) == codes()


def test_every_code_is_dotted_and_lower_case() -> None:
    assert [code for code in codes() if not CODE.fullmatch(code)] == []


def test_no_code_is_explained_twice() -> None:
    headings = [line for line in PAGE if line.startswith(HEADING)]
    assert sorted(set(headings)) == sorted(headings)


def test_every_section_has_the_code_as_its_anchor() -> None:
    lines = [line for line in PAGE if line]
    anchored = [
        heading for anchor, heading in pairwise(lines) if anchor == f'<a id="{heading.removeprefix(HEADING)}"></a>'
    ]
    assert anchored == [line for line in lines if line.startswith(HEADING)]


def test_every_section_says_something() -> None:
    assert [code for code, text in sections(PAGE).items() if len(re.findall(r"[.:](?: |$)", text)) < 2] == []


def test_every_area_is_one_group_of_sections() -> None:
    areas = [line.removeprefix(HEADING).partition(".")[0] for line in PAGE if line.startswith(HEADING)]
    changes = [area for before, area in pairwise(["", *areas]) if area != before]
    assert sorted(set(changes)) == sorted(changes)


@pytest.mark.parametrize(
    ("call", "found"),
    [
        ('Finding(Level.OK, "linux.guard", "guard", "is there")', ["linux.guard"]),
        ("Finding(Level.OK, *topic, 'is there')", []),
        ('Topic("aws.vpc", "VPC")', ["aws.vpc"]),
        ("Finding(Level.OK, subject, 'is there')", ["subject"]),
    ],
)
def test_codes_are_found(call: str, found: list[str]) -> None:
    assert list(codes_in(ast.parse(call))) == found
