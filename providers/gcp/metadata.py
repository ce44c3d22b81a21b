"""Compute Engine's metadata server and its answers about this virtual machine (Google: "VM metadata")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from providers.cloud.metadata_service import MetadataError, ask

_FLAVOR = "Google"


class WrongAnswer(MetadataError):  # noqa: N818  (an answer that the caller acts on)
    """The metadata server answers, and asking again would not help."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata server at `endpoint` (http://address[:port]); each step can take `timeout` seconds."""

    endpoint: str
    timeout: float = 1.0

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Return the text at `path` below computeMetadata/v1. Raises MetadataError."""
        url = f"/computeMetadata/v1/{path}" + (f"?{urlencode(query)}" if query else "")
        answer = ask(self.endpoint, url, headers={"Metadata-Flavor": _FLAVOR}, timeout=self.timeout)
        if answer.headers.get("metadata-flavor") != _FLAVOR:
            raise WrongAnswer(f"the server at {self.endpoint} is not Google's metadata server")
        if answer.status == 404:
            raise WrongAnswer(f"this virtual machine's metadata has no {path}")
        if answer.status != 200:
            raise MetadataError(f"the metadata server answers {answer.status} for {path}")
        return answer.text

    def json(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return the value at `path`, with everything below it. Raises MetadataError."""
        try:
            return json.loads(self.text(path, {"recursive": "true", "alt": "json", **(query or {})}))
        except ValueError as error:
            raise WrongAnswer(f"the metadata server's answer for {path} is not JSON") from error
