"""The local API on a real socket."""

# ruff: noqa: ASYNC240  (the files are small, and nothing else waits for the loop)

from __future__ import annotations

import asyncio
import grp
import json
import os
import pwd
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.api.client import Client, Declined, NotThere
from controller.api.server import SWITCHOVER_SECONDS, AdminApi, Code, PauseRequest, RequestRefused, _user
from controller.api.socket import AdminError, SocketAccess, claim
from controller.api.status import NodeStatus
from tests.lab.host.processes import LIVENESS, until
from tests.lab.node.desk import Desk, entry, serving, status


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "anyvip.sock"


async def get(client: Client, what: str) -> Any:
    return await asyncio.to_thread(client.get, what)


async def post(client: Client, what: str, body: object) -> Any:
    return await asyncio.to_thread(client.post, what, body, LIVENESS)


async def test_status_and_history(path: Path) -> None:
    async with serving(Desk(), path) as client:
        assert await get(client, "/v1/status") == status()
        assert [one["group"] for one in await get(client, "/v1/history")] == ["web", "db"]
        assert await get(client, "/v1/history?group=db") == [entry("db")]
        assert await get(client, "/v1/history?group=other") == []


async def test_what_is_asked_reaches_the_control(path: Path) -> None:
    desk = Desk()
    async with serving(desk, path) as client:
        assert await post(client, "/v1/switchover", {"group": "web", "to": "n2"}) == {
            "group": "web",
            "before": "n1",
            "to": "n2",
            "epoch": 13,
            "seconds": 0.0123,
        }
        await post(client, "/v1/switchover", {"group": "web"})
        assert await post(client, "/v1/pause", {}) == {"paused": True}
        assert await post(client, "/v1/resume", {}) == {"paused": False}
        body = {"for_seconds": 7200, "reason": " kernel upgrade "}
        assert await post(client, "/v1/pause", body) == {"paused": True}
    me = pwd.getpwuid(os.getuid()).pw_name
    assert desk.asked == [
        ("web", "n2", SWITCHOVER_SECONDS),
        ("web", None, SWITCHOVER_SECONDS),
        PauseRequest(paused=True, by=me),
        PauseRequest(paused=False, by=me),
        PauseRequest(True, 7200.0, "kernel upgrade", me),
    ]


@pytest.mark.parametrize("code", [Code.UNKNOWN_GROUP, Code.NOT_HEALTHY, Code.ALREADY_ACTIVE, Code.PAUSED])
async def test_a_refusal_has_a_code_and_a_message(path: Path, code: Code) -> None:
    desk = Desk()
    desk.refusal = RequestRefused(code, "why not")
    async with serving(desk, path) as client:
        with pytest.raises(Declined, match=r"^why not$") as caught:
            await post(client, "/v1/switchover", {"group": "web", "to": "n2"})
        assert caught.value.code == code
        with pytest.raises(Declined, match=r"^why not$"):
            await post(client, "/v1/pause", {})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "the body is not a JSON object"),
        ({}, "group must be the name of a group"),
        ({"group": 5}, "group must be the name of a group"),
        ({"group": "web", "to": 5}, "to must be the name of a node, or null"),
        ({"group": "web", "too": "n2"}, "unknown key 'too'; allowed: group, to, timeout_seconds"),
        ({"group": "web", "timeout_seconds": 0}, "timeout_seconds must be above 0 and at most 600"),
        ({"group": "web", "timeout_seconds": 601}, "timeout_seconds must be above 0 and at most 600"),
        ({"group": "web", "timeout_seconds": "5"}, "timeout_seconds must be above 0 and at most 600"),
        ({"group": "web" * 30000}, "Request Entity Too Large"),
    ],
)
async def test_a_bad_request_reaches_nobody(path: Path, body: object, message: str) -> None:
    desk = Desk()
    async with serving(desk, path) as client:
        with pytest.raises(Declined) as caught:
            await post(client, "/v1/switchover", body)
    assert (caught.value.code, str(caught.value)) == (Code.BAD_REQUEST, message)
    assert desk.asked == []


async def test_what_the_daemon_does_not_know(path: Path) -> None:
    async with serving(Desk(), path) as client:
        for ask in (get(client, "/v2/status"), get(client, "/v1/pause"), post(client, "/v1/status", {})):
            with pytest.raises(Declined, match="this daemon does not answer") as caught:
                await ask
            assert caught.value.code == Code.UNKNOWN_PATH


async def test_a_body_that_is_not_json(path: Path) -> None:
    async with serving(Desk(), path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"POST /v1/switchover HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{a}")
        answer = await asyncio.wait_for(reader.read(), LIVENESS)
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body) == {"error": {"code": "bad-request", "message": "the body is not JSON"}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"for": 5}, "unknown key 'for'; allowed: for_seconds, reason"),
        ({"for_seconds": 0}, "for_seconds must be from 1 to 2592000, or null"),
        ({"for_seconds": 2592001}, "for_seconds must be from 1 to 2592000, or null"),
        ({"for_seconds": True}, "for_seconds must be from 1 to 2592000, or null"),
        ({"for_seconds": "2h"}, "for_seconds must be from 1 to 2592000, or null"),
        ({"reason": "a\nb"}, "reason must be one line of at most 200 printable characters"),
        ({"reason": "a" * 201}, "reason must be one line of at most 200 printable characters"),
        ({"reason": 5}, "reason must be one line of at most 200 printable characters"),
    ],
)
async def test_a_bad_pause_reaches_nobody(path: Path, body: object, message: str) -> None:
    desk = Desk()
    async with serving(desk, path) as client:
        with pytest.raises(Declined) as caught:
            await post(client, "/v1/pause", body)
    assert (caught.value.code, str(caught.value)) == (Code.BAD_REQUEST, message)
    assert desk.asked == []


