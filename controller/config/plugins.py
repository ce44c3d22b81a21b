"""Stores and providers in the configuration: their keys come from the plugin class that their `type` names.

A plugin's class carries `Options`, a pydantic model of its keys other than `type`. The text of a ValueError that a
validator raises says what is *allowed*. Reading a file imports only the plugins that it names. Making the JSON Schema
imports all of them, unless it is made within `describing`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, PydanticUndefined

from controller.stores.registry import known_stores, store_type
from providers.registry import known_providers, provider_type

AUTO = "auto"
_described: ContextVar[frozenset[str] | None] = ContextVar("_described", default=None)  # None: all types


@contextmanager
def describing(types: frozenset[str]) -> Iterator[None]:
    """Limits JSON Schemas made in this context to the keys of these types; importing other SDKs takes seconds."""
    before = _described.set(types)
    try:
        yield
    finally:
        _described.reset(before)


class Auto(BaseModel):
    """Finds out where this node runs (AWS, Azure, Google Cloud, bare metal) and chooses the provider for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Plugin:
    """A store or provider as configured. `options` holds its keys, as an instance of the class's `Options`."""

    type: str
    options: BaseModel = field(default_factory=Auto)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Validates one kind of plugin, and describes the installed ones in the JSON Schema."""

    title: str
    known: Callable[[], Iterable[str]]
    options: Callable[[str], type[BaseModel]]

    def plugin(self, value: Any) -> Plugin:
        """Turns the mapping into a Plugin. Raises ValidationError, with locations relative to the mapping."""
        if not isinstance(value, dict):
            raise PydanticCustomError("dict_type", "a mapping with the key type")
        if "type" not in value:
            raise self._wrong(PydanticUndefined, "missing", self._names())
        keys = dict(value)
        name = keys.pop("type")
        return Plugin(name, TypeAdapter(self._options(name)).validate_json(json.dumps(keys), strict=True))

    def _options(self, name: Any) -> type[BaseModel]:
        if name not in self.known():
            raise self._wrong(name, "unknown_type", self._names())
        try:
            return self.options(name)
        except ValueError as error:
            raise self._wrong(name, "broken_type", f"a type that can be loaded ({error})") from error

    def _names(self) -> str:
        return ", ".join(self.known())

    def _wrong(self, value: Any, code: str, allowed: str) -> ValidationError:
        custom = PydanticCustomError(code, "{allowed}", {"allowed": allowed})
        return ValidationError.from_exception_data(
            self.title,
            [InitErrorDetails(type=custom, loc=("type",), input=value)],
        )

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Returns a union of the keys of all installed plugins, discriminated by `type`."""
        choices = [self._choice(name) for name in self.known()]
        union: Any = Annotated[Union[tuple(choices)], Field(discriminator="type")]  # noqa: UP007  (built at run time)
        return handler(TypeAdapter(union).core_schema)

    def _choice(self, name: str) -> type[BaseModel]:
        wanted = _described.get()
        try:
            options = self.options(name) if wanted is None or name in wanted else BaseModel
        except ValueError:  # the SDK of its cloud is not installed here
            options = BaseModel
        kind: Any = (Literal[name], Field(description=options.__doc__))
        return create_model(f"{self.title} {name}", __base__=options, type=kind)


def _provider_options(name: str) -> type[BaseModel]:
    return Auto if name == AUTO else provider_type(name).Options


_STORES = _Kind("store", known_stores, lambda name: store_type(name).Options)
_PROVIDERS = _Kind("provider", lambda: (AUTO, *known_providers()), _provider_options)

StorePlugin = Annotated[Plugin, PlainValidator(_STORES.plugin), _STORES]
ProviderPlugin = Annotated[Plugin, PlainValidator(_PROVIDERS.plugin), _PROVIDERS]
