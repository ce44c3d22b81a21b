"""The API as its documentation has it, over real HTTP: what it does not know, it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from controller.contracts import LostReply, Script, ScriptedRefusal

TOKEN = "a-token"
_PATH = re.compile(r"/floating-ips/(?P<address>[0-9.]+)(?:/servers/(?P<server>[a-z0-9-]+))?")


class Answer(Exception):
    """What is answered instead of 200."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class FakeApi:
    """A few floating IPs, and the server that each is assigned to."""

    def __init__(self, *addresses: str, script: Script) -> None:
        self.servers: dict[str, str | None] = dict.fromkeys(addresses)
        self.script = script
        self.url = ""

    def answer(self, verb: str, path: str, token: str | None) -> Any:
        """What the API answers. Raises Answer, Refused, LostReply."""
        if token != f"Bearer {TOKEN}":
            raise Answer(401)
        found = _PATH.fullmatch(path)
        if found is None or found["address"] not in self.servers:
            raise Answer(404)
        address, server = found["address"], found["server"]
        verbs: dict[tuple[str, bool], Callable[[], Any]] = {
            ("GET", False): lambda: {"server": self.servers[address]},
            ("PUT", True): lambda: self._assign(address, server),
            ("DELETE", True): lambda: self._release(address, server),
        }
        effect = verbs.get((verb, server is not None))
        if effect is None:
            raise Answer(405)
        return self.script.serve(f"{verb} {path}", effect, writes=verb != "GET")

    def _assign(self, address: str, server: str) -> None:
        self.servers[address] = server

    def _release(self, address: str, server: str) -> None:
        if self.servers[address] not in {server, None}:
            raise Answer(409)
        self.servers[address] = None


@contextmanager
def serving(api: FakeApi) -> Iterator[None]:
    """The API on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            try:
                token = self.headers["Authorization"]
                status, body = 200, json.dumps(api.answer(self.command, self.path, token)).encode()
            except Answer as answer:
                status, body = answer.status, b""
            except ScriptedRefusal:
                status, body = 403, b""
            except LostReply:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = do_POST = _serve

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