async def test_a_pause_needs_no_body(path: Path) -> None:
    desk = Desk()
    async with serving(desk, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"POST /v1/pause HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), LIVENESS)
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [request.paused for request in desk.asked] == [True]


async def test_a_client_that_hangs_up_withdraws_its_request(path: Path) -> None:
    desk = Desk()
    desk.hold.clear()
    async with serving(desk, path):
        _, writer = await asyncio.open_unix_connection(path)
        body = b'{"group": "web"}'
        head = f"POST /v1/switchover HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await until(lambda: bool(desk.asked))
        writer.close()
        await writer.wait_closed()
        await until(lambda: desk.given_up == 1)


def test_a_user_without_a_name_is_shown_by_number() -> None:
    assert _user(2**31 - 7) == f"uid {2**31 - 7}"
    assert _user(None) == "unknown"


async def test_a_switchover_that_takes_too_long(path: Path) -> None:
    desk = Desk()
    desk.refusal = RequestRefused(Code.TIMEOUT, "n2 does not serve web within 0.05 s; the request is withdrawn")
    async with serving(desk, path) as client:
        with pytest.raises(Declined, match="the request is withdrawn") as caught:
            await post(client, "/v1/switchover", {"group": "web", "to": "n2", "timeout_seconds": 0.05})
        assert caught.value.code == Code.TIMEOUT
    assert desk.asked == [("web", "n2", 0.05)]


async def test_a_bug_is_one_line_for_the_asker_and_a_traceback_in_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Desk):
        def status(self) -> NodeStatus:
            raise ZeroDivisionError

    async with serving(Broken(), path) as client:
        with pytest.raises(Declined, match="its log says why") as caught:
            await get(client, "/v1/status")
        assert (await get(client, "/v1/history"))[0]["group"] == "web"
    assert caught.value.code == Code.INTERNAL
    assert "ZeroDivisionError" in caplog.text


async def test_requests_do_not_wait_for_a_switchover(path: Path) -> None:
    desk = Desk()
    desk.hold.clear()
    async with serving(desk, path) as client:
        moving = asyncio.create_task(post(client, "/v1/switchover", {"group": "web", "to": "n2"}))
        await until(lambda: bool(desk.asked))
        assert await get(client, "/v1/status") == status()
        assert not moving.done()
        desk.hold.set()
        assert (await moving)["to"] == "n2"


# --- the socket --------------------------------------------------------------------------------------------------


async def test_mode_and_group_are_set_and_the_socket_goes_with_the_daemon(path: Path) -> None:
    group = grp.getgrgid(os.getgroups()[-1] if os.getgroups() else os.getgid()).gr_name
    async with serving(Desk(), path, SocketAccess(0o640, None, group)):
        found = path.stat()
        assert stat.S_IMODE(found.st_mode) == 0o640
        assert grp.getgrgid(found.st_gid).gr_name == group
    assert not path.exists()


async def test_a_group_that_does_not_exist(path: Path) -> None:
    with pytest.raises(
        AdminError, match=r"cannot be given to :nobody-we-know \(.*\): see admin\.owner and admin\.group"
    ):
        await AdminApi(Desk(), path, SocketAccess(group="nobody-we-know")).start()
    assert not path.exists()


async def test_a_socket_in_use_is_left_alone(path: Path) -> None:
    async with serving(Desk(), path) as client:
        second = AdminApi(Desk(), path, SocketAccess())
        with pytest.raises(AdminError, match=f"^another daemon listens on {path}$"):
            await second.start()
        await second.close()
        assert await get(client, "/v1/status") == status()


def test_a_socket_whose_queue_is_full_is_in_use(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(str(path))
        with pytest.raises(AdminError, match="another daemon listens"):
            claim(path, SocketAccess())
        for one in waiting:
            one.close()


def test_a_socket_that_a_killed_daemon_left_is_replaced(path: Path) -> None:
    leave = "import socket, sys, os, signal; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", leave, str(path)], check=False, timeout=30)
    assert path.is_socket()
    with claim(path, SocketAccess()) as made, socket.socket(socket.AF_UNIX) as asker:
        asker.connect(str(path))
        answered, _ = made.accept()
        answered.close()


def test_a_file_in_its_place_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(AdminError, match="exists and is not a socket"):
        claim(path, SocketAccess())
    assert path.read_text() == "precious"


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(AdminError, match="No such file or directory"):
        claim(tmp_path / "gone" / "anyvip.sock", SocketAccess())


# --- the client --------------------------------------------------------------------------------------------------


def test_nobody_listens(path: Path) -> None:
    for _ in ("no socket", "a socket without a listener"):
        with pytest.raises(NotThere, match=f"^the daemon is not running on this node: no process listens on {path}$"):
            Client(path).get("/v1/status")
        with socket.socket(socket.AF_UNIX) as unused:
            unused.bind(str(path)) if not path.exists() else None


def test_what_listens_does_not_answer(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen()
        with pytest.raises(NotThere, match=r"has not answered for 0\.2 s$"):
            Client(path).post("/v1/pause", {}, 0.2)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "hung up"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "hung up"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "is not anyvip: it answered b'hello'"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}", "is not anyvip"),
    ],
)
async def test_something_else_listens(path: Path, answer: bytes, message: str) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(reply, path)
    async with server:
        with pytest.raises(NotThere, match=message):
            await get(Client(path), "/v1/status")
