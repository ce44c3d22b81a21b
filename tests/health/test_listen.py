"""The addresses on which the health endpoint listens, and how a reload changes them."""

import asyncio
import socket

import pytest

from health.endpoint import EndpointError
from tests.lab.http.prober import GET, Node, ask, endpoint, read_reply


async def test_ipv4_and_ipv6_on_one_port() -> None:
    node = Node()
    node.serve(web=101)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with endpoint(node, listen=(("0.0.0.0", port), ("::", port))):
        for host in ("127.0.0.1", "::1"):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(GET)
            assert (await read_reply(reader)).status == 200
            writer.close()


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
        ("fe80::1", r"\[fe80::1\]:0: invalid argument"),
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
            writer.write(GET)
            assert (await read_reply(reader)).status == 200
        wide = ("0.0.0.0", goes[1])  # cannot be bound while 127.0.0.1 with the same port is
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
            assert (await ask(served.addresses[0], "/old/probe.html")).status == 200


async def test_closing_ends_every_connection() -> None:
    async with endpoint(Node()) as served:
        address = served.addresses[0]
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        await read_reply(reader)
        await served.close()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
