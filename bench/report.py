"""Renders results as tables, for the terminal and for a section of a Markdown file."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median


def milliseconds(values: Iterable[float | None]) -> str:
    """Return ``median / max`` in ms; empty when there are no values."""
    known = [value * 1000 for value in values if value is not None]
    return f"{median(known):.{_digits(median(known))}f} / {max(known):.{_digits(max(known))}f}" if known else ""


def highest(values: Iterable[float]) -> str:
    """Return the maximum in ms."""
    most = max(values) * 1000
    return f"{most:.{_digits(most)}f}"


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table that is also readable as plain text."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    rendered = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([rendered[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rendered[1:]])


def machine() -> str:
    """Return a one-line description of this machine."""
    return f"Linux {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def package(name: str) -> str:
    """Return a Debian package's name, with its version if it is installed."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${Version}", name]
    found = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return found or name


def write_section(file: Path, name: str, text: str) -> None:
    """Put the text between the markers of this name, or at the end of the file. Creates a missing file."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    section = f"{begin}\n{text.strip()}\n{end}"
    before = file.read_text() if file.exists() else ""
    head, found, rest = before.partition(begin)
    if found:
        _, _, tail = rest.partition(end)
        file.write_text(head + section + tail)
    else:
        file.write_text(f"{before.rstrip()}\n\n{section}\n".lstrip())


def _digits(value: float) -> int:
    return 1 if value < 100 else 0
