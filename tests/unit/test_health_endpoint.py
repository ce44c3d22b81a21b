"""The health endpoint on real sockets: what is answered, and until when."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from health.endpoint import Endpoint, EndpointError, GroupStatus, Limits, Status

LIVENESS = 20.0  # seconds; generous


@dataclass
class Node:
    """What the daemon would say, and the clock it would say it by."""

    now: float = 100.0
    groups: dict[str, GroupStatus] = field(default_factory=lambda: {"web": GroupStatus(None)})
    ready: bool = True
    live: bool = True
    detail: str = ""
    on_status: Callable[[], None] = lambda: None
    metrics: bytes = b"anyvip_up 1\n"

    def status(self) -> Status:
        self.on_status()
        return Status(self.groups, self.ready, self.live, self.detail)

    def serve(self, **until: float | None) -> None:
        self.groups = {group: GroupStatus(end) for group, end in until.items()}


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@asynccontextmanager
async def endpoint(
    node: Node, *, limits: Limits | None = None, listen: tuple[tuple[str, int], ...] = (("127.0.0.1", 0),)
) -> AsyncIterator[Endpoint]:
    served = Endpoint(
        listen=listen,
        paths={"/old/probe.html": "web"},
        status=node.status,
        clock=lambda: node.now,
        metrics=lambda: node.metrics,
        limits=limits,
    )
    await served.start()
    try:
        async with asyncio.timeout(LIVENESS):
            yield served
    finally:
        await served.close()


async def read_reply(reader: asyncio.StreamReader, *, head: bool = False) -> Reply:
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = b"" if head else await reader.readexactly(int(headers["content-length"]))
    assert start.startswith("HTTP/1.1 ")
    return Reply(int(start.split()[1]), headers, body)


async def ask(served: Endpoint, path: str, *, method: str = "GET") -> Reply:
    """One request on a connection of its own, which the endpoint ends."""
    reader, writer = await asyncio.open_connection(*served.addresses[0])
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    try:
        reply = await read_reply(reader, head=method == "HEAD")
        assert await reader.read() == b""  # nothing more, and the end
    finally:
        writer.close()
        await writer.wait_closed()
    return reply


async def exchange(served: Endpoint, sent: bytes, *, eof: bool = False) -> bytes:
    """Send raw bytes; return all that comes until the endpoint ends the connection."""
    reader, writer = await asyncio.open_connection(*served.addresses[0])
    try:
        writer.write(sent)
        if eof:
            writer.write_eof()
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
    finally:
        writer.transport.abort()


# --- what is answered ------------------------------------------------------------------------------------------------


async def test_200_only_while_the_grant_lasts() -> None:
    node = Node()
    async with endpoint(node) as served:
        assert (await ask(served, "/health")).status == 503
        node.serve(web=100.5)
        reply = await ask(served, "/health")
        assert (reply.status, reply.body) == (200, b"active\n")
        assert reply.headers["cache-control"] == "no-store"
        node.now = 100.5  # nobody told the endpoint anything: only time went on
        reply = await ask(served, "/health")
        assert (reply.status, reply.body) == (503, b"standby\n")


async def test_the_clock_is_read_after_everything_that_could_take_time() -> None:
    node = Node()
    node.serve(web=100.5)

    def take_long() -> None:
        node.now = 101.0

    node.on_status = take_long
    async with endpoint(node) as served:
        assert (await ask(served, "/health/web")).status == 503


@pytest.mark.parametrize(
    ("until", "overall"),
    [({"web": 101, "db": 101}, 200), ({"web": 101, "db": None}, 503), ({"web": 101, "db": 99}, 503), ({}, 503)],
)
async def test_health_is_200_only_if_every_group_is_served_here(until: dict[str, float], overall: int) -> None:
    node = Node()
    node.serve(**until)
    async with endpoint(node) as served:
        assert (await ask(served, "/health")).status == overall
        for group, end in until.items():
            assert (await ask(served, f"/health/{group}")).status == (200 if end == 101 else 503)


async def test_a_group_can_have_a_path_of_its_own() -> None:
    node = Node()
    node.serve(web=101, db=None)
    async with endpoint(node) as served:
        assert (await ask(served, "/old/probe.html")).status == 200
        node.serve(web=None, db=101)
        assert (await ask(served, "/old/probe.html")).status == 503


@pytest.mark.parametrize("path", ["/", "/health/", "/health/other", "/health/web/", "/Health", "/old", "/metrics/x"])
async def test_unknown_paths_and_groups_are_404_and_never_a_redirect(path: str) -> None:
    node = Node()
    node.serve(web=101)
    async with endpoint(node) as served:
        reply = await ask(served, path)
        assert reply.status == 404
        assert "location" not in reply.headers


@pytest.mark.parametrize("target", ["/health?probe=1", "http://lb.example:80/health", "/health/we%62", "/health/web?"])
async def test_query_absolute_form_and_escapes_are_understood(target: str) -> None:
    node = Node()
    node.serve(web=101)
    async with endpoint(node) as served:
        assert (await ask(served, target)).status == 200


async def test_live_and_ready_say_why_not() -> None:
    node = Node(ready=False, live=True, detail="the store does not answer")
    async with endpoint(node) as served:
        assert (await ask(served, "/livez")).status == 200
        reply = await ask(served, "/readyz")
        assert (reply.status, reply.body) == (503, b"not ready: the store does not answer\n")
        node.ready, node.live, node.detail = True, False, ""
        assert (await ask(served, "/livez")).status == 503
        assert (await ask(served, "/readyz")).body == b"ready\n"


async def test_metrics_are_prometheus_text() -> None:
    async with endpoint(Node()) as served:
        reply = await ask(served, "/metrics")
        assert (reply.status, reply.body) == (200, b"anyvip_up 1\n")
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize("path", ["/health", "/health/web", "/livez", "/readyz", "/metrics", "/nowhere"])
async def test_head_is_get_without_the_body(path: str) -> None:
    node = Node()
    node.serve(web=101)
    async with endpoint(node) as served:
        get = await ask(served, path)
        head = await ask(served, path, method="HEAD")  # asserts that nothing follows the headers
        assert (head.status, head.headers) == (get.status, get.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
async def test_other_methods_are_405(method: str) -> None:
    async with endpoint(Node()) as served:
        reply = await ask(served, "/health", method=method)
        assert reply.status == 405
        assert reply.headers["allow"] == "GET, HEAD"


async def test_a_status_that_cannot_be_had_is_503(caplog: pytest.LogCaptureFixture) -> None:
    node = Node()
    node.serve(web=101)

    def fail() -> None:
        raise RuntimeError("no status")

    async with endpoint(node) as served:
        node.on_status = fail
        assert [(await ask(served, "/health")).status for _ in range(3)] == [503] * 3
        assert len(caplog.records) == 1
        node.on_status = lambda: None
        assert (await ask(served, "/health")).status == 200


# --- HTTP as it is spoken --------------------------------------------------------------------------------------------


async def test_keep_alive_until_the_client_says_close() -> None:
    node = Node()
    node.serve(web=101)
    async with endpoint(node) as served:
        reader, writer = await asyncio.open_connection(*served.addresses[0])
        for _ in range(100):
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            reply = await read_reply(reader)
            assert (reply.status, reply.headers["connection"]) == (200, "keep-alive")
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await read_reply(reader)).headers["connection"] == "close"
        assert await reader.read() == b""
        writer.close()


async def test_http_1_0_closes_unless_asked_to_keep() -> None:
    node = Node()
    node.serve(web=101)
    async with endpoint(node) as served:
        assert b"200 OK" in await exchange(served, b"GET /health HTTP/1.0\r\n\r\n")
        reader, writer = await asyncio.open_connection(*served.addresses[0])
        for _ in range(2):
            writer.write(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert (await read_reply(reader)).headers["connection"] == "keep-alive"
        writer.close()


async def test_a_request_without_a_version_is_answered_and_that_was_all() -> None:
    node = Node()
    node.serve(web=101)
    async with endpoint(node) as served:
        assert b"200 OK" in await exchange(served, b"GET /health\r\n\r\n")


async def test_pipelined_requests_are_answered_in_order() -> None:
    node = Node()
    node.serve(web=101, db=None)
    asked = ["/health/web", "/health/db", "/nowhere"] * 100
    async with endpoint(node) as served:
        reader, writer = await asyncio.open_connection(*served.addresses[0])
        writer.write(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in asked))
        assert [(await read_reply(reader)).status for _ in asked] == [200, 503, 404] * 100
        writer.close()


async def test_what_was_asked_before_the_half_close_is_answered() -> None:
    node = Node()
    node.serve(web=101)
    async with endpoint(node) as served:
        answer = await exchange(served, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 50, eof=True)
        assert answer.count(b"HTTP/1.1 200 OK") == 50


async def test_a_request_byte_by_byte() -> None:
    node = Node()
    node.serve(web=101)
    async with endpoint(node) as served:
        reader, writer = await asyncio.open_connection(*served.addresses[0])
        for byte in b"GET /health/web HTTP/1.1\r\nHost: x\r\n\r\n":
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert (await read_reply(reader)).status == 200
        writer.close()


async def test_a_body_is_skipped_and_the_connection_goes_on() -> None:
    node = Node()
    node.serve(web=101)
    async with endpoint(node) as served:
        reader, writer = await asyncio.open_connection(*served.addresses[0])
        writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /")
        assert (await read_reply(reader)).status == 405
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert (await read_reply(reader)).status == 200
        writer.close()


async def test_an_upgrade_is_answered_as_if_it_had_not_been_asked_for() -> None:
    node = Node()
    node.serve(web=101)
    sent = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\n"
    async with endpoint(node) as served:
        answer = await exchange(served, sent)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_ipv4_and_ipv6_on_one_port() -> None:
    node = Node()
    node.serve(web=101)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with endpoint(node, listen=(("0.0.0.0", port), ("::", port))):
        for host in ("127.0.0.1", "::1"):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read_reply(reader)).status == 200
            writer.close()


# --- listening -------------------------------------------------------------------------------------------------------


async def test_an_address_in_use_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EndpointError, match=rf"health\.listen 127\.0\.0\.1:{port}: address already in use: .+port"):
            async with endpoint(Node(), listen=(("127.0.0.1", port),)):
                pass


async def test_all_addresses_or_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(EndpointError):
            async with endpoint(Node(), listen=(("127.0.0.1", free), taken.getsockname())):
                pass
        socket.create_server(("127.0.0.1", free)).close()


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("localhost", r"localhost:0: not a numeric address"),
        ("192.0.2.1", r"192\.0\.2\.1:0: cannot assign requested address: no interface"),
        ("2001:db8::1", r"\[2001:db8::1\]:0: cannot assign requested address"),
    ],
)
async def test_an_address_that_cannot_be_had(host: str, said: str) -> None:
    with pytest.raises(EndpointError, match=said):
        async with endpoint(Node(), listen=((host, 0),)):
            pass


async def test_reconfiguring_touches_only_what_differs() -> None:
    node = Node()
    node.serve(web=101)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        stays, goes = one.getsockname(), two.getsockname()
    async with endpoint(node, listen=(stays, goes)) as served:
        staying, leaving = await asyncio.open_connection(*stays), await asyncio.open_connection(*goes)
        for reader, writer in (staying, leaving):
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read_reply(reader)).status == 200
        wide = ("0.0.0.0", goes[1])  # cannot be had while 127.0.0.1 with the same port is ours
        await served.reconfigure(listen=[stays, wide], paths={"/new": "web"})
        assert served.addresses == [stays, wide]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await leaving[0].readexactly(1)
        staying[1].write(b"GET /new HTTP/1.1\r\nHost: x\r\n\r\nGET /old/probe.html HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [(await read_reply(staying[0])).status for _ in range(2)] == [200, 404]
        for _, writer in (staying, leaving):
            writer.close()


async def test_reconfiguring_to_what_cannot_be_had_changes_nothing() -> None:
    node = Node()
    node.serve(web=101)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as taken:
        mine = one.getsockname()
        one.close()
        async with endpoint(node, listen=(mine,)) as served:
            with pytest.raises(EndpointError, match="already in use"):
                await served.reconfigure(listen=[taken.getsockname()], paths={})
            assert served.addresses == [mine]
            assert (await ask(served, "/old/probe.html")).status == 200


async def test_closing_ends_every_connection() -> None:
    async with endpoint(Node()) as served:
        address = served.addresses[0]
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await read_reply(reader)
        await served.close()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
