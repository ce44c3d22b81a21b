"""Reads YAML, with the line of every key and without the surprises of YAML 1.1.

Scalars follow YAML 1.2: only ``true`` and ``false`` are booleans, so a node may be called ``no``; ``0660``, ``22:30``
and ``2026-01-01`` are strings. A key that is given twice is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from controller.config.problem import ConfigError, Path, Problem, describe_found, show

_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """Composes nodes. Resolves plain scalars by the core schema of YAML 1.2 (section 10.3.2)."""


_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"-?(0|[1-9][0-9]*)", list("-0123456789")),
    ("float", r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", list("-0123456789")),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"(?:{_pattern})\\Z"), _first)


@dataclass(slots=True)
class Document:
    """A YAML file as plain data. `lines` holds the line of each key and of each item of a list, from 1."""

    file: str
    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Returns the line of this path, or of the nearest enclosing path that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: Path, text: str) -> Problem:
        """Returns a problem at this path, with its line."""
        return Problem(self.file, self.line(path), path, text)


def read(file: str) -> Document:
    """Reads this file. Raises ConfigError when it cannot be read or is not YAML."""
    try:
        content = FilePath(file).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else str(error)
        text = f"cannot be read ({why}); allowed: a readable file, named by --config or ANYVIP_CONFIG"
        raise ConfigError([Problem(file, None, (), text)]) from error
    return parse(content, file)


def parse(content: bytes, file: str) -> Document:
    """Parses a document, which can carry problems (keys given twice). Raises ConfigError when it is not YAML."""
    document = Document(file)
    try:
        node = yaml.compose(_text(content, file), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax(error, file)]) from error
    except yaml.reader.ReaderError as error:
        line = content.decode("utf-8-sig").count("\n", 0, error.position) + 1
        raise ConfigError([Problem(file, line, (), describe_found(chr(error.character), "printable text"))]) from error
    except RecursionError as error:
        text = "found nesting that is far too deep; allowed: a few levels"
        raise ConfigError([Problem(file, None, (), text)]) from error
    document.data = None if node is None else _plain(node, (), document, ())
    return document


def _text(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        text = f"found the byte 0x{content[error.start]:02x}; allowed: UTF-8 text"
        raise ConfigError([Problem(file, line, (), text)]) from error


def _syntax(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    said = " ".join(part for part in (error.context, error.problem) if part)
    if "'\\t'" in said:
        said = "found a tab; allowed: spaces for indentation"
    elif "expected a single document" in said:
        said = "found a second document; allowed: one"
    else:
        said = f"found a syntax error ({said}); allowed: YAML"
    return Problem(file, mark.line + 1 if mark else None, (), said)


def _plain(node: yaml.Node, path: Path, document: Document, above: tuple[yaml.Node, ...]) -> Any:
    """Returns the node's data. `above`: the nodes that enclose it, none of which it may be an alias of."""
    document.lines.setdefault(path, node.start_mark.line + 1)
    if node in above:
        text = "found an alias of a node that encloses it; allowed: other aliases"
        document.problems.append(document.problem(path, text))
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document, (*above, node))
    if isinstance(node, yaml.SequenceNode):
        items = enumerate(node.value)
        return [_plain(item, (*path, index), document, (*above, node)) for index, item in items]
    return _scalar(node, path, document)


def _mapping(node: yaml.MappingNode, path: Path, document: Document, above: tuple[yaml.Node, ...]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            text = "found a list or mapping as a key; allowed: text"
            document.problems.append(Problem(document.file, line, path, text))
            continue
        name = _join(key.value)
        if name in data:
            text = f"found {show(name)} a second time; allowed: once (first on line {document.lines[(*path, name)]})"
            document.problems.append(Problem(document.file, line, (*path, name), text))
            continue
        document.lines.setdefault((*path, name), line)
        data[name] = _plain(value, (*path, name), document, above)
    return data


def _join(text: str) -> str:
    """Joins surrogate pairs: JSON escapes a character beyond 16 bits as two halves, which YAML keeps apart."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _scalar(node: yaml.Node, path: Path, document: Document) -> Any:
    kind = node.tag.removeprefix(_TAG)
    try:
        return _READ[kind](node.value)
    except KeyError:
        text = f"found the tag {show(node.tag.replace(_TAG, '!!'))}; allowed: plain values"
    except ValueError:
        text = describe_found(node.value, f"a value of its tag !!{kind}")
    document.problems.append(document.problem(path, text))
    return None


_READ: dict[str, Callable[[str], Any]] = {
    "null": lambda _: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": int,
    "float": float,
    "str": _join,
}
