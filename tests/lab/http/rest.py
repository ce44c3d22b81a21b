"""An HTTP server for fakes of clouds, on loopback or in a namespace, with or without TLS, one thread per connection."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """A client's request. Header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """An answer. `body` is sent as JSON, or unchanged if it is bytes. None means no body."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Dropped(Exception):  # noqa: N818  (it names an event)
    """A fake raises this to end the connection without an answer."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write for head and body: two would wait for a delayed acknowledgement
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client has left
            super().handle()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        request = Request(self.command, unquote(url.path), dict(parse_qsl(url.query)), headers, body)
        try:
            answer = self.server.answer(request)
        except Dropped:
            self.close_connection = True
            return
        content = answer.encoded()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = _serve  # noqa: N815  (http.server's names)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing the server waits for them
    request_queue_size = 128

    def __init__(
        self, listening: tuple[str, int], answer: Callable[[Request], Answer], tls: ssl.SSLContext | None
    ) -> None:
        self.answer = answer
        self._tls = tls
        self._lines: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(listening, _Connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = super().get_request()
        if self._tls:  # the handshake happens at the first read, in the connection's own thread
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._lines.add(connection)
        return connection, peer

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._lines.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """Ignore errors: clients are allowed to leave, and an error of a fake shows as a missing answer."""

    def end(self) -> None:
        self.shutdown()
        with self._lock:
            for line in self._lines:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(line, socket.SHUT_RDWR)
        self.server_close()


class RestServer:
    """Serves `answer` at `url` while the context lasts. With port 0 the kernel chooses a port."""

    def __init__(
        self,
        answer: Callable[[Request], Answer],
        listening: tuple[str, int] = ("127.0.0.1", 0),
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
    ) -> None:
        self._server = _Server(listening, answer, tls)
        host, port = self._server.server_address[:2]
        self.url = f"{'https' if tls else 'http'}://{name or host!s}:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name=self.url)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.end()
        self._thread.join()
