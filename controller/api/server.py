"""The local API: HTTP with JSON over a unix socket. Users who may write to the socket may move VIPs.

- ``GET /v1/status``: `controller.api.status.NodeStatus`
- ``GET /v1/history[?group=NAME]``: a list of `controller.telemetry.history.HistoryEntry`
- ``GET /v1/chronicle[?group=NAME]``: a list of `controller.telemetry.chronicle.ChronicleEntry`
- ``POST /v1/switchover {"group", "to", "timeout_seconds"}``: answers when the new node serves
- ``POST /v1/pause {"for_seconds", "reason"}``, ``POST /v1/resume``: answer when a listing of the store shows it

A request that fails is withdrawn: nothing of it happens later, or else the message says what might. A client that hangs
up withdraws its request.

An error is ``{"error": {"code", "message"}}`` with a status of 4xx or 5xx.
"""

from __future__ import annotations

import logging
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from controller.api.socket import SocketAccess, claim
from controller.api.status import NodeStatus
from controller.telemetry.chronicle import ChronicleEntry
from controller.telemetry.history import HistoryEntry
from controller.telemetry.logs import emit
from health.errors import AnyvipError

Answer = Callable[[web.Request], Awaitable[web.Response]]

SWITCHOVER_SECONDS = 30.0
LONGEST_SWITCHOVER_SECONDS = 600.0
PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 30 * 86400.0
LONGEST_REASON = 200

_SHUTDOWN_SECONDS = 1.0
_LONGEST_BODY = 64 * 1024
_log = logging.getLogger("anyvip.admin")


class Code(StrEnum):
    """Why a request was not carried out."""

    BAD_REQUEST = "bad-request"
    UNKNOWN_PATH = "unknown-path"
    UNKNOWN_GROUP = "unknown-group"
    UNKNOWN_NODE = "unknown-node"
    NOT_LIVE = "not-live"
    NOT_HEALTHY = "not-healthy"
    ALREADY_ACTIVE = "already-active"
    NOBODY_ACTIVE = "nobody-active"
    PAUSED = "paused"
    STORE = "store-unreachable"
    TIMEOUT = "timeout"
    STOPPING = "stopping"
    BAD_RECORD = "bad-record"
    INTERNAL = "internal"


_STATUS = {
    Code.BAD_REQUEST: 400,
    Code.UNKNOWN_PATH: 404,
    Code.UNKNOWN_GROUP: 404,
    Code.UNKNOWN_NODE: 404,
    Code.STORE: 503,
    Code.STOPPING: 503,
    Code.TIMEOUT: 504,
    Code.INTERNAL: 500,
}


