"""Turns the file into a `Config`, or reports every mistake in it."""

from __future__ import annotations

import json

from pydantic import ValidationError

from controller.config.model import Config
from controller.config.problem import ConfigError
from controller.config.relations import relations
from controller.config.yaml_lines import Document, parse, read


def load(file: str) -> Config:
    """Reads the file. Raises ConfigError with every mistake in it."""
    return _configure(read(file))


def from_bytes(content: bytes, file: str) -> Config:
    """Reads the configuration from these bytes; messages call them `file`. Raises ConfigError as `load` does."""
    return _configure(parse(content, file))


def _configure(document: Document) -> Config:
    try:
        config = Config.model_validate_json(json.dumps(document.data), strict=True)
    except ValidationError as error:
        from controller.config.errors import translate  # noqa: PLC0415  (slow: it builds the schema)

        raise ConfigError([*document.problems, *translate(error, document, Config)]) from error
    config._document = document  # noqa: SLF001
    problems = [*document.problems, *relations(config)]
    if problems:
        raise ConfigError(problems)
    return config
