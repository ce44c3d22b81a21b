"""Mistakes in the configuration: where they are, what was found, what is allowed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from health.errors import AnyvipError

Path = tuple[str | int, ...]  # ("groups", "web", "vips", 0)

_LONGEST = 100  # characters; a message cuts a longer value


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `text` says what was found and what is allowed. `line` counts from 1; None if no line applies."""

    file: str
    line: int | None
    path: Path
    text: str

    def __str__(self) -> str:
        """Returns one line: ``anyvip.yml:12: groups.web.vips[0]: found "10.77.0.300/24"; allowed: ...``."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, join_path(self.path), self.text) if part)


class ConfigError(AnyvipError):
    """The configuration cannot be used. Holds every problem that was found, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StartError(AnyvipError):
    """The daemon cannot start, but the configuration is right. The message is one line that says what to do."""


def join_path(path: Path) -> str:
    """Returns the path as people write it: ``groups.web.vips[0]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in path).removeprefix(".")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name) else json.dumps(name)


def describe_found(value: Any, allowed: str) -> str:
    """Returns the text of a problem with a value: what was found, and what is allowed."""
    return f"found {show(value)}; allowed: {allowed}"


def show(value: Any) -> str:
    """Returns the value as JSON, shortened to one line. A list or a mapping is only called that."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = json.dumps(value, ensure_ascii=not str(value).isprintable())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
