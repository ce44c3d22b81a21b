"""The options of checks in the configuration. Strict: unknown keys are errors, values are not converted."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_TARGET = 'a host and a port, such as "127.0.0.1:80", "[::1]:80" or "app.example:80"'
_URL = 'an http or https URL without user and fragment, such as "http://127.0.0.1:8080/ready"'
_STATUS = 'status codes and ranges of them, such as "200", "200-299" or "200,301-302"'
_HEADER = "header names and values of printable ASCII characters"


def _describe_allowed(text: str) -> dict[str, Any]:
    return {"errorMessage": text}


def host_and_port(text: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[address]:port``. Raises ValueError, which says what is allowed."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not _is_host(bare) or (":" in bare) != (bare != host):
        raise ValueError(_TARGET)
    if not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= 65535:
        raise ValueError(_TARGET)
    return bare, int(port)


def status_ranges(text: str) -> list[range]:
    """Split ``200,301-302``. Raises ValueError, which says what is allowed."""
    ranges = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not all(number.isascii() and number.isdigit() and len(number) == 3 for number in (first, last or first)):
            raise ValueError(_STATUS)
        if (dash and not last) or int(last or first) < int(first):
            raise ValueError(_STATUS)
        ranges.append(range(int(first), int(last or first) + 1))
    return ranges


def _is_host(text: str) -> bool:
    return bool(text) and text.isprintable() and not any(char.isspace() or char in "/[]@" for char in text)


def _target(text: str) -> str:
    host_and_port(text)
    return text


def _host(text: str) -> str:
    if not _is_host(text):
        raise ValueError('an address or a host name, such as "10.0.0.1"')
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and _is_host(parts.hostname or "") and parts.port != 0
    except ValueError as error:  # a port that is not a number, or a bracket that is not closed
        raise ValueError(_URL) from error
    if not known or parts.username is not None or parts.fragment or not text.isprintable() or " " in text:
        raise ValueError(_URL)
    return text


def _status(text: str) -> str:
    status_ranges(text)
    return text


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not name or not all("!" <= char <= "~" and char != ":" for char in name):
            raise ValueError(_HEADER)
        if not all(" " <= char <= "~" for char in value):
            raise ValueError(_HEADER)
    return headers


Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
Target = Annotated[str, AfterValidator(_target), Field(json_schema_extra=_describe_allowed(_TARGET))]


class _CheckModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    interval_seconds: Seconds = Field(
        default=1.0, description="Seconds from the start of one run to the start of the next."
    )
    timeout_seconds: Seconds = Field(
        default=1.0, description="Seconds that a run may take. A run that takes longer has failed."
    )
    rise: int = Field(default=2, ge=1, le=1000, description="Successes in a row that turn down into up.")
    fall: int = Field(default=3, ge=1, le=1000, description="Failures in a row that turn up into down.")


class TcpCheck(_CheckModel):
    """Passes when the target accepts a connection."""

    type: Literal["tcp"]
    target: Target = Field(description="Host and port to connect to.")


class HttpCheck(_CheckModel):
    """Passes when a GET returns an expected status. Follows no redirects and uses no proxies."""

    type: Literal["http"]
    url: Annotated[str, AfterValidator(_url)] = Field(
        description="The URL to request.", json_schema_extra=_describe_allowed(_URL)
    )
    status: Annotated[str, AfterValidator(_status)] = Field(
        default="200-399",
        description="Status codes that count as success.",
        json_schema_extra=_describe_allowed(_STATUS),
    )
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default_factory=dict,
        description="Further request headers. Host is allowed, too.",
        json_schema_extra=_describe_allowed(_HEADER),
    )
    tls_verify: bool = Field(default=True, description="Whether the certificate must be valid for the URL's host.")


class CommandCheck(_CheckModel):
    """Passes when a program ends with exit status 0. At the time limit its whole process group is killed."""

    type: Literal["command"]
    argv: tuple[Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")], ...] = Field(
        min_length=1,
        description="The program and its arguments. There is no shell.",
        json_schema_extra=_describe_allowed("a list: the program and its arguments, each a string (there is no shell)"),
    )


class PingCheck(_CheckModel):
    """Passes when a host answers an ICMP echo request."""

    type: Literal["ping"]
    target: Annotated[str, AfterValidator(_host)] = Field(description="Address or name of the host to ping.")


CheckOptions = Annotated[TcpCheck | HttpCheck | CommandCheck | PingCheck, Field(discriminator="type")]
