"""One request to a metadata service: real HTTP over loopback, without proxy and DNS, with a short timeout."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from providers.cloud.metadata_service import MetadataError, ask, aws_endpoint, azure_endpoint, gcp_endpoint


class _Echo(BaseHTTPRequestHandler):
    """A server that answers with the request."""

    def do_GET(self) -> None:
        said = f"{self.command} {self.path} {self.headers['X-Asked']}".encode()
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(said)))
        self.send_header("Metadata-Flavor", "Google")
        self.end_headers()
        self.wfile.write(said)

    do_PUT = do_GET  # noqa: N815  (http.server's name)

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_asks_with_the_headers_given(endpoint: str, method: str) -> None:
    answer = ask(endpoint, "/latest/api/token", headers={"X-Asked": "yes"}, method=method)
    assert (answer.status, answer.text) == (200, f"{method} /latest/api/token yes")
    assert answer.headers["metadata-flavor"] == "Google"


def test_an_error_status_is_an_answer(endpoint: str) -> None:
    assert ask(endpoint, "/missing").status == 404


def test_no_proxy_is_asked(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        assert ask(endpoint, "/").status == 200
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_who_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(MetadataError, match="timed out"):
        ask(f"http://127.0.0.1:{silent.getsockname()[1]}", "/", timeout=0.05)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(MetadataError, match=f"GET http://127.0.0.1:{port}/x: .*refused"):
        ask(f"http://127.0.0.1:{port}", "/x")


@pytest.mark.parametrize(
    "endpoint", ["http://metadata.google.internal", "http://localhost:1", "https://127.0.0.1", "169.254.169.254", ""]
)
def test_names_are_not_looked_up(endpoint: str) -> None:
    with pytest.raises(MetadataError, match="IP address"):
        ask(endpoint, "/")


def test_a_port_that_is_none() -> None:
    with pytest.raises(MetadataError, match="not a URL"):
        ask("http://127.0.0.1:99999", "/")


def test_endpoints_by_the_vendors_own_variables() -> None:
    default = "http://169.254.169.254"
    assert aws_endpoint({}) == azure_endpoint({}) == gcp_endpoint({}) == default
    assert aws_endpoint({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"}) == "http://[fd00:ec2::254]"
    assert aws_endpoint({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1/"}) == "http://127.0.0.1:1"
    assert azure_endpoint({"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:2/"}) == "http://127.0.0.1:2"
    assert gcp_endpoint({"GCE_METADATA_HOST": "127.0.0.1:3"}) == "http://127.0.0.1:3"
    named = {"GCE_METADATA_HOST": "metadata.google.internal", "GCE_METADATA_IP": "127.0.0.1:4"}
    assert gcp_endpoint(named) == "http://127.0.0.1:4"
    assert gcp_endpoint({"GCE_METADATA_HOST": "metadata.google.internal"}) == default
