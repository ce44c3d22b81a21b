"""Translates pydantic's errors into an operator's words: file, line, key, what was found, what is allowed.

What is allowed comes from the JSON Schema, so the keys of plugins get the same messages.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from controller.config.fields import NAMES
from controller.config.plugins import describing
from controller.config.problem import Path, Problem, describe_found, show

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    from controller.config.yaml_lines import Document

Schema = Mapping[str, Any]

_TYPES = {"string": "a string", "boolean": "true or false", "object": "a mapping", "null": "nothing"}
_FORMATS = {"file-path": "the path of an existing file", "directory-path": "the path of an existing directory"}
_KEY = "[key]"  # where pydantic reports that a key of a mapping is wrong


def translate(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Problem]:
    """Returns one problem for each mistake, in the order in which pydantic reports them."""
    tree = _Tree(_schema(model, frozenset(_types(document.data))), document.data)
    problems: dict[tuple[Path, str], Problem] = {}
    for item in error.errors(include_url=False):
        path, text = _explain(item, tree)
        if item["type"] == "too_short" and tree.value(path):
            continue  # the list has items, and each has an error of its own
        problems.setdefault((path, text), document.problem(path, text))
    return list(problems.values())


@cache
def _schema(model: type[BaseModel], types: frozenset[str]) -> Schema:
    with describing(types):
        return model.model_json_schema()


def _types(value: Any) -> Iterator[str]:
    """Yields every `type` that the file names."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        yield value["type"]
    for each in inner:
        yield from _types(each)


def _explain(item: ErrorDetails, tree: _Tree) -> tuple[Path, str]:
    """Returns where the mistake is, and a text with what was found and what is allowed there."""
    path, value = tree.locate(item["loc"])
    if item["loc"] and item["loc"][-1] == _KEY:
        return path, describe_found(path[-1], NAMES)
    if item["type"] == "extra_forbidden":
        return path, _unknown_key(str(path[-1]), tree.keys(path[:-1]))
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return (*path, "type"), _wrong_type(value, tree.schema(path))
    if not path and value is None:
        return path, f"found an empty file; allowed: a mapping with the keys {', '.join(tree.keys(path))}"
    return path, _wrong_value(item, path, value, tree)


def _wrong_value(item: ErrorDetails, path: Path, value: Any, tree: _Tree) -> str:
    context, schema = item.get("ctx", {}), tree.schema(path)
    allowed = (
        context.get("allowed") or ("at least one" if item["type"] == "too_short" else words(schema)) or item["msg"]
    )
    if "error" in context:  # a ValueError that a validator raised
        said = str(context["error"])
        if schema.get("type") == "object":  # the error is about several keys, and its text names them
            return said
        allowed = said.removeprefix(f"{value!r} ").removeprefix("is not ").removeprefix("must be ")
    if item["type"] == "missing":
        allowed = f"{allowed} (required)"
    elif value is None and tree.value(path[:-1]) is not None and path[-1] not in tree.value(path[:-1]):
        value = item["input"]  # a default that is not allowed here, such as a hostname that is no valid name
    return f"found a secret; allowed: {allowed}" if _is_secret(schema) else describe_found(value, allowed)


def _is_secret(schema: Schema) -> bool:
    return any(one.get("writeOnly") for one in (schema, *schema.get("anyOf", ())))


def _unknown_key(key: str, keys: list[str]) -> str:
    near = difflib.get_close_matches(key.lower(), keys, n=1, cutoff=0.5)
    nearest = f'; did you mean "{near[0]}"?' if near else ""
    return f"found unknown key {show(key)}; allowed: {', '.join(keys) or 'none'}{nearest}"


def _wrong_type(value: Any, schema: Schema) -> str:
    names = ", ".join(sorted(schema.get("discriminator", {}).get("mapping", {})))
    return describe_found(value.get("type") if isinstance(value, dict) else None, names)


def words(schema: Schema) -> str:
    """Returns what a schema allows, in words; an empty string if the schema does not say."""
    if "errorMessage" in schema:
        return str(schema["errorMessage"])
    if "const" in schema or "enum" in schema:
        return ", ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    if "discriminator" in schema:
        return "a mapping with the key type"
    if "anyOf" in schema:
        several = [words(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(word for word in several if word))
    kind = schema.get("type", "")
    if kind in ("integer", "number"):
        return _number(schema)
    if kind == "array":
        return f"a list of: {words(schema.get('items', {})) or 'anything'}"
    pattern = f" that matches {schema['pattern']}" if "pattern" in schema else ""
    return _FORMATS.get(schema.get("format", ""), _TYPES.get(kind, "")) + pattern


def _number(schema: Schema) -> str:
    bounds = (
        ("minimum", "from"),
        ("exclusiveMinimum", "above"),
        ("maximum", "to"),
        ("exclusiveMaximum", "below"),
    )
    limits = [f"{word} {schema[key]:g}" for key, word in bounds if key in schema]
    return " ".join(["an integer" if schema["type"] == "integer" else "a number", *limits])


class _Tree:
    """The data of a file, together with the schema that describes it."""

    def __init__(self, root: Schema, data: Any) -> None:
        self._root = root
        self._data = data

    def locate(self, loc: tuple[str | int, ...]) -> tuple[Path, Any]:
        """Returns the path in the file that a pydantic location means, and the value there.

        Leaves out the names that pydantic adds for members of unions.
        """
        path: Path = ()
        value = self._data
        present = True
        for part in loc:
            present = _has(value, part)
            if present:
                path, value = (*path, part), value[part]
        if not present and loc[-1] in self.keys(path):
            return (*path, loc[-1]), None
        return path, value

    def value(self, path: Path) -> Any:
        """Returns the value at this path; None where the file has none."""
        value = self._data
        for part in path:
            value = value[part] if _has(value, part) else None
        return value

    def keys(self, path: Path) -> list[str]:
        """Returns the keys that the mapping at this path is allowed to have."""
        schema = self.schema(path)
        return ["type"] if "discriminator" in schema else sorted(schema.get("properties", {}))

    def schema(self, path: Path) -> Schema:
        """Returns the schema of the value at this path; an empty one where the schema does not know the path."""
        value = self._data
        node = self._concrete(self._root, value)
        for part in path:
            value = value[part] if _has(value, part) else None
            node = self._concrete(_below(node, part), value)
        return node

    def _concrete(self, node: Schema, value: Any) -> Schema:
        """Follows references, and chooses the alternative that fits this value."""
        if "$ref" in node:
            target = self._root["$defs"][node["$ref"].rpartition("/")[2]]
            rest = {key: inner for key, inner in node.items() if key != "$ref"}
            return self._concrete({**target, **rest}, value)
        if "discriminator" in node and isinstance(value, dict):
            reference = node["discriminator"]["mapping"].get(str(value.get("type")))
            return self._concrete({"$ref": reference}, value) if reference else node
        for choice in node.get("anyOf", ()):
            chosen = self._concrete(choice, value)
            if isinstance(value, dict | list) and chosen.get("type") == (
                "object" if isinstance(value, dict) else "array"
            ):
                return chosen
        return node


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _below(node: Schema, part: str | int) -> Schema:
    """Returns the schema of one key or one item of the value that this schema describes."""
    if isinstance(part, int):
        items: Schema = node.get("items", {})
        return items
    if part in node.get("properties", {}):
        known: Schema = node["properties"][part]
        return known
    more: Any = node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), {})
    return more if isinstance(more, dict) else {}
