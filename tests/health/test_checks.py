"""Each kind of check, with real sockets, TLS, processes and ICMP, and with a resolver that hangs."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from health import web
from health.checks import failure
from health.options import CommandCheck, HttpCheck, PingCheck, TcpCheck
from tests.lab.host.processes import LIVENESS
from tests.lab.http.listening import listening

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def server(reply: Reply, **options: Any) -> AsyncIterator[int]:
    """Runs a server on loopback and yields its port. Its connections end with it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reply(reader, writer)
        finally:
            writer.transport.abort()

    async with listening(serve, **options) as (_, port):
        yield port


def says(answer: bytes, seen: list[str] | None = None) -> Reply:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(request.decode())
        writer.write(answer)
        await writer.drain()
        await reader.read()  # until the check ends the connection

    return reply


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def closing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def get(port: int, path: str = "/", **options: Any) -> HttpCheck:
    return HttpCheck(type="http", url=f"http://127.0.0.1:{port}{path}", **{"timeout_seconds": LIVENESS, **options})


def reach(target: str, **options: Any) -> TcpCheck:
    return TcpCheck(type="tcp", target=target, **{"timeout_seconds": LIVENESS, **options})


# --- tcp -------------------------------------------------------------------------------------------------------------


async def test_tcp() -> None:
    async with server(silent) as port:
        assert await failure(reach(f"127.0.0.1:{port}")) is None
        assert await failure(reach(f"localhost:{port}")) is None
    assert await failure(reach(f"127.0.0.1:{a_free_port()}")) == "connection refused"


async def test_tcp_with_nobody_answering() -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):  # its queue is full, so the kernel drops new connections
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        check = reach(f"127.0.0.1:{full.getsockname()[1]}", timeout_seconds=0.2)
        assert await failure(check) == "no result within 0.2 s"


async def test_a_name_that_does_not_exist() -> None:
    assert await failure(reach("no-such-host.invalid:80")) in (
        "name or service not known",
        "temporary failure in name resolution",
    )


# --- http ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200-399", None),
        (b"HTTP/1.0 204 No Content\r\n\r\n", "200-399", None),
        (b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n", "200-399", None),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "200-299", "status 302, expected 200-299"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "200-399", "status 404, expected 200-399"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "200,503", None),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 500 No\r\n\r\n", "200", "status 500, expected 200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + b"x" * 100_000, "200", None),
        (b"SSH-2.0-OpenSSH\r\n", "200", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "200", "no end of the headers in 65536 bytes"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "200", "another protocol"),
    ],
)
async def test_http_looks_at_the_status_and_nothing_else(answer: bytes, expected: str, said: str | None) -> None:
    async with server(says(answer)) as port:
        why = await failure(get(port, status=expected))
        assert why == said or (said and why and said in why)


async def test_http_asks_as_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{a_free_port()}")
    seen: list[str] = []
    async with server(says(b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", seen)) as port:
        assert await failure(get(port, "/a/ä?q=1%20", headers={"host": "app.example", "X-Check": "1"})) is None
    assert len(seen) == 1
    first, *headers = seen[0].strip().split("\r\n")
    assert first == "GET /a/%C3%A4?q=1%20 HTTP/1.1"
    assert sorted(headers) == [
        "Accept: */*",
        "Connection: close",
        "User-Agent: anyvip",
        "X-Check: 1",
        "host: app.example",
    ]


async def test_http_to_a_name_says_the_name() -> None:
    seen: list[str] = []
    async with server(says(b"HTTP/1.1 200 OK\r\n\r\n", seen)) as port:
        assert await failure(HttpCheck(type="http", url=f"http://localhost:{port}", timeout_seconds=LIVENESS)) is None
    assert seen[0].startswith(f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\n")


@pytest.mark.parametrize(
    ("reply", "limit", "said"),
    [(silent, 0.2, "no result within 0.2 s"), (closing, LIVENESS, "connection closed without an answer")],
)
async def test_http_without_an_answer(reply: Reply, limit: float, said: str) -> None:
    async with server(reply) as port:
        why = await failure(get(port, timeout_seconds=limit))
        assert why == said or (reply is closing and why and why.startswith("connection lost"))


async def test_http_whose_answer_drips() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(drip) as port:
        assert await failure(get(port, timeout_seconds=0.3)) == "no result within 0.3 s"


async def test_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    async with server(says(b"HTTP/1.1 200 OK\r\n\r\n"), ssl=context) as port:
        url = f"https://127.0.0.1:{port}/"
        verified = HttpCheck(type="http", url=url, timeout_seconds=LIVENESS)
        web.tls.cache_clear()
        assert str(await failure(verified)).startswith("certificate not valid: ")
        assert await failure(HttpCheck(type="http", url=url, tls_verify=False, timeout_seconds=LIVENESS)) is None
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        web.tls.cache_clear()
        assert await failure(verified) is None
        other = HttpCheck(type="http", url=f"https://localhost:{port}/", timeout_seconds=LIVENESS)
        assert "localhost" in str(await failure(other))
    web.tls.cache_clear()


async def test_https_where_nobody_shakes_hands() -> None:
    async with server(silent) as port:
        check = HttpCheck(type="http", url=f"https://127.0.0.1:{port}/", tls_verify=False, timeout_seconds=0.3)
        assert await failure(check) == "no result within 0.3 s"


# --- command ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 0", None),
        ("echo all is well; exit 0", None),
        ("exit 2", "exit status 2"),
        ("echo looking; echo disk is full >&2; exit 1", "exit status 1: disk is full"),
        ("sleep 1000 & wait", "no result within 0.3 s"),
        ("kill $$", "ended by signal 15"),
    ],
)
async def test_command(script: str, said: str | None) -> None:
    limit = 0.3 if "1000" in script else LIVENESS
    assert await failure(CommandCheck(type="command", argv=("/bin/sh", "-c", script), timeout_seconds=limit)) == said


async def test_a_command_that_is_not_there() -> None:
    check = CommandCheck(type="command", argv=("/nonexistent/check",), timeout_seconds=LIVENESS)
    assert await failure(check) == "cannot be started: no such file or directory"


# --- ping ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["127.0.0.1", "::1", "localhost"])
async def test_ping(target: str) -> None:
    why = await failure(PingCheck(type="ping", target=target, timeout_seconds=LIVENESS))
    if why is not None and "CAP_NET_RAW" in why:
        pytest.skip(why)
    assert why is None