class RequestRefused(AnyvipError):  # noqa: N818  (an answer)
    """The daemon refuses a request. The message is one line for the operator."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Moved:
    """A completed switchover: `to` serves the group. `seconds`: from the request until then."""

    group: str
    before: str | None
    to: str
    epoch: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PauseRequest:
    """A request to pause the cluster, or to resume it. `seconds`: 0 means until somebody resumes. `by`: the user."""

    paused: bool
    seconds: float = 0.0
    reason: str = ""
    by: str = ""


class ControlApi(Protocol):
    """What the daemon offers to the local API. `switchover` and `pause` raise RequestRefused."""

    def status(self) -> NodeStatus:
        """Returns the state of this node now. Never waits."""

    def history(self) -> list[HistoryEntry]:
        """Returns the remembered transitions, the oldest first. Never waits."""

    def chronicle(self) -> list[ChronicleEntry]:
        """Returns what this node has seen of the whole cluster, the oldest first. Never waits."""

    async def switchover(self, group: str, to: str | None, seconds: float, by: str) -> Moved:
        """Hands the group over to the node `to` (None: the next by priority), and returns when that node serves.

        `by` is the user who asks, for people to read.

        Withdraws the request when `seconds` have passed, or when it is cancelled.
        """

    async def pause(self, request: PauseRequest, seconds: float) -> None:
        """Pauses or resumes the cluster, and returns when a listing of the store shows it. Else as `switchover`."""


class AdminApi:
    """Serves one `ControlApi` on one socket."""

    def __init__(self, control: ControlApi, path: Path, access: SocketAccess) -> None:
        self._control = control
        self._path = path
        self._access = access
        self._runner = web.AppRunner(
            self._app(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, handler_cancellation=True
        )
        self._socket: socket.socket | None = None

    async def start(self) -> None:
        """Starts to listen. Raises AdminError when another daemon listens there, or the socket cannot be made."""
        self._socket = claim(self._path, self._access)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()

    async def close(self) -> None:
        """Stops listening. Requests under way have one second to end."""
        if self._socket is not None:
            self._path.unlink(missing_ok=True)
        await self._runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=_LONGEST_BODY)
        app.router.add_get("/v1/status", _answer_refusals(self._status))
        app.router.add_get("/v1/history", _answer_refusals(self._history))
        app.router.add_get("/v1/chronicle", _answer_refusals(self._chronicle))
        app.router.add_post("/v1/switchover", _answer_refusals(self._switchover))
        app.router.add_post("/v1/pause", _answer_refusals(self._pause))
        app.router.add_post("/v1/resume", _answer_refusals(self._resume))
        app.router.add_route("*", "/{path:.*}", _answer_refusals(_unknown))
        return app

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(self._control.status())

    async def _history(self, request: web.Request) -> web.Response:
        group = request.query.get("group")
        entries = self._control.history()
        return web.json_response([entry for entry in entries if group in (None, entry["group"])])

    async def _chronicle(self, request: web.Request) -> web.Response:
        group = request.query.get("group")
        entries = self._control.chronicle()
        return web.json_response([entry for entry in entries if group in (None, entry["group"])])

    async def _switchover(self, request: web.Request) -> web.Response:
        group, to, limit = _switchover_of(await _body(request))
        emit(_log, logging.INFO, "switchover requested", group=group, to=to, uid=_uid(request))
        moved = await self._control.switchover(group, to, limit, _user(_uid(request)) or "somebody")
        return web.json_response(asdict(moved))

    async def _pause(self, request: web.Request) -> web.Response:
        body = await _body(request) if request.can_read_body else {}
        seconds, reason = _pause_of(body)
        return await self._set_paused(request, PauseRequest(True, seconds, reason, _user(_uid(request))))

    async def _resume(self, request: web.Request) -> web.Response:
        return await self._set_paused(request, PauseRequest(False, by=_user(_uid(request))))

    async def _set_paused(self, request: web.Request, wanted: PauseRequest) -> web.Response:
        what = "pause requested" if wanted.paused else "resume requested"
        emit(
            _log, logging.INFO, what, uid=_uid(request), by=wanted.by, seconds=wanted.seconds or None,
            why=wanted.reason or None,
        )  # fmt: skip
        await self._control.pause(wanted, PAUSE_SECONDS)
        return web.json_response({"paused": wanted.paused})


def _answer_refusals(answer: Answer) -> Answer:
    """Turns every error into JSON with a code. Logs an unexpected error with its traceback."""

    async def answered(request: web.Request) -> web.Response:
        try:
            return await answer(request)
        except RequestRefused as refusal:
            return _error(_STATUS.get(refusal.code, HTTPStatus.CONFLICT), refusal.code, str(refusal))
        except web.HTTPException as error:  # aiohttp's own, such as a body that is too large
            return _error(error.status, Code.BAD_REQUEST, error.reason)
        except Exception:  # noqa: BLE001  (a bug must not end the connection without an answer)
            _log.exception("%s %s failed", request.method, request.path)
            return _error(500, Code.INTERNAL, "the daemon failed to answer: its log says why")

    return answered


async def _unknown(request: web.Request) -> web.Response:
    raise RequestRefused(Code.UNKNOWN_PATH, f"this daemon does not answer {request.method} {request.path}")


def _error(status: int, code: Code, message: str) -> web.Response:
    return web.json_response({"error": {"code": code.value, "message": message}}, status=status)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise RequestRefused(Code.BAD_REQUEST, "the body is not JSON") from error
    if not isinstance(body, dict):
        raise RequestRefused(Code.BAD_REQUEST, "the body is not a JSON object")
    return body


def _switchover_of(body: dict[str, Any]) -> tuple[str, str | None, float]:
    """Returns the group, the node and the time limit in seconds of a request. Raises RequestRefused."""
    group, to, limit = body.pop("group", None), body.pop("to", None), body.pop("timeout_seconds", SWITCHOVER_SECONDS)
    if body:
        raise RequestRefused(Code.BAD_REQUEST, f"unknown key {min(body)!r}; allowed: group, to, timeout_seconds")
    if not isinstance(group, str):
        raise RequestRefused(Code.BAD_REQUEST, "group must be the name of a group")
    if not isinstance(to, str | None):
        raise RequestRefused(Code.BAD_REQUEST, "to must be the name of a node, or null")
    if not isinstance(limit, int | float) or not 0 < limit <= LONGEST_SWITCHOVER_SECONDS:
        raise RequestRefused(
            Code.BAD_REQUEST, f"timeout_seconds must be above 0 and at most {LONGEST_SWITCHOVER_SECONDS:g}"
        )
    return group, to, float(limit)


def _pause_of(body: dict[str, Any]) -> tuple[float, str]:
    """Returns the seconds and the reason of a request for a pause; 0 means without end. Raises RequestRefused."""
    seconds, reason = body.pop("for_seconds", None), body.pop("reason", "")
    if body:
        raise RequestRefused(Code.BAD_REQUEST, f"unknown key {min(body)!r}; allowed: for_seconds, reason")
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (number and 1 <= seconds <= LONGEST_PAUSE_SECONDS):
        raise RequestRefused(Code.BAD_REQUEST, f"for_seconds must be from 1 to {LONGEST_PAUSE_SECONDS:.0f}, or null")
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON or not reason.isprintable():
        raise RequestRefused(
            Code.BAD_REQUEST, f"reason must be one line of at most {LONGEST_REASON} printable characters"
        )
    return float(seconds or 0.0), reason.strip()


def _user(uid: int | None) -> str:
    """Returns the user's name, or the number if there is no name."""
    if uid is None:
        return "unknown"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _uid(request: web.Request) -> int | None:
    """Returns the user who asks, for the log (SO_PEERCRED, unix(7))."""
    peer = request.get_extra_info("socket")
    if peer is None:
        return None
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


def _find_user(request: web.Request) -> str:
    """Returns the name of the user who asks, or the number if it has none."""
    uid = _uid(request)
    try:
        return "somebody" if uid is None else pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
