"""A strict fake of EC2 and STS over real HTTP: it refuses what EC2 refuses, and fails where the test says so.

Requests and answers are checked against botocore's own models (`query`), access keys against their policies
(`access`), and what a network may look like by `state`.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from tests.lab.aws.access import Access, Key
from tests.lab.aws.operations import CHANGES, DESCRIPTIONS, resources
from tests.lab.aws.query import Refused, answer, operation, parameters, refusal
from tests.lab.aws.state import Cloud

_KEPT = ("interfaces", "tables", "elastics")  # what descriptions can show late


@dataclass
class Fault:
    """A fault in the next `times` calls (-1: in all) of an operation (`*`: of any) that `concerns` selects.

    `refuse` is the answer. With `silent` there is no answer, before or after the call takes effect. With `late` the
    call is under way until `Ec2.landing` is set, and takes effect then. `delay_seconds` delays the answer.
    """

    operation: str
    times: int = 1
    refuse: Refused | None = None
    silent: str | None = None  # "before", "after"
    late: bool = False
    delay_seconds: float = 0.0
    concerns: Callable[[Mapping[str, Any]], bool] = lambda _: True


@dataclass(frozen=True)
class Call:
    """One request that arrived: its time (time.monotonic()), its sender and its parameters."""

    at: float
    key: str
    operation: str
    params: Mapping[str, Any]


@dataclass
class Ec2:
    cloud: Cloud = field(default_factory=Cloud)
    access: Access = field(default_factory=Access)
    faults: list[Fault] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    stale_seconds: float = 0.0  # how old the state is that descriptions show
    delay_seconds: float = 0.0  # of every answer
    most_at_once: int = 0
    broken: list[AssertionError] = field(default_factory=list)
    url: str = ""
    ending: threading.Event = field(default_factory=threading.Event)
    landing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._under_way = 0
        self._before: list[tuple[float, dict[str, Any]]] = [(0.0, self._kept())]

    def throttle(self, operation: str, times: int = 1) -> None:
        self.fail(operation, Refused("RequestLimitExceeded", "Request limit exceeded.", 503), times)

    def fail(self, operation: str, refuse: Refused, times: int = -1, **fault: Any) -> None:
        self.faults.append(Fault(operation, times, refuse, **fault))

    def asked(self, *operations: str) -> list[Call]:
        """Return the calls of these operations, or all calls if no operation is named."""
        return [call for call in self.calls if not operations or call.operation in operations]

    def names(self) -> list[str]:
        return [call.operation for call in self.calls]

    def remember(self) -> None:
        """Make descriptions show immediately what a test has changed in the network."""
        with self._lock:
            self._before = [(0.0, self._kept())]

    # --- one request

    def handle(self, headers: Mapping[str, str], form: Mapping[str, str]) -> tuple[int, str, Mapping[str, str]] | None:
        """Return status, body and headers, or None to send no answer."""
        service = "sts" if "/sts/" in headers.get("authorization", "") else "ec2"
        with self._lock:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            body = self._answered(service, headers, form)
        except Refused as refused:
            return refused.status, refusal(refused, service), refused.headers
        except AssertionError as error:
            self.broken.append(error)
            raise
        else:
            return None if body is None else (200, body, {})
        finally:
            with self._lock:
                self._under_way -= 1

    def _answered(self, service: str, headers: Mapping[str, str], form: Mapping[str, str]) -> str | None:
        key, scoped = self.access.authenticate(headers)
        assert scoped == service, (scoped, service)
        asked = operation(service, form)
        params = parameters(asked, form)
        self.calls.append(Call(time.monotonic(), key, asked.name, params))
        fault = self._fault(asked.name, params)
        self.ending.wait(self.delay_seconds + fault.delay_seconds)
        if fault.refuse is not None:
            raise fault.refuse
        if fault.silent == "before":
            return None
        if fault.late:
            self.landing.wait()
        result = self._assume(key, params) if service == "sts" else self._carried_out(key, asked.name, params)
        return None if fault.silent == "after" else answer(asked, result)

    def _fault(self, name: str, params: Mapping[str, Any]) -> Fault:
        with self._lock:
            for fault in self.faults:
                if fault.operation in {name, "*"} and fault.times and fault.concerns(params):
                    fault.times -= 1
                    return fault
        return Fault(name)

    def _carried_out(self, key: str, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
        if name not in {*CHANGES, *DESCRIPTIONS}:
            raise Refused("UnsupportedOperation", f"the fake has no {name}", 501)
        self.access.authorize(key, f"ec2:{name}", resources(params))
        if params.get("DryRun"):
            raise Refused("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        with self._lock:
            if name in DESCRIPTIONS:
                return DESCRIPTIONS[name](self._shown(), params)
            result = CHANGES[name](self.cloud, params)
            self._before.append((time.monotonic(), self._kept()))
            return result

    def _kept(self) -> dict[str, Any]:
        return {name: copy.deepcopy(getattr(self.cloud, name)) for name in _KEPT}

    def _shown(self) -> Cloud:
        if not self.stale_seconds:
            return self.cloud
        latest = time.monotonic() - self.stale_seconds
        seen = [kept for at, kept in self._before if at <= latest][-1]
        shown = copy.copy(self.cloud)
        for name, value in seen.items():
            setattr(shown, name, value)
        return shown

    def _assume(self, key: str, params: Mapping[str, Any]) -> dict[str, Any]:
        role = self.access.roles.get(params.get("RoleArn", ""))
        if role is None or key not in role.trusted or role.external_id != params.get("ExternalId"):
            raise Refused("AccessDenied", f"not authorized to perform: sts:AssumeRole on {params.get('RoleArn')}", 403)
        name = f"ASIA{len(self.access.keys):012}"
        self.access.keys[name] = Key(role.policy, f"token-{name}")
        until = datetime.now(UTC) + timedelta(hours=1)
        secret = {"AccessKeyId": f"{name}", "SecretAccessKey": "s" * 40, "SessionToken": f"token-{name}"}
        user = {"AssumedRoleId": "AROAEXAMPLE:anyvip", "Arn": f"{role.arn}/anyvip"}
        return {"Credentials": {**secret, "Expiration": until}, "AssumedRoleUser": user}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def serving(fake: Ec2, host: str = "127.0.0.1", port: int = 0) -> Iterator[Ec2]:
    """Serve the fake on this address in the thread's network namespace."""

    class Request(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one segment for headers and body: two would wait for each other (Nagle, delayed ACK)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            answered = fake.handle(headers, dict(parse_qsl(body, keep_blank_values=True)))
            if answered is None:
                fake.ending.wait()
                self.close_connection = True
                return
            status, text, extra = answered
            self.send_response(status)
            for name, value in {**extra, "Content-Length": str(len(text.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing."""

    with _Server((host, port), Request) as server:
        fake.url = f"http://{host}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield fake
        finally:
            fake.ending.set()
            fake.landing.set()
            server.shutdown()
            thread.join()
        assert not fake.broken, fake.broken
