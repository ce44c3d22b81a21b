"""A fake of EC2's instance metadata service, version 2 only (EC2 User Guide, "Use IMDSv2"), which requires tokens."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

from tests.lab.aws.state import Cloud, Interface

LONGEST = 21600  # the longest life of a token that can be requested, in seconds


@dataclass
class Imds:
    """The service of one instance. `interfaces` are the instance's own, the primary one first."""

    cloud: Cloud
    interfaces: list[Interface]
    key: str = "AKIAEXAMPLE"
    session_token: str | None = None
    region: str = "eu-central-1"
    asked: list[str] = field(default_factory=list)
    tokens: dict[str, float] = field(default_factory=dict)  # the end of each token, in time.monotonic()
    gone: bool = False  # whether connections are closed without an answer
    url: str = ""
    _numbers: count[int] = field(default_factory=count)

    def token(self, headers: dict[str, str]) -> tuple[int, str]:
        if "x-forwarded-for" in headers:
            return 403, ""
        given = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not given.isdigit() or not 1 <= int(given) <= LONGEST:
            return 400, ""
        token = f"token-{next(self._numbers)}"
        self.tokens[token] = time.monotonic() + int(given)
        return 200, token

    def value(self, path: str, headers: dict[str, str]) -> tuple[int, str]:
        token = headers.get("x-aws-ec2-metadata-token", "")
        if self.tokens.get(token, 0.0) <= time.monotonic():
            return 401, ""
        text = self.tree().get(path)
        return (404, "") if text is None else (200, text)

    def tree(self) -> dict[str, str]:
        first = self.interfaces[0]
        meta = "/latest/meta-data"
        found = {
            f"{meta}/mac": first.mac,
            f"{meta}/instance-id": str(first.instance),
            f"{meta}/instance-type": "t4g.small",
            f"{meta}/placement/region": self.region,
            f"{meta}/placement/availability-zone/": f"{self.region}a",
            f"{meta}/network/interfaces/macs/": "\n".join(f"{eni.mac}/" for eni in self.interfaces),
            f"{meta}/iam/security-credentials/": "anyvip",
            f"{meta}/iam/security-credentials/anyvip": json.dumps(self._credentials()),
            "/latest/dynamic/instance-identity/document": json.dumps(
                {"accountId": "123456789012", "region": self.region}
            ),
        }
        for number, eni in enumerate(self.interfaces):
            found |= {
                f"{meta}/network/interfaces/macs/{eni.mac}/{name}": text for name, text in self._of(eni, number).items()
            }
        return found

    def _of(self, eni: Interface, number: int) -> dict[str, str]:
        subnet = self.cloud.subnets[eni.subnet]
        blocks = self.cloud.vpcs[subnet.vpc]
        told = {
            "device-number": str(number),
            "interface-id": eni.id,
            "subnet-id": subnet.id,
            "vpc-id": subnet.vpc,
            "owner-id": "123456789012",
            "local-ipv4s": "\n".join(eni.addresses),
            "subnet-ipv4-cidr-block": subnet.cidr,
            "vpc-ipv4-cidr-blocks": "\n".join(block for block in blocks if ":" not in block),
        }
        if subnet.ipv6_cidr is not None:
            told["subnet-ipv6-cidr-blocks"] = subnet.ipv6_cidr
            told["vpc-ipv6-cidr-blocks"] = "\n".join(block for block in blocks if ":" in block)
        if eni.ipv6:
            told["ipv6s"] = "\n".join(eni.ipv6)
        return told

    def _credentials(self) -> dict[str, str]:
        until = datetime.now(UTC) + timedelta(hours=6)
        secret = {"AccessKeyId": self.key, "SecretAccessKey": "s" * 40, "Token": self.session_token or "t"}
        return {"Code": "Success", "Type": "AWS-HMAC", **secret, "Expiration": f"{until:%FT%TZ}"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextmanager
def serving(imds: Imds, host: str = "127.0.0.1", port: int = 0) -> Iterator[Imds]:
    """Serve the fake on this address in the thread's network namespace."""

    class Request(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            if imds.gone:
                self.close_connection = True
                return
            imds.asked.append(f"{self.command} {self.path}")
            headers = {name.lower(): value for name, value in self.headers.items()}
            put = self.command == "PUT" and self.path == "/latest/api/token"
            status, text = imds.token(headers) if put else imds.value(self.path, headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_PUT = do_GET  # noqa: N815  (http.server's name)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing."""

    kind = _Server6 if ":" in host else _Server
    with kind((host, port), Request) as server:
        shown = f"[{host}]" if ":" in host else host
        imds.url = f"http://{shown}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield imds
        finally:
            server.shutdown()
            thread.join()
