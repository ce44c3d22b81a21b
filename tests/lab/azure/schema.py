"""Checks of JSON against Azure's API, by the SDK's own models, which are generated from the API's specification."""

from __future__ import annotations

import types
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from azure.mgmt.network import models


class Invalid(Exception):  # noqa: N818  (an answer, like those of ARM)
    """JSON does not match its model. The message names the place and the reason."""


def validate(model: type, value: Any, where: str = "$") -> None:
    """Check the whole value: unknown keys, wrong types, unknown words. Raises Invalid."""
    if not isinstance(value, dict):
        raise Invalid(f"{where}: expected an object, not {value!r}")
    fields = _fields(model)
    for key, item in value.items():
        if key not in fields:
            raise Invalid(f"{where}: Could not find member '{key}' on object of type '{model.__name__}'")
        if item is not None:
            _check(fields[key], item, f"{where}.{key}")


def writable(model: type, value: dict[str, Any]) -> dict[str, Any]:
    """Return the value without the fields that only the platform sets, at every depth."""
    kept = {}
    for key, item in value.items():
        kind, read_only = _fields(model)[key], key in _read_only(model)
        if not read_only and item is not None:
            kept[key] = _written(kind, item)
    return kept


def _written(kind: Any, item: Any) -> Any:
    for choice in _choices(kind):
        if _is_model(choice) and isinstance(item, dict):
            return writable(choice, item)
        if get_origin(choice) is list and isinstance(item, list):
            return [_written(get_args(choice)[0], each) for each in item]
    return item


def _check(kind: Any, value: Any, where: str) -> None:
    choices = _choices(kind)
    words = [choice for choice in choices if isinstance(choice, type) and issubclass(choice, Enum)]
    if words:
        if value not in {word.value for each in words for word in each}:
            raise Invalid(f"{where}: {value!r} is none of {[word.value for each in words for word in each]}")
        return
    for choice in choices:
        if _is_model(choice):
            validate(choice, value, where)
            return
        if get_origin(choice) is list and isinstance(value, list):
            for number, each in enumerate(value):
                _check(get_args(choice)[0], each, f"{where}[{number}]")
            return
        if get_origin(choice) is dict and isinstance(value, dict):
            for key, each in value.items():
                _check(get_args(choice)[1], each, f"{where}.{key}")
            return
    if not any(_plain(choice, value) for choice in choices):
        raise Invalid(f"{where}: {value!r} is not a {kind}")


def _plain(choice: Any, value: Any) -> bool:
    if choice is Any:
        return True
    expected: Any = {str: str, bool: bool, int: int, float: (int, float), datetime: str}.get(choice)
    return expected is not None and isinstance(value, expected) and (choice is bool or not isinstance(value, bool))


def _choices(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) in {Union, types.UnionType}:
        return tuple(choice for choice in get_args(kind) if choice is not type(None))
    return (kind,)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "_is_model")


@cache
def _fields(model: Any) -> dict[str, Any]:
    model({})  # the SDK fills its table of fields when the first object is made
    hints = get_type_hints(model, globalns={**vars(models), "_models": models, **vars(_builtins())})
    return {field._rest_name: hints[name] for name, field in model._attr_to_rest_field.items()}


def _builtins() -> Any:
    from azure.mgmt.network.models import _models  # noqa: PLC0415  (its annotations are resolved there)

    return _models


@cache
def _read_only(model: Any) -> frozenset[str]:
    fields = model._attr_to_rest_field.values()
    return frozenset(field._rest_name for field in fields if field._visibility == ["read"])
