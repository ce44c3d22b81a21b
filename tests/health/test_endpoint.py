"""The health endpoint on real sockets: its answers, and how long each is true."""

import asyncio

import pytest

from health.endpoint import Endpoint
from tests.lab.http.prober import GET, Node, active, ask, endpoint, read_reply


async def exchange(served: Endpoint, sent: bytes, *, eof: bool = False) -> bytes:
    """Sends raw bytes, and returns everything that the endpoint sends until it ends the connection."""
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


# --- the answers -----------------------------------------------------------------------------------------------------


async def test_200_only_while_the_grant_lasts() -> None:
    node = Node()
    async with endpoint(node) as served:
        assert (await ask(served.addresses[0], "/health")).status == 503
        node.serve(web=100.5)
        reply = await ask(served.addresses[0], "/health")
        assert (reply.status, reply.body) == (200, b"active\n")
        assert reply.headers["cache-control"] == "no-store"
        node.now = 100.5  # the endpoint learns nothing; only time passes
        reply = await ask(served.addresses[0], "/health")
        assert (reply.status, reply.body) == (503, b"standby\n")


async def test_the_clock_is_read_after_everything_that_could_take_time() -> None:
    node = Node()
    node.serve(web=100.5)

    def take_long() -> None:
        node.now = 101.0

    node.on_status = take_long
    async with endpoint(node) as served:
        assert (await ask(served.addresses[0], "/health/web")).status == 503


@pytest.mark.parametrize(
    ("until", "overall"),
    [({"web": 101, "db": 101}, 200), ({"web": 101, "db": None}, 503), ({"web": 101, "db": 99}, 503), ({}, 503)],
)
async def test_health_is_200_only_if_every_group_is_served_here(until: dict[str, float], overall: int) -> None:
    node = Node()
    node.serve(**until)
    async with endpoint(node) as served:
        assert (await ask(served.addresses[0], "/health")).status == overall
        for group, end in until.items():
            assert (await ask(served.addresses[0], f"/health/{group}")).status == (200 if end == 101 else 503)


async def test_a_group_can_have_a_path_of_its_own() -> None:
    node = Node()
    node.serve(web=101, db=None)
    async with endpoint(node) as served:
        assert (await ask(served.addresses[0], "/old/probe.html")).status == 200
        node.serve(web=None, db=101)
        assert (await ask(served.addresses[0], "/old/probe.html")).status == 503


@pytest.mark.parametrize("path", ["/", "/health/", "/health/other", "/health/web/", "/Health", "/old", "/metrics/x"])
async def test_unknown_paths_and_groups_are_404_and_never_a_redirect(path: str) -> None:
    async with endpoint(active()) as served:
        reply = await ask(served.addresses[0], path)
        assert reply.status == 404
        assert "location" not in reply.headers


@pytest.mark.parametrize("target", ["/health?probe=1", "http://lb.example:80/health", "/health/we%62", "/health/web?"])
async def test_query_absolute_form_and_escapes_are_understood(target: str) -> None:
    async with endpoint(active()) as served:
        assert (await ask(served.addresses[0], target)).status == 200


async def test_live_and_ready_say_why_not() -> None:
    node = Node(ready=False, live=True, detail="the store does not answer")
    async with endpoint(node) as served:
        assert (await ask(served.addresses[0], "/livez")).status == 200
        reply = await ask(served.addresses[0], "/readyz")
        assert (reply.status, reply.body) == (503, b"not ready: the store does not answer\n")
        node.ready, node.live, node.detail = True, False, ""
        assert (await ask(served.addresses[0], "/livez")).status == 503
        assert (await ask(served.addresses[0], "/readyz")).body == b"ready\n"


async def test_metrics_are_prometheus_text() -> None:
    async with endpoint(Node()) as served:
        reply = await ask(served.addresses[0], "/metrics")
        assert (reply.status, reply.body) == (200, b"anyvip_up 1\n")
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize("path", ["/health", "/health/web", "/livez", "/readyz", "/metrics", "/nowhere"])
async def test_head_is_get_without_the_body(path: str) -> None:
    async with endpoint(active()) as served:
        get = await ask(served.addresses[0], path)
        head = await ask(served.addresses[0], path, method="HEAD")  # asserts that nothing follows the headers
        assert (head.status, head.headers) == (get.status, get.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
async def test_other_methods_are_405(method: str) -> None:
    async with endpoint(Node()) as served:
        reply = await ask(served.addresses[0], "/health", method=method)
        assert reply.status == 405
        assert reply.headers["allow"] == "GET, HEAD"


async def test_a_status_that_cannot_be_had_is_503(caplog: pytest.LogCaptureFixture) -> None:
    node = Node()
    node.serve(web=101)

    def fail() -> None:
        raise RuntimeError("no status")

    async with endpoint(node) as served:
        node.on_status = fail
        assert [(await ask(served.addresses[0], "/health")).status for _ in range(3)] == [503] * 3
        assert len(caplog.records) == 1
        node.on_status = lambda: None
        assert (await ask(served.addresses[0], "/health")).status == 200


# --- HTTP on the wire ------------------------------------------------------------------------------------------------


async def test_keep_alive_until_the_client_says_close() -> None:
    async with endpoint(active()) as served:
        reader, writer = await asyncio.open_connection(*served.addresses[0])
        for _ in range(100):
            writer.write(GET)
            reply = await read_reply(reader)
            assert (reply.status, reply.headers["connection"]) == (200, "keep-alive")
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await read_reply(reader)).headers["connection"] == "close"
        assert await reader.read() == b""
        writer.close()


async def test_http_1_0_closes_unless_asked_to_keep() -> None:
    async with endpoint(active()) as served:
        assert b"200 OK" in await exchange(served, b"GET /health HTTP/1.0\r\n\r\n")
        reader, writer = await asyncio.open_connection(*served.addresses[0])
        for _ in range(2):
            writer.write(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert (await read_reply(reader)).headers["connection"] == "keep-alive"
        writer.close()


async def test_a_request_without_a_version_is_answered_and_that_was_all() -> None:
    async with endpoint(active()) as served:
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
    async with endpoint(active()) as served:
        answer = await exchange(served, GET * 50, eof=True)
        assert answer.count(b"HTTP/1.1 200 OK") == 50


async def test_a_request_byte_by_byte() -> None:
    async with endpoint(active()) as served:
        reader, writer = await asyncio.open_connection(*served.addresses[0])
        for byte in b"GET /health/web HTTP/1.1\r\nHost: x\r\n\r\n":
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert (await read_reply(reader)).status == 200
        writer.close()


async def test_a_body_is_skipped_and_the_connection_goes_on() -> None:
    async with endpoint(active()) as served:
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
