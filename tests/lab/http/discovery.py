"""Checks by an API's discovery document, which Google publishes and google-api-python-client contains."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

_RANGES = {
    "int32": (-(2**31), 2**31),
    "uint32": (0, 2**32),
    "int64": (-(2**63), 2**63),
    "uint64": (0, 2**64),
}


class Mismatch(Exception):  # noqa: N818  (an answer)
    """Something contradicts the discovery document. `where` names the field or the parameter."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = where


@dataclass(frozen=True)
class Method:
    """One method of the API: its name, such as `routes.insert`, its path's pattern, and its description."""

    name: str
    verb: str
    pattern: re.Pattern[str]
    told: Mapping[str, Any]

    @property
    def request(self) -> str | None:
        schema: str | None = self.told.get("request", {}).get("$ref")
        return schema

    @property
    def response(self) -> str | None:
        schema: str | None = self.told.get("response", {}).get("$ref")
        return schema


@dataclass(frozen=True)
class Call:
    """A request that the API knows: its method, and its parameters from path and query, as strings."""

    method: Method
    parameters: Mapping[str, str]


class Discovery:
    """Routing, parameters and schemas of one API, such as `compute.v1`."""

    def __init__(self, api: str) -> None:
        directory = files("googleapiclient.discovery_cache") / "documents"
        self._document = json.loads((directory / f"{api}.json").read_text())
        self._base = urlsplit(self._document["rootUrl"]).path + self._document["servicePath"]

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        return tuple(self._methods(self._document["resources"], ()))

    @cached_property
    def _by_shape(self) -> Mapping[tuple[str, int], list[Method]]:
        """The methods by verb and number of slashes, because there are hundreds."""
        shapes = defaultdict(list)
        for method in self.methods:
            shapes[method.verb, (self._base + method.told["path"]).count("/")].append(method)
        return shapes

    def _methods(self, resources: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[Method]:
        for name, resource in resources.items():
            for verb, told in resource.get("methods", {}).items():
                path = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self._base + told["path"]))
                yield Method(".".join([*above, name, verb]), told["httpMethod"], re.compile(path), told)
            yield from self._methods(resource.get("resources", {}), (*above, name))

    def call(self, verb: str, path: str, query: Mapping[str, str]) -> Call | None:
        """Return the call of a request, or None if the API has no such method. Raises Mismatch for wrong parameters."""
        for method in self._by_shape.get((verb, path.count("/")), ()):
            found = method.pattern.fullmatch(path)
            if found:
                self._check_parameters(method, {**query, **found.groupdict()})
                return Call(method, {**query, **found.groupdict()})
        return None

    def _check_parameters(self, method: Method, given: Mapping[str, str]) -> None:
        known = {**self._document["parameters"], **method.told.get("parameters", {})}
        for name, value in given.items():
            if name not in known:
                raise Mismatch(name, f"{method.name} has no such parameter")
            told = known[name]
            if "pattern" in told and not re.fullmatch(told["pattern"], value):
                raise Mismatch(name, f"{value!r} does not match {told['pattern']}")
            if "enum" in told and value not in told["enum"]:
                raise Mismatch(name, f"{value!r} is none of {told['enum']}")
        for name, told in known.items():
            if told.get("required") and name not in given:
                raise Mismatch(name, f"{method.name} needs this parameter")

    def check(self, schema: str, value: Any, *, written: bool = False) -> None:
        """Check a value against a schema. A value `written` by a client has no output fields. Raises Mismatch."""
        self._check(self._document["schemas"][schema], value, schema, written)

    def _check(self, told: Mapping[str, Any], value: Any, where: str, written: bool) -> None:
        if "$ref" in told:
            told = self._document["schemas"][told["$ref"]]
        kind = told.get("type", "any")
        if kind == "object":
            self._check_object(told, value, where, written)
        elif kind == "array":
            if not isinstance(value, list):
                raise Mismatch(where, f"{value!r} is not an array")
            for number, each in enumerate(value):
                self._check(told["items"], each, f"{where}[{number}]", written)
        elif kind != "any":
            _check_plain(kind, told, value, where)

    def _check_object(self, told: Mapping[str, Any], value: Any, where: str, written: bool) -> None:
        if not isinstance(value, dict):
            raise Mismatch(where, f"{value!r} is not an object")
        known, more = told.get("properties", {}), told.get("additionalProperties")
        for name, each in value.items():
            field = known.get(name, more)
            if field is None:
                raise Mismatch(f"{where}.{name}", "unknown field")
            if written and field.get("readOnly"):
                raise Mismatch(f"{where}.{name}", "is output only")
            self._check(field, each, f"{where}.{name}", written)


def _check_plain(kind: str, told: Mapping[str, Any], value: Any, where: str) -> None:
    kinds: dict[str, Any] = {"string": str, "boolean": bool, "integer": int, "number": (int, float)}
    if not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean"):
        raise Mismatch(where, f"{value!r} is not a {kind}")
    form = told.get("format", "")
    if form in _RANGES:
        _check_range(form, value, where)
    if form == "byte":
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise Mismatch(where, f"{value!r} is not base64") from error
    if "enum" in told and value not in told["enum"]:
        raise Mismatch(where, f"{value!r} is none of {told['enum']}")
    if "pattern" in told and value and not re.fullmatch(told["pattern"], value):
        raise Mismatch(where, f"{value!r} does not match {told['pattern']}")


def _check_range(form: str, value: Any, where: str) -> None:
    low, high = _RANGES[form]
    try:
        number = int(value)  # the API sends 64-bit numbers as strings
    except ValueError as error:
        raise Mismatch(where, f"{value!r} is not {form}") from error
    if not low <= number < high:
        raise Mismatch(where, f"{value!r} is not {form}")
