"""One way into an etcd cluster: its JSON gateway over kept-alive HTTP connections, several endpoints, one deadline.

What happens to a request decides what may be done about it:

- It had no effect for certain (`_NoEffect`): no connection, or the member says that it has no leader or does not know
  our token. Another endpoint is asked at once, and all of them again until the deadline.
- Its effect is not known (`_Unsure`): the connection broke under it, or etcd says that it timed out or changed
  leaders. Only a request that may be repeated is; for others it is a StoreError.
- Nothing came in time: StoreError, and the next request begins with the next endpoint.

Every request asks its member to refuse when it has no leader (gRPC metadata `hasleader`, as a header that the gateway
passes on), so that a member cut off from the others is left at once, and a watch on it ends, instead of waiting.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from controller.lease import StoreError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence

_HEADERS = {"Content-Type": "application/json", "Grpc-Metadata-hasleader": "true"}
_FIRST_PAUSE_SECONDS = 0.01  # after all endpoints were asked in vain; doubled each time
_LONGEST_PAUSE_SECONDS = 0.2
_IDLE_CONNECTION_SECONDS = 300.0
_UNAVAILABLE_CODES = {1, 2, 4, 13, 14}  # cancelled, unknown, deadline, internal, unavailable: google.rpc.Code
_TOKEN_ERRORS = ("invalid auth token", "user name is empty", "revision of auth store is old")


class _NoEffect(Exception):  # noqa: N818  (what is known of a request)
    """The request was not carried out and never will be."""


class _TokenRefused(_NoEffect):
    """The same, because etcd does not know the token (any more)."""


class _AuthenticationOff(_NoEffect):
    """The same, because this etcd knows no users."""


class _Unsure(StoreError):  # noqa: N818  (the same)
    """The request may have been carried out."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the cluster and who asks. `tls` None: plain HTTP; `user` None: etcd without authentication."""

    endpoints: Sequence[str]
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    user: str | None = None
    password: str = ""


