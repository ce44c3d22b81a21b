"""Choose the answer to a request, and the moment until which it is true. Does no I/O."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_log = logging.getLogger("anyvip.health")

ALL = "/health"
LIVE = "/livez"
READY = "/readyz"
METRICS = "/metrics"

_NEVER = float("-inf")
_TEXT = "text/plain; charset=utf-8"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """Until when this node serves the group, as local CLOCK_BOOTTIME in seconds. None: it does not serve."""

    serving_until: float | None


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """The state of this node, as the endpoint reports it.

    - `groups`: every configured group, whether or not this node serves it.
    - `ready`: this node could take over.
    - `live`: the daemon makes progress.
    - `detail`: one line that says why the node is not ready or not live.
    """

    groups: Mapping[str, GroupStatus]
    ready: bool
    live: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that decide its answer. `keep`: the connection stays open afterwards."""

    method: bytes
    target: bytes
    keep: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes to send: `active` while the clock reads less than `until`, `standby` from then on."""

    standby: bytes
    active: bytes = b""
    until: float = _NEVER

    @property
    def perishable(self) -> bool:
        """Whether the answer can become untrue, and so must not wait in a buffer."""
        return self.until > _NEVER


class Answers:
    """Renders the status, which it asks `status` for at each request. `paths`: further paths, each of one group."""

    def __init__(
        self, paths: Mapping[str, str], status: Callable[[], HealthStatus], metrics: Callable[[], bytes]
    ) -> None:
        self.paths = paths
        self._status = status
        self._metrics = metrics
        self._failing = False

    def to(self, request: Request) -> Answer:
        """Return the answer to a request; 503 when rendering it fails for any reason."""
        try:
            answer = self._to(request)
        except Exception:  # noqa: BLE001  (a bug here must lead neither to 200 nor to silence)
            if not self._failing:  # log it once, not for each of thousands of requests per second
                _log.exception("the status cannot be rendered, so the answer is 503")
            self._failing = True
            return _plain(HTTPStatus.SERVICE_UNAVAILABLE, "error", request)
        self._failing = False
        return answer

    def _to(self, request: Request) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "GET or HEAD", request)
        path = _path(request.target)
        if path == METRICS:
            return Answer(_render(HTTPStatus.OK, self._metrics(), request, _PROMETHEUS))
        status = self._status()
        if path == LIVE:
            return _condition(status.live, "live", status.detail, request)
        if path == READY:
            return _condition(status.ready, "ready", status.detail, request)
        if path == ALL:
            return _health(_earliest(status.groups.values()), request)
        group = status.groups.get(self._group(path))
        return _plain(HTTPStatus.NOT_FOUND, "not found", request) if group is None else _health(_end(group), request)

    def _group(self, path: str) -> str:
        named = path.removeprefix(f"{ALL}/")
        return named if named != path else self.paths.get(path, "")


def refusal(status: HTTPStatus) -> bytes:
    """Return the answer to bytes that are no proper request. The connection ends with it."""
    return _plain(status, status.phrase.lower(), Request(b"GET", b"", keep=False)).standby


def _end(group: GroupStatus) -> float:
    return _NEVER if group.serving_until is None else group.serving_until


def _earliest(groups: Iterable[GroupStatus]) -> float:
    """Return the earliest end. If one group were enough, two nodes with one group each would both answer 200."""
    return min(map(_end, groups), default=_NEVER)


@lru_cache(maxsize=256)  # probers keep asking for the same few paths
def _path(target: bytes) -> str:
    """Return the path of a request target, in origin form or absolute form (RFC 9112, section 3.2)."""
    text = target.decode("latin-1").partition("?")[0]
    return unquote(text if text.startswith("/") else urlsplit(text).path)


def _health(until: float, request: Request) -> Answer:
    standby, active = _states(request.method == b"HEAD", request.keep)
    return Answer(standby, active, until)


@lru_cache
def _states(head: bool, keep: bool) -> tuple[bytes, bytes]:
    request = Request(b"HEAD" if head else b"GET", b"", keep)
    standby = _plain(HTTPStatus.SERVICE_UNAVAILABLE, "standby", request)
    return standby.standby, _plain(HTTPStatus.OK, "active", request).standby


def _condition(holds: bool, name: str, detail: str, request: Request) -> Answer:
    if holds:
        return _plain(HTTPStatus.OK, name, request)
    return _plain(HTTPStatus.SERVICE_UNAVAILABLE, f"not {name}: {detail}" if detail else f"not {name}", request)


def _plain(status: HTTPStatus, text: str, request: Request) -> Answer:
    return Answer(_render(status, f"{text}\n".encode(), request, _TEXT))


def _render(status: HTTPStatus, body: bytes, request: Request, content_type: str) -> bytes:
    """Return the bytes of an answer. It has no Date: no client relies on this node's wall clock (RFC 9110, 6.6.1)."""
    allow = "Allow: GET, HEAD\r\n" if status is HTTPStatus.METHOD_NOT_ALLOWED else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n{allow}Connection: {'keep-alive' if request.keep else 'close'}\r\n\r\n"
    ).encode()
    return head if request.method == b"HEAD" else head + body
