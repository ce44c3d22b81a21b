"""The http check: one GET on a new connection. Only the status of the answer counts."""

from __future__ import annotations

import asyncio
import functools
import ssl
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlsplit

import httptools

from health.connect import CheckFailed, open_connection
from health.options import HttpCheck, status_ranges

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_LONGEST = 65536  # bytes of status line and headers
_SAFE = "/?:@!$&'()*+,;=~-._%"  # the characters that stay unescaped in a request target


async def http(options: HttpCheck) -> None:
    """Request the URL. Raises CheckFailed, OSError or ssl.SSLError. The caller sets the time limit."""
    url = urlsplit(options.url)
    secure = url.scheme == "https"
    host = cast("str", url.hostname)  # the options check that there is one
    connection = await open_connection(host, url.port or (443 if secure else 80))
    reply = _Reply()
    transport = None
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: reply,
            sock=connection,
            ssl=tls(options.tls_verify) if secure else None,
            server_hostname=host if secure else None,
        )
        transport.write(_request(url, options))
        status = await reply.status
    finally:
        if transport is None:
            connection.close()
        else:
            transport.abort()  # do not read the body
    if not any(status in expected for expected in status_ranges(options.status)):
        raise CheckFailed(f"status {status}, expected {options.status}")


class _Reply(asyncio.Protocol):
    """Reads up to the end of the final headers."""

    def __init__(self) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._received = 0

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, and fail when they are not a bounded HTTP answer."""
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("switched to another protocol")
        except httptools.HttpParserError:
            self._fail("the answer is not HTTP")
        if self._received > _LONGEST:
            self._fail(f"no end of the headers in {_LONGEST} bytes")

    def on_headers_complete(self) -> None:
        """Take the status, unless it is an interim one (RFC 9110, section 15.2)."""
        status = self._parser.get_status_code()
        if status >= 200 and not self.status.done():
            self.status.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if the status has not come."""
        self._fail(f"connection lost: {exc}" if exc else "connection closed without an answer")

    def _fail(self, why: str) -> None:
        if not self.status.done():
            self.status.set_exception(CheckFailed(why))
            self.status.exception()  # marks it as retrieved, in case no caller waits any more


def _request(url: SplitResult, options: HttpCheck) -> bytes:
    headers = {"host": ("Host", _host(url)), "user-agent": ("User-Agent", "anyvip"), "accept": ("Accept", "*/*")}
    headers |= {name.lower(): (name, value) for name, value in options.headers.items()}
    headers["connection"] = ("Connection", "close")
    target = quote(url.path or "/", safe=_SAFE) + (f"?{quote(url.query, safe=_SAFE)}" if url.query else "")
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.values()), "", ""]
    return "\r\n".join(lines).encode("ascii")


def _host(url: SplitResult) -> str:
    name = cast("str", url.hostname)
    shown = f"[{name}]" if ":" in name else name.encode("idna").decode()
    return f"{shown}:{url.port}" if url.port else shown


@functools.cache  # making one reads the certificates of all authorities
def tls(verify: bool) -> ssl.SSLContext:
    """Return a TLS context. With `verify`, certificates must be valid by the system's authorities."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
