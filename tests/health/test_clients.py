"""Bad clients of the health endpoint: slow, silent, malformed, greedy, not reading. The others get answers."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from health.endpoint import Endpoint, Limits
from tests.lab.host.processes import until
from tests.lab.http.prober import GET, active, endpoint

METRICS = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
BIG = b"# " + b"x" * 8_000_000 + b"\n"  # more than the kernel buffers for a client that does not read


class Client:
    """A socket without a background reader: bytes that are not received stay in the kernel."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.socket, data)

    async def receive(self, size: int = 1 << 20) -> bytes:
        """Returns the bytes that are there, at least one; none after the end of the stream or a reset."""
        try:
            return await self.loop.sock_recv(self.socket, size)
        except ConnectionResetError:
            return b""

    async def rest(self) -> bytes:
        parts = []
        while part := await self.receive():
            parts.append(part)
        return b"".join(parts)

    async def send_until_dropped(self, data: bytes, *, meanwhile: Callable[[], Awaitable[None]]) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self.send(data)
                await meanwhile()

    async def status(self) -> int:
        await self.send(GET)
        return int((await self.receive()).split(None, 2)[1])


@contextlib.asynccontextmanager
async def client(served: Endpoint, *, receive_buffer: int | None = None) -> AsyncIterator[Client]:
    with socket.socket() as connection:
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, served.addresses[0])
        yield Client(connection)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client hello
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00" * 100,
        b"GET\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /health HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_with_400_and_the_end(sent: bytes) -> None:
    async with endpoint(active()) as served, client(served) as bad:
        await bad.send(sent)
        assert (await bad.rest()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        async with client(served) as good:
            assert await good.status() == 200


async def test_good_requests_before_a_bad_one_are_answered() -> None:
    async with endpoint(active()) as served, client(served) as bad:
        await bad.send(GET * 3 + b"\x00\x00\r\n\r\n" + GET)
        answer = await bad.rest()
        assert (answer.count(b" 200 OK"), answer.count(b" 400 Bad Request")) == (3, 1)


async def test_noise_never_makes_a_200_and_never_an_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(7)
    async with endpoint(active()) as served:
        for _ in range(300):
            noise = bytearray(b"GET /other HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            for _ in range(rng.randrange(1, 8)):
                noise[rng.randrange(len(noise))] = rng.randrange(256)
            async with client(served) as bad:
                await bad.send(bytes(noise[: rng.randrange(1, len(noise) + 1)]))
                bad.socket.shutdown(socket.SHUT_WR)
                assert b" 200 OK" not in await bad.rest()
        async with client(served) as good:
            assert await good.status() == 200
    assert caplog.records == []


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * 100_000,
        b"GET /health HTTP/1.1\r\nX: " + b"x" * 100_000,
        b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 20_000,
        b"GET /health HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000,
    ],
)
async def test_a_request_that_is_too_large_is_refused(sent: bytes) -> None:
    async with endpoint(active()) as served, client(served) as bad:
        with contextlib.suppress(ConnectionError):
            await bad.send(sent)
        assert (await bad.rest()).startswith(b"HTTP/1.1 431 ")


async def test_a_client_that_drips_is_dropped_and_nobody_waits_for_it() -> None:
    async with endpoint(active(), limits=Limits(request_seconds=0.5)) as served, client(served) as slow:
        await slow.send(b"GET /health HTTP/1.1\r\nX-Slow: ")

        async def answer_another() -> None:
            async with client(served) as good:
                assert await good.status() == 200
            await asyncio.sleep(0.05)

        await slow.send_until_dropped(b"x", meanwhile=answer_another)


@pytest.mark.parametrize("limits", [Limits(request_seconds=1.2), Limits(idle_seconds=1.2)])
async def test_a_silent_client_is_dropped(limits: Limits) -> None:
    async with endpoint(active(), limits=limits) as served, client(served) as silent:
        if limits.idle_seconds < limits.request_seconds:
            assert await silent.status() == 200
        assert await silent.rest() == b""


