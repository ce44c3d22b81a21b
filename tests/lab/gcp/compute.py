"""A fake of Compute Engine over HTTP, as strict as the real one: schemas, identities, permissions, slow operations."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import count
from typing import Any

from tests.lab.gcp.cloud import NUMBER, PROJECT, Cloud, Refused
from tests.lab.gcp.methods import PERMISSIONS, READS, Methods, Operation
from tests.lab.gcp.requests import account, routed
from tests.lab.host.processes import LIVENESS
from tests.lab.http.discovery import Call, Discovery, Mismatch
from tests.lab.http.rest import Answer, Dropped, Request

_URL = "https://www.googleapis.com/compute/v1/"
_WAIT_SECONDS = 120.0  # the longest time that `wait` waits in Compute Engine


@dataclass
class Fault:
    """A fault in the next `times` calls of a method (a pattern such as `routes.*`) that `concerns` selects.

    With `status` and `reason` the call is refused immediately. With `lost` it is carried out, but the answer never
    comes. With `late` it is under way until `Compute.land`, and carried out then. With `error` the operation ends with
    this code.
    """

    method: str
    times: int = 1
    status: int = 0
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False
    late: bool = False
    error: str = ""
    concerns: Callable[[Mapping[str, str]], bool] = lambda _: True


@dataclass
class Seen:
    """One call that arrived."""

    at: float
    method: str
    who: str
    parameters: Mapping[str, str]
    body: Any


class Compute:
    """One project's API. `answer` serves it. Everything else is for tests, at any time and from any thread."""

    def __init__(self, cloud: Cloud, *, seconds: float = 0.02) -> None:
        """Prepare the API. An operation takes `seconds`."""
        self.cloud = cloud
        self.seconds = seconds
        self.methods = Methods(cloud, self.may, self._begin)
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.mismatches: list[str] = []  # requests and answers that contradict the discovery document
        self.landed: Callable[[], None] = lambda: None  # called when a change has taken effect
        self.denied: dict[str, Collection[str]] = {}  # permissions taken away, by account
        self.granted: dict[str, Collection[str]] = {}  # the only permissions of an account; an absent account has all
        self.under_way = 0  # the number of late calls
        self.answering = 0  # the number of calls without an answer yet, with late ones
        self._operations: dict[str, Operation] = {}
        self._by_request: dict[str, Operation] = {}
        self._numbers = count(1)
        self._changed = threading.Condition(threading.RLock())
        self._landing = False
        self._closed = False

    def close(self) -> None:
        """End all waiting calls."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # --- for tests ---

    def leads_to(self, address: str, network: str = "vpc") -> list[str]:
        """Return where the network sends packets for the address now."""
        with self._changed:
            self._settle()
            return self.cloud.leads_to(address, network)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Make all changes of a test in this context land at one moment."""
        with self._changed:
            self._settle()
            yield
            self.landed()

    def land(self) -> None:
        """Carry out what is under way, and return when it has taken effect. Raises TimeoutError."""
        with self._changed:
            assert self.under_way, "nothing is under way"
            self._landing = True
            self._changed.notify_all()
            carried_out = self._changed.wait_for(lambda: not self.under_way, LIVENESS)
            self._landing = False
            if not carried_out:
                raise TimeoutError("a late call was not carried out")
        time.sleep(self.seconds)
        with self._changed:
            self._settle()

    def finish(self) -> None:
        """What is being carried out has been, however many seconds it was to take, and what follows takes none."""
        with self._changed:
            self.seconds = 0.0
            for operation in self._operations.values():
                operation.due = 0.0
            self._settle()
            self._changed.notify_all()

    def calls(self, method: str = "*") -> list[Seen]:
        """Return the calls of a method (a pattern) so far."""
        return [each for each in self.seen if fnmatch(each.method, method)]

    def may(self, who: str, permission: str) -> bool:
        """Report whether the account has the permission."""
        return permission in self.granted.get(who, (permission,)) and permission not in self.denied.get(who, ())

    # --- over HTTP ---

    def answer(self, request: Request) -> Answer:
        with self._changed:
            self.answering += 1
        try:
            return self._answer(request)
        finally:
            with self._changed:
                self.answering -= 1

    def _answer(self, request: Request) -> Answer:
        try:
            document, call = routed(request)
            who = account(request)
            body = request.json() if request.body else None
            self._check_request(document, call, body)
            answered = self._called(call, who, body)
        except Mismatch as error:
            self.mismatches.append(f"{request.method} {request.path}: {error}")
            return _refusal(Refused(400, "invalid", f"Invalid value for field {error}"))
        except Refused as error:
            return _refusal(error, getattr(error, "headers", {}))
        if call.method.response:
            try:
                document.check(call.method.response, answered)
            except Mismatch as error:
                self.mismatches.append(f"answer to {call.method.name}: {error}")
                return _refusal(Refused(500, "internalError", str(error)))
        return Answer(200, answered)

    def _check_request(self, document: Discovery, call: Call, body: Any) -> None:
        if (call.method.request is None) != (body is None):
            raise Mismatch("resource", f"{call.method.name} takes {call.method.request or 'no body'}")
        if call.method.request is not None:
            document.check(call.method.request, body, written=True)

    def _called(self, call: Call, who: str, body: Any) -> Any:
        name = call.method.name.removeprefix("compute.")
        with self._changed:
            self.seen.append(Seen(time.monotonic(), name, who, call.parameters, body))
            self._permit(name, who, call.parameters)
            fault = self._fault(name, call.parameters)
        if fault.status:
            refused = Refused(fault.status, fault.reason, f"Made to fail: {fault.reason}")
            refused.headers = fault.headers  # type: ignore[attr-defined]
            raise refused
        with self._on_its_way() if fault.late else nullcontext():
            answered = self._carried_out(name, call.parameters, who, body, fault.error)
        if fault.lost:
            raise Dropped
        return answered

    def _permit(self, name: str, who: str, parameters: Mapping[str, str]) -> None:
        if name not in PERMISSIONS:
            raise Refused(501, "notImplemented", f"this fake does not implement {name}")
        if parameters.get("project", parameters.get("resource", PROJECT)) not in {PROJECT, str(NUMBER)} and (
            "project" in parameters
        ):
            raise Refused(404, "notFound", f"The resource 'projects/{parameters['project']}' was not found")
        for permission in PERMISSIONS[name]:
            if not self.may(who, permission):
                raise Refused(403, "forbidden", f"Required '{permission}' permission for '{name}'")

    def _fault(self, name: str, parameters: Mapping[str, str]) -> Fault:
        for fault in self.faults:
            if fault.times > 0 and fnmatch(name, fault.method) and fault.concerns(parameters):
                fault.times -= 1
                return fault
        return Fault(name)

    @contextmanager
    def _on_its_way(self) -> Iterator[None]:
        with self._changed:
            self.under_way += 1
            self._changed.wait_for(lambda: self._landing or self._closed)
        try:
            yield
        finally:
            with self._changed:
                self.under_way -= 1
                self._changed.notify_all()

    def _carried_out(self, name: str, parameters: Mapping[str, str], who: str, body: Any, error: str) -> Any:
        if name.endswith("Operations.wait"):
            return self._awaited(parameters["operation"])
        carry_out: Callable[..., Any] = getattr(self.methods, re.sub(r"\.|(?=[A-Z])", "_", name).lower())
        with self._changed:
            self._settle()
            if name in READS:
                return carry_out(parameters, who, body)
            again = self._by_request.get(parameters.get("requestId", ""))
            if again is not None:
                return self._shown(again)
            operation: Operation = carry_out(parameters, who, body)
            if error:
                operation.land = _failing(error)
            if "requestId" in parameters:
                self._by_request[parameters["requestId"]] = operation
            return self._shown(operation)

    # --- operations ---

    def _begin(self, kind: str, zone: str | None, target: str, who: str, land: Callable[[], None]) -> Operation:
        if any(other.target == target and not other.done for other in self._operations.values()):
            raise Refused(400, "resourceNotReady", f"The resource '{target}' is not ready")
        number = next(self._numbers)
        operation = Operation(f"operation-{number}", kind, zone, target, time.monotonic() + self.seconds, land, who)
        self._operations[operation.name] = operation
        return operation

    def _settle(self) -> None:
        """Let due operations land, in order."""
        for operation in sorted(self._operations.values(), key=lambda each: each.due):
            if not operation.done and operation.due <= time.monotonic():
                operation.done = True
                try:
                    operation.land()
                except Refused as error:
                    operation.error = error
                self.landed()
                self._changed.notify_all()

    def _awaited(self, name: str) -> dict[str, Any]:
        until = time.monotonic() + _WAIT_SECONDS
        with self._changed:
            operation = self._operation(name)
            while not operation.done and time.monotonic() < until and not self._closed:
                self._settle()
                if not operation.done:
                    self._changed.wait(max(min(operation.due, until) - time.monotonic(), 0.001))
            return self._shown(operation)

    def _operation(self, name: str) -> Operation:
        if name not in self._operations:
            raise Refused(404, "notFound", f"The resource '{name}' was not found")
        return self._operations[name]

    def _shown(self, operation: Operation) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "kind": "compute#operation",
            "id": operation.name.rpartition("-")[2],
            "name": operation.name,
            "operationType": operation.kind,
            "status": "DONE" if operation.done else "RUNNING",
            "progress": 100 if operation.done else 0,
            "user": operation.user,
            "targetLink": _URL + operation.target,
            "selfLink": _URL + operation.path,
        }
        if operation.zone:
            shown["zone"] = f"{_URL}projects/{PROJECT}/zones/{operation.zone}"
        if operation.error:
            shown["error"] = {"errors": [{"code": operation.error.reason, "message": str(operation.error)}]}
            shown["httpErrorStatusCode"] = operation.error.status
            shown["httpErrorMessage"] = "BAD REQUEST"
        return shown


def _failing(code: str) -> Callable[[], None]:
    def land() -> None:
        raise Refused(400, code, f"Made to fail: {code}")

    return land


def _refusal(error: Refused, headers: Mapping[str, str] | None = None) -> Answer:
    told = {"domain": "global", "reason": error.reason, "message": str(error)}
    return Answer(
        error.status,
        {"error": {"code": error.status, "message": str(error), "errors": [told]}},
        dict(headers or {}),
    )
