"""Talks to an etcd cluster through its JSON gateway, with a token where etcd requires one.

A request had no effect when the member has no leader or does not know our token. Its effect is unknown when etcd
reports a timeout or a change of leaders.

Every request asks its member to refuse when it has no leader (gRPC metadata `hasleader`, as a header that the gateway
passes on). So a member that is cut off from the others refuses immediately, and a watch on it ends, instead of waiting.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.stores.base import StoreError
from controller.stores.kit.endpoints import Endpoints, Servers, body_of, origin
from controller.stores.kit.outcome import NotDone, OutcomeUnknown
from controller.stores.kit.tls import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    import aiohttp

    from controller.stores.kit.tls import Tls

_HEADERS = {"Content-Type": "application/json", "Grpc-Metadata-hasleader": "true"}
_UNAVAILABLE_CODES = {1, 2, 4, 13, 14}  # cancelled, unknown, deadline, internal, unavailable: google.rpc.Code
_TOKEN_ERRORS = ("invalid auth token", "user name is empty", "revision of auth store is old")


class _TokenRefused(NotDone):
    """etcd does not know the token, or no longer knows it."""


class _PasswordRefused(StoreError):  # noqa: N818  (an answer)
    """etcd does not know the user, or not with this password."""


class _AuthenticationOff(NotDone):
    """This etcd has authentication disabled."""


@dataclass(frozen=True, slots=True)
class EtcdAccess:
    """How to reach the cluster, and as which user. `tls` None: plain HTTP; `user` None: etcd without authentication."""

    endpoints: Sequence[str]
    tls: Tls | None = None
    server_name: str | None = None
    user: str | None = None
    password: Secret = field(default_factory=lambda: Secret(""))


class Gateway:
    """Sends requests to whichever member answers. Each request ends within `call_timeout` seconds."""

    def __init__(self, access: EtcdAccess, call_timeout: float) -> None:
        self._access = access
        servers = Servers(access.endpoints, access.tls, access.server_name, _HEADERS)
        self._members = Endpoints(servers, call_timeout)
        self._token: str | None = None

    def reopening(self) -> AsyncIterator[None]:
        """Yield each time a watch is to be opened or reopened, until closed."""
        return self._members.reopening()

    async def call(self, path: str, body: object, *, repeatable: bool) -> dict[str, Any]:
        """Send a request and return its answer. `repeatable`: sending it twice does no harm. Raises StoreError."""
        data = json.dumps(body, separators=(",", ":")).encode()
        return await self._members.ask(lambda: self._ask(path, data), repeatable=repeatable)

    def stream(self, path: str, body: object) -> AbstractAsyncContextManager[aiohttp.StreamReader]:
        """Open an endless answer. It is closed when its endpoint is left. Raises StoreError, also while it is read."""
        return self._members.stream(lambda: self._open(path, json.dumps(body).encode()))

    async def close(self) -> None:
        """Close the connections; streams end."""
        await self._members.close()

    async def _open(self, path: str, data: bytes) -> aiohttp.ClientResponse:
        response = await self._post(path, data)
        if response.status != 200:
            await self._answer(response)
        return response

    async def _ask(self, path: str, data: bytes) -> dict[str, Any]:
        """Return the answer of the current endpoint. Asks again with a new token if it does not know ours."""
        try:
            return await self._answer(await self._post(path, data))
        except _TokenRefused:
            return await self._answer(await self._post(path, data))

    async def _post(self, path: str, data: bytes) -> aiohttp.ClientResponse:
        headers = await self._authorization() if self._access.user else None
        return await self._members.send("POST", path, data, headers)

    async def _authorization(self) -> dict[str, str] | None:
        if self._token is None:
            used = self._access.password.value
            try:
                self._token = await self._authenticate(used)
            except _AuthenticationOff:
                return None
            except _PasswordRefused:
                if not self._access.password.renewed(used):
                    raise
                self._token = await self._authenticate(self._access.password.value)
        return {"Authorization": self._token}

    async def _authenticate(self, password: str) -> str:
        body = json.dumps({"name": self._access.user, "password": password}).encode()
        answer = await self._answer(await self._members.send("POST", "/v3/auth/authenticate", body))
        return str(answer["token"])

    async def _answer(self, response: aiohttp.ClientResponse) -> dict[str, Any]:
        """Return the content of the response. Raises NotDone, Unsure or StoreError for a failure."""
        endpoint = origin(response)
        raw = await body_of(response)
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise OutcomeUnknown(f"{endpoint}: HTTP {response.status} without JSON: {raw[:60]!r}") from error
        if response.status == 200 and isinstance(body, dict):
            return body
        failure = _failure(endpoint, response.status, body if isinstance(body, dict) else {})
        if isinstance(failure, _TokenRefused):
            self._token = None
            if self._access.user is None:
                raise StoreError(f"{failure}: this etcd requires user and password")
        raise failure


def _failure(endpoint: str, status: int, body: dict[str, Any]) -> Exception:
    """Return the error that an answer other than 200 means for its request."""
    message = str(body.get("error") or body.get("message") or f"HTTP {status}")
    text = f"{endpoint}: {message}"
    if "etcdserver: no leader" in message:  # refused before the request is processed
        return NotDone(text)
    if "authentication is not enabled" in message:
        return _AuthenticationOff(text)
    if any(known in message for known in _TOKEN_ERRORS):
        return _TokenRefused(text)
    if "authentication failed" in message:
        return _PasswordRefused(text)
    if body.get("code", 2) in _UNAVAILABLE_CODES:
        return OutcomeUnknown(text)
    return StoreError(text)