async def test_with_too_many_connections_the_longest_idle_one_goes() -> None:
    async with endpoint(active(), limits=Limits(connections=3)) as served, contextlib.AsyncExitStack() as stack:
        oldest, second, third = [await stack.enter_async_context(client(served)) for _ in range(3)]
        for one in (oldest, second, third, oldest):
            assert await one.status() == 200
        newcomer = await stack.enter_async_context(client(served))
        assert await newcomer.status() == 200
        assert await second.rest() == b""
        assert [await one.status() for one in (oldest, third, newcomer)] == [200] * 3


async def test_hundreds_of_connections_at_once() -> None:
    async def probe(served: Endpoint) -> int:
        async with client(served) as one:
            return await one.status()

    async with endpoint(active()) as served:
        statuses = await asyncio.gather(*(probe(served) for _ in range(400)))
        assert statuses == [200] * 400


async def test_who_asks_without_reading_is_cut_off() -> None:
    patient = Limits(request_seconds=1000, idle_seconds=1000)  # so that slowness is not what drops it
    async with endpoint(active(), limits=patient) as served, client(served, receive_buffer=4096) as greedy:
        # After that nothing of ours waits for the client: neither answers nor requests.
        await greedy.send_until_dropped(GET * 1000, meanwhile=lambda: asyncio.sleep(0))
        async with client(served) as good:
            assert await good.status() == 200


async def test_no_200_waits_for_a_client_that_does_not_read() -> None:
    """The answer to /health must not be rendered while the previous one still waits to be sent."""
    node = active()
    node.metrics = BIG
    async with endpoint(node) as served, client(served) as slow:
        await slow.send(METRICS + GET)
        async with client(served) as good:
            assert await good.status() == 200
            node.now = 102.0
            assert await good.status() == 503
        answer = b""
        while not answer.endswith(b"\r\n\r\nstandby\n"):
            part = await slow.receive()
            assert part
            answer += part
        assert BIG in answer
        assert b"active" not in answer


async def test_nothing_is_rendered_while_something_waits() -> None:
    node = active()
    waiting: list[int] = []
    async with endpoint(node) as served, client(served, receive_buffer=4096) as greedy:

        def look() -> None:
            waiting.extend(one._transport.get_write_buffer_size() for one in served._connections._all)

        node.on_status = look
        await greedy.send_until_dropped(GET * 1000, meanwhile=lambda: asyncio.sleep(0))
    assert len(waiting) > 1000
    assert set(waiting) == {0}


async def test_requests_do_not_pile_up_behind_an_answer_that_waits() -> None:
    node = active()
    node.metrics = BIG
    async with endpoint(node) as served, client(served) as greedy:
        await greedy.send(METRICS)
        sending = asyncio.create_task(greedy.send(GET * 1_000_000))
        await until(lambda: any(one._asked for one in served._connections._all))
        await asyncio.sleep(1.0)
        (one,) = served._connections._all
        assert not sending.done()
        assert 0 < len(one._asked) < 300  # about as many as one chunk holds
        sending.cancel()


async def test_who_never_reads_is_dropped_in_time() -> None:
    node = active()
    node.metrics = BIG
    async with endpoint(node, limits=Limits(request_seconds=0.5)) as served, client(served) as stuck:
        await stuck.send(METRICS)
        await stuck.send_until_dropped(b"\r\n", meanwhile=lambda: asyncio.sleep(0.1))


async def test_requests_after_the_last_one_are_not_answered() -> None:
    last = GET.replace(b"Host: x", b"Connection: close")
    async with endpoint(active()) as served, client(served) as one:
        await one.send(GET + last + GET * 5)
        answer = await one.rest()
        assert (answer.count(b"HTTP/1.1 200 OK"), answer.count(b"HTTP/1.1 ")) == (2, 2)


async def test_a_client_that_resets_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with endpoint(active()) as served:
        for _ in range(20):
            async with client(served) as rude:
                await rude.send(GET * 10)
                rude.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        async with client(served) as good:
            assert await good.status() == 200
    assert caplog.records == []
