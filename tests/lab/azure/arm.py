"""A fake of Azure Resource Manager with NICs, route tables and public IP addresses, as strict as the real one.

Requests and answers are checked against the SDK's own models. Writes take `seconds`. Until then the resource shows
`Updating` and refuses further writes, and what it gives up is not free yet.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tests.lab.azure.network import KINDS, Json, Refused, joins
from tests.lab.azure.resources import Resources
from tests.lab.azure.schema import writable
from tests.lab.http.rest import Answer, Dropped, Request

SDK_VERSION = "2026-03-01"
PERMISSIONS_VERSION = "2022-04-01"
_LIST = re.compile(r"/subscriptions/[^/]+(/resourcegroups/[^/]+)?/providers/microsoft\.network/(?P<type>[^/]+)$")
_PERMISSIONS = re.compile(r"(?P<scope>/subscriptions/.+)/providers/microsoft\.authorization/permissions$")
_OPERATION = re.compile(r"/subscriptions/[^/]+/providers/microsoft\.network/locations/[^/]+/operations/(?P<id>[^/]+)$")


@dataclass
class Fault:
    """A fault in the next `times` requests of a method whose path contains `path`.

    `kind` is throttle (429, Retry-After `seconds`), status, lost (carried out without an answer), late (carried out by
    `Arm.land` without an answer), or fails (accepted, but the operation fails with `code`).
    """

    method: str
    path: str
    kind: str
    times: int = 1
    seconds: float = 1.0
    status: int = 500
    code: str = "InternalServerError"


class Arm:
    """One subscription. Thread-safe."""

    def __init__(self, *, seconds: float = 0.0, changed: Callable[[], None] = lambda: None) -> None:
        """Set `seconds`, the duration of a write, and `changed`, which is called when a write has taken effect."""
        self.audience = ""  # the audience that tokens must have: this server's URL
        self.oldest_token = 0  # the number of the oldest valid token
        self.versions = frozenset({SDK_VERSION})
        self.actions = ["*"]  # what every identity is allowed to do
        self.checks_etags = True  # whether If-Match counts: it is not documented that Azure respects it everywhere
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self._lock = threading.RLock()
        self._changed = changed
        self._resources = Resources(seconds, changed)
        self.under_way: list[Request] = []  # sent but not answered; `land` carries them out

    # --- what a test sets up and reads ---

    @property
    def seconds(self) -> float:
        return self._resources.seconds

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._resources.seconds = seconds

    @property
    def broken(self) -> list[str]:
        """The fake's answers that the SDK's models refuse."""
        return self._resources.broken

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.requests if request.method != "GET"]

    def add(self, identifier: str, resource: Mapping[str, Any]) -> str:
        """Add a resource, and return its id."""
        with self._lock:
            return self._resources.add(identifier, resource)

    def resource(self, identifier: str) -> Json:
        """Return a resource as a GET shows it."""
        with self._lock:
            self._resources.settle()
            return self._resources.shown(identifier.lower())

    def written(self, identifier: str) -> Json:
        """Return the part of a resource that its writers decide, which is all that a PUT can lose."""
        return writable(Resources.place(identifier).kind.model, self.resource(identifier))

    def all(self, kind: str) -> list[Json]:
        """Return every resource of a type (such as `networkinterfaces`) as packets meet it, without running writes."""
        with self._lock:
            self._resources.settle()
            return [self._resources.effective(key) for key in self._resources.of(KINDS[kind])]

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Make all changes of a test in this context take effect at one moment, and announce them like a write."""
        with self._lock:
            yield
            self._changed()

    def finish(self) -> None:
        """Complete all running writes immediately."""
        with self._lock:
            self._resources.seconds = 0.0
            self._resources.finish()

    def land(self) -> None:
        """Carry out the requests that are under way."""
        with self._lock:
            self._resources.settle()
            for request in self.under_way:
                with suppress(Refused):  # no client is waiting for the answer
                    self._carried_out(request)
            self.under_way = []

    # --- requests ---

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            self._resources.settle()
            try:
                return self._answer(request, self._fault(request))
            except Refused as refused:
                error = {"code": refused.code, "message": str(refused)}
                return Answer(refused.status, {"error": error}, refused.headers)

    def _fault(self, request: Request) -> Fault | None:
        for fault in self.faults:
            if fault.method == request.method and fault.path.lower() in request.path.lower():
                fault.times -= 1
                self.faults = [each for each in self.faults if each.times > 0]
                return fault
        return None

    def _answer(self, request: Request, fault: Fault | None) -> Answer:
        if fault is None:
            return self._carried_out(request)
        match fault.kind:
            case "throttle":
                wait = {"Retry-After": str(int(fault.seconds))}
                raise Refused(429, "TooManyRequests", "The request is being throttled.", wait)
            case "status":
                raise Refused(fault.status, fault.code, "injected")
            case "late":
                self.under_way.append(request)
                raise Dropped
            case "lost":
                self._carried_out(request)
                raise Dropped
            case "fails":
                return self._carried_out(request, fault.code)
        raise AssertionError(fault.kind)

    def _carried_out(self, request: Request, failing: str = "") -> Answer:
        who = self._authenticated(request)
        path = request.path.lower().rstrip("/")
        if permissions := _PERMISSIONS.match(path):
            _version(request, {PERMISSIONS_VERSION})
            self._authorized(who, "Microsoft.Authorization/permissions/read", permissions["scope"])
            return Answer(200, {"value": [{"actions": self.actions, "notActions": []}]})
        _version(request, self.versions)
        if operation := _OPERATION.match(path):
            return self._operation(operation["id"])
        if (listed := _LIST.match(path)) and request.method == "GET" and listed["type"] in KINDS:
            return self._list(who, path, listed["type"])
        place = Resources.place(path)
        if request.method == "GET":
            self._authorized(who, place.kind.read, path)
            return Answer(200, self._resources.checked(place.kind, place.key))
        if request.method != "PUT":
            raise Refused(405, "MethodNotAllowed", request.method)
        self._authorized(who, place.kind.write, path)
        return self._put(who, request, failing)

    def _authenticated(self, request: Request) -> str:
        scheme, _, said = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            raise _unknown("AuthenticationFailed", "The 'Authorization' header is missing.")
        kind, who, audience, number = (*said.split("|"), "", "", "")[:4]
        if kind != "token":
            raise _unknown("InvalidAuthenticationToken", "The access token is invalid.")
        if audience != self.audience:
            raise _unknown("InvalidAuthenticationTokenAudience", f"The audience {audience!r} is not this service's")
        if int(number) < self.oldest_token:
            raise _unknown("ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than now.")
        return who

    def _authorized(self, who: str, action: str, scope: str, code: str = "AuthorizationFailed") -> None:
        if not any(fnmatchcase(action.lower(), allowed.lower()) for allowed in self.actions):
            said = f"The client '{who}' does not have authorization to perform action '{action}' over scope '{scope}'"
            raise Refused(403, code, said)

    def _list(self, who: str, path: str, kind: str) -> Answer:
        self._authorized(who, KINDS[kind].read, path)
        within = path.rpartition("/providers/")[0] + "/"
        keys = (key for key in self._resources.of(KINDS[kind]) if key.startswith(within))
        return Answer(200, {"value": [self._resources.checked(KINDS[kind], key) for key in keys]})

    def _put(self, who: str, request: Request, failing: str) -> Answer:
        place = Resources.place(request.path.rstrip("/"))
        body = self._resources.body(place, request.body)
        old = self._resources.existing(place.key)
        match = request.headers.get("if-match")
        if match and self.checks_etags and match not in ("*", old["etag"] if old else None):
            raise Refused(412, "PreconditionFailed", f"Precondition failed: the etag is not {match}")
        if place.kind.action == "networkInterfaces":
            for action, joined in joins(body):
                self._authorized(who, action, joined, "LinkedAuthorizationFailed")
            fresh = self._resources.fresh_nic(place, body)
        elif place.kind.action == "routeTables/routes":
            fresh = self._resources.fresh_route(place, body)
        else:
            raise Refused(400, "NotInThisFake", f"this fake does not write {place.kind.action} as a whole")
        name = self._resources.begin(place, fresh, failing)
        within = "/".join(request.path.split("/")[:3])
        url = f"{self.audience}{within}/providers/Microsoft.Network/locations/westeurope/operations/{name}"
        headers = {"Azure-AsyncOperation": f"{url}?api-version={SDK_VERSION}"}
        return Answer(200 if old else 201, self._resources.checked(place.kind, place.key), headers)

    def _operation(self, name: str) -> Answer:
        operation = self._resources.operations.get(name)
        if operation is None:
            raise Refused(404, "OperationNotFound", name)
        if not operation.ended:
            return Answer(200, {"status": "InProgress"})
        if operation.error:
            return Answer(200, {"status": "Failed", "error": {"code": operation.error, "message": "it failed"}})
        return Answer(200, {"status": "Succeeded"})


def _unknown(code: str, message: str) -> Refused:
    uri = 'authorization_uri="https://login.microsoftonline.com/tenant"'
    challenge = f'Bearer {uri}, error="invalid_token", error_description="{message}"'
    return Refused(401, code, message, {"WWW-Authenticate": challenge})


def _version(request: Request, known: Iterable[str]) -> None:
    version = request.query.get("api-version")
    if version is None:
        raise Refused(400, "MissingApiVersionParameter", "The api-version query parameter is required")
    if version not in known:
        raise Refused(400, "InvalidApiVersionParameter", f"The api-version {version!r} is invalid")