class Gateway:
    """Requests to whichever member answers. Every one ends within `call_timeout` seconds."""

    def __init__(self, access: Access, call_timeout: float) -> None:
        self._access = access
        self._call_timeout = call_timeout
        self._endpoints = [endpoint.rstrip("/") for endpoint in access.endpoints]
        self._urls: dict[tuple[int, str], URL] = {}
        self._at = 0
        self._token: str | None = None
        self._http: aiohttp.ClientSession | None = None
        self._streams: set[aiohttp.ClientResponse] = set()
        self.closed = False

    async def call(self, path: str, body: object, *, repeatable: bool) -> dict[str, Any]:
        """The answer to a request. `repeatable`: asking twice does no harm. Raises StoreError."""
        data = json.dumps(body, separators=(",", ":")).encode()
        at, refusal = self._at, ""
        try:
            async with asyncio.timeout(self._call_timeout):
                pause = _FIRST_PAUSE_SECONDS
                while True:
                    for _ in self._endpoints:
                        at = self._at
                        try:
                            return await self._ask(path, data)
                        except (_NoEffect, _Unsure) as error:
                            self._leave(at)
                            if isinstance(error, _Unsure) and not repeatable:
                                raise
                            refusal = str(error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        except TimeoutError as error:
            self._leave(at)
            raise StoreError(refusal or f"{self._endpoints[at]}: no answer within {self._call_timeout:g} s") from error

    @asynccontextmanager
    async def stream(self, path: str, body: object) -> AsyncIterator[aiohttp.StreamReader]:
        """An answer without end, closed when its endpoint is left. Raises StoreError, also while it is read."""
        at = self._at
        try:
            async with asyncio.timeout(self._call_timeout):
                response = await self._post(path, json.dumps(body).encode())
                if response.status != 200:
                    await self._answer(response)
        except (_NoEffect, _Unsure, TimeoutError) as error:
            self._leave(at)
            raise StoreError(str(error) or f"{self._endpoints[at]}: no answer") from error
        self._streams.add(response)
        try:
            yield response.content
        except (aiohttp.ClientError, OSError) as error:
            raise StoreError(f"{self._endpoints[at]}: {error}") from error
        finally:
            self._streams.discard(response)
            response.close()

    async def close(self) -> None:
        """Give the connections back; streams end."""
        self.closed = True
        self._close_streams()
        if self._http is not None:
            await self._http.close()

    async def _ask(self, path: str, data: bytes) -> dict[str, Any]:
        """The answer of the endpoint we are at; with a new token if it does not know ours."""
        try:
            return await self._answer(await self._post(path, data))
        except _TokenRefused:
            return await self._answer(await self._post(path, data))

    async def _post(self, path: str, data: bytes) -> aiohttp.ClientResponse:
        headers = await self._authorization() if self._access.user else None
        return await self._send(path, data, headers)

    async def _authorization(self) -> dict[str, str] | None:
        if self._token is None:
            body = json.dumps({"name": self._access.user, "password": self._access.password}).encode()
            try:
                answer = await self._answer(await self._send("/v3/auth/authenticate", body, None))
            except _AuthenticationOff:
                return None
            self._token = str(answer["token"])
        return {"Authorization": self._token}

    async def _send(self, path: str, data: bytes, headers: dict[str, str] | None) -> aiohttp.ClientResponse:
        at = self._at
        try:
            return await self._session().post(
                self._url(at, path),
                data=data,
                headers=headers,
                allow_redirects=False,
                server_hostname=self._access.server_name,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _NoEffect(f"{self._endpoints[at]}: {_reason(error)}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Unsure(f"{self._endpoints[at]}: {_reason(error)}") from error

    async def _answer(self, response: aiohttp.ClientResponse) -> dict[str, Any]:
        """What the response holds. Raises what its failure means."""
        endpoint = str(response.url.origin())
        try:
            async with response:
                raw = await response.read()
            body = json.loads(raw)
        except (aiohttp.ClientError, OSError) as error:
            raise _Unsure(f"{endpoint}: {_reason(error)}") from error
        except (ValueError, RecursionError) as error:
            raise _Unsure(f"{endpoint}: HTTP {response.status} without JSON: {raw[:60]!r}") from error
        if response.status == 200 and isinstance(body, dict):
            return body
        failure = _failure(endpoint, response.status, body if isinstance(body, dict) else {})
        if isinstance(failure, _TokenRefused):
            self._token = None
            if self._access.user is None:
                raise StoreError(f"{failure}: this etcd wants a user and a password")
        raise failure

    def _session(self) -> aiohttp.ClientSession:
        if self.closed:
            raise StoreError("this store is closed")
        if self._http is None:
            connector = aiohttp.TCPConnector(
                ssl=self._access.tls or True,
                keepalive_timeout=_IDLE_CONNECTION_SECONDS,
            )
            connect_seconds = self._call_timeout / (len(self._endpoints) + 1)  # so that one that is dark costs a share
            self._http = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
                headers=_HEADERS,
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._http

    def _url(self, at: int, path: str) -> URL:
        url = self._urls.get((at, path))
        if url is None:
            url = self._urls[at, path] = URL(self._endpoints[at] + path)
        return url

    def _leave(self, at: int) -> None:
        """Ask another endpoint than this one from now on."""
        if self._at == at:
            self._at = (at + 1) % len(self._endpoints)
            self._close_streams()

    def _close_streams(self) -> None:
        for response in self._streams:
            response.close()


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientSSLError):
        return str(error.os_error)
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if number and number > 0 else str(error) or type(error).__name__


def _failure(endpoint: str, status: int, body: dict[str, Any]) -> Exception:
    """What an answer other than 200 says of its request."""
    message = str(body.get("error") or body.get("message") or f"HTTP {status}")
    text = f"{endpoint}: {message}"
    if "etcdserver: no leader" in message:  # said before the request is looked at
        return _NoEffect(text)
    if "authentication is not enabled" in message:
        return _AuthenticationOff(text)
    if any(known in message for known in _TOKEN_ERRORS):
        return _TokenRefused(text)
    if body.get("code", 2) in _UNAVAILABLE_CODES:
        return _Unsure(text)
    return StoreError(text)
