"""Compute Engine's metadata server: plain HTTP to a link-local address, no DNS, no proxy (Google: "VM metadata")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlencode, urlsplit

ENDPOINT = "http://169.254.169.254"
_FLAVOR = {"Metadata-Flavor": "Google"}


class MetadataError(Exception):
    """The metadata server did not answer, or not with what was asked. `lasting`: to ask again is of no use."""

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Metadata:
    """Asks the metadata server at `endpoint` (http://host[:port]); each question may take `timeout` seconds."""

    endpoint: str = ENDPOINT
    timeout: float = 1.0

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """What is at `path` below computeMetadata/v1. Raises MetadataError."""
        url = f"/computeMetadata/v1/{path}" + (f"?{urlencode(query)}" if query else "")
        where = urlsplit(self.endpoint)
        connection = HTTPConnection(where.hostname or "", where.port or 80, timeout=self.timeout)
        try:
            connection.request("GET", url, headers=_FLAVOR)
            answer = connection.getresponse()
            body = answer.read().decode()
        except (OSError, HTTPException, ValueError) as error:
            raise MetadataError(f"the metadata server at {self.endpoint} does not answer: {error}") from error
        finally:
            connection.close()
        if answer.getheader("Metadata-Flavor") != "Google":
            raise MetadataError(f"what answers at {self.endpoint} is not Google's metadata server", lasting=True)
        if answer.status != 200:
            raise MetadataError(f"the metadata server answers {answer.status} for {path}", lasting=answer.status == 404)
        return body

    def json(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """What is at `path`, with all that is below it, as JSON. Raises MetadataError."""
        try:
            return json.loads(self.text(path, {"recursive": "true", "alt": "json", **(query or {})}))
        except ValueError as error:
            raise MetadataError(f"the metadata server's answer for {path} is not JSON") from error
