"""An HTTP server on loopback that gives prepared answers one after another, and keeps the requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl


@dataclass(frozen=True)
class Answer:
    """A prepared answer. With `status` None the request is read, but not answered until the server ends."""

    status: int | None = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request with its parsed form."""

    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str]


@dataclass
class Canned:
    """The server. It repeats its last answer."""

    answers: list[Answer]
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    connections: int = 0

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def canned(*answers: Answer) -> Iterator[Canned]:
    told, ending = Canned(list(answers)), threading.Event()

    class Request(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one segment for headers and body: two would wait for each other (Nagle, delayed ACK)

        def setup(self) -> None:
            told.connections += 1
            super().setup()

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.asked.append(Asked(self.command, self.path, headers, dict(parse_qsl(body))))
            answer = told.next()
            if answer.status is None:
                ending.wait()
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body.encode())

        do_POST = do_PUT = do_GET  # noqa: N815  (http.server's names)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Request) as server:
        server.daemon_threads = True
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield told
        finally:
            ending.set()
            server.shutdown()
            thread.join()
