"""The options of checks in the configuration."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from health.checks import CheckOptions
from health.options import CommandCheck, HttpCheck, TcpCheck, host_and_port, status_ranges

adapter: TypeAdapter[CheckOptions] = TypeAdapter(CheckOptions)


def read(**given: Any) -> CheckOptions:
    return adapter.validate_json(adapter_json(given))


def adapter_json(given: dict[str, Any]) -> bytes:
    return TypeAdapter(dict[str, Any]).dump_json(given)


def test_defaults() -> None:
    check = read(type="tcp", target="127.0.0.1:80")
    assert isinstance(check, TcpCheck)
    assert (check.interval_seconds, check.timeout_seconds, check.rise, check.fall) == (1.0, 1.0, 2, 3)


def test_what_is_the_same_is_equal() -> None:
    command = {"type": "command", "argv": ["/bin/true"], "interval_seconds": 2}
    assert read(**command) == read(**command)
    assert read(**command) != read(**{**command, "interval_seconds": 3})
    assert isinstance(read(**command), CommandCheck)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:65535", ("::1", 65535)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("app.example:8080", ("app.example", 8080)),
    ],
)
def test_targets(text: str, expected: tuple[str, int]) -> None:
    assert host_and_port(text) == expected


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1", ":80", "127.0.0.1:0", "127.0.0.1:65536", "::1:80", "[::1]", "[a]:80", "a b:80", "a:x"]
)
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(ValidationError, match="a host and a port, such as"):
        read(type="tcp", target=text)


def test_status_ranges() -> None:
    assert status_ranges("200, 301-302") == [range(200, 201), range(301, 303)]


@pytest.mark.parametrize("text", ["", "20", "2000", "299-200", "200-", "-200", "2xx", "200,,201"])
def test_what_is_no_status(text: str) -> None:
    with pytest.raises(ValidationError, match="status codes and ranges of them"):
        read(type="http", url="http://x/", status=text)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/ready?full=1", "https://app.example", "http://[::1]:80/", "http://app.example:1/ä"]
)
def test_urls(url: str) -> None:
    assert isinstance(read(type="http", url=url), HttpCheck)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "app.example",
        "ftp://x/",
        "http://",
        "http:///x",
        "http://x:0/",
        "http://x:99999/",
        "http://[::1/",
        "http://u:p@x/",
        "http://x/#f",
        "http://x/a b",
        "http://x/\r\nX: y",
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValidationError, match="an http or https URL"):
        read(type="http", url=url)


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X Y": "a"}, {"": "a"}, {"X:": "a"}, {"X": "ä"}])
def test_headers_cannot_smuggle(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="header names and values"):
        read(type="http", url="http://x/", headers=headers)


@pytest.mark.parametrize(
    "given",
    [
        {"type": "tcp"},
        {"type": "nonsense", "target": "127.0.0.1:80"},
        {"type": "tcp", "target": "127.0.0.1:80", "retries": 3},
        {"type": "tcp", "target": "127.0.0.1:80", "interval_seconds": 0},
        {"type": "tcp", "target": "127.0.0.1:80", "interval_seconds": "1"},
        {"type": "tcp", "target": "127.0.0.1:80", "timeout_seconds": -1},
        {"type": "tcp", "target": "127.0.0.1:80", "rise": 0},
        {"type": "tcp", "target": "127.0.0.1:80", "fall": 1.5},
        {"type": "command", "argv": []},
        {"type": "command", "argv": "pgrep nginx"},
        {"type": "command", "argv": ["a\0b"]},
        {"type": "ping", "target": "10.0.0.1/24"},
        {"type": "ping", "target": ""},
    ],
)
def test_what_is_not_allowed(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(**given)


def test_every_key_says_what_it_is() -> None:
    for name, model in adapter.json_schema()["$defs"].items():
        assert model["additionalProperties"] is False, name
        for key, schema in model["properties"].items():
            assert key == "type" or schema["description"], f"{name}.{key}"
