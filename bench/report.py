"""Tables: on the terminal while it runs, and as a section of a Markdown file."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median


def milliseconds(values: Iterable[float | None]) -> str:
    """``median / max`` in ms; empty where nothing was to be measured."""
    known = [value * 1000 for value in values if value is not None]
    return f"{median(known):.{_digits(median(known))}f} / {max(known):.{_digits(max(known))}f}" if known else ""


def highest(values: Iterable[float]) -> str:
    """The maximum in ms."""
    most = max(values) * 1000
    return f"{most:.{_digits(most)}f}"


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that reads well as plain text, too."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    rendered = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([rendered[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rendered[1:]])


def machine() -> str:
    """What it was measured on, in one line."""
    return f"Linux {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def package(name: str) -> str:
    """A Debian package and its version, as far as it is known."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${Version}", name]
    found = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return found or name


def write_section(file: Path, name: str, text: str) -> None:
    """Put the text between the markers of this name, or at the end of the file, which need not exist."""
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
