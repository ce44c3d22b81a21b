"""A whole daemon beside real etcd, whose answers are spoilt in part."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request as Sent
from urllib.request import urlopen

import pytest

from tests.lab.host.daemon import LIVENESS, WEB, Host
from tests.lab.host.namespaces import eventually
from tests.lab.http.rest import Answer, Request, RestServer
from tests.lab.stores.backends import etcd_or_skip

pytestmark = [pytest.mark.netns, pytest.mark.etcd]


@dataclass
class Gateway:
    """etcd's gateway as the daemon reaches it. While `throttling`, it refuses reads and carries out writes."""

    etcd: str
    throttling: bool = False

    def answer(self, request: Request) -> Answer:
        if request.path == "/v3/watch":  # endless: this server answers once
            return Answer(501, {"error": "no watches here", "code": 12})
        if self.throttling and request.path == "/v3/kv/range":
            return Answer(429, {"error": "etcdserver: too many requests", "code": 8})
        try:
            with urlopen(Sent(self.etcd + request.path, request.body), timeout=LIVENESS) as answer:
                return Answer(200, answer.read())
        except HTTPError as error:
            return Answer(error.code, error.read())


@pytest.fixture
def gateway(host: Host, tmp_path: Path) -> Iterator[Gateway]:
    with etcd_or_skip(1, tmp_path, netns=[host.namespace.name]) as cluster, ExitStack() as stack:
        made = Gateway(cluster.endpoints[0])
        with host.namespace.entered():  # its threads belong there, too
            server = stack.enter_context(RestServer(made.answer))
        host.store = {"type": "etcd", "endpoints": [server.url]}
        yield made


def test_a_key_that_is_not_utf8_spoils_only_itself(host: Host, gateway: Gateway) -> None:
    host.start(web=WEB)
    assert host.becomes("web", "active"), host.log
    body = {"key": b64encode(b"/anyvip/test/\xff\xfe").decode(), "value": ""}
    with host.namespace.entered(), urlopen(Sent(gateway.etcd + "/v3/kv/put", json.dumps(body).encode())):
        pass
    time.sleep(3 * host.lease)
    assert host.role("web") == "active", host.log
    assert "from=active" not in host.log


def test_reads_that_are_throttled_while_writes_are_done_cost_the_group_once(host: Host, gateway: Gateway) -> None:
    host.start(web=WEB)
    assert host.becomes("web", "active"), host.log
    gateway.throttling = True
    assert eventually(lambda: "reason=grant-expired" in host.log, LIVENESS), host.log
    time.sleep(3 * host.lease)
    assert host.log.count("from=active") == 1, "it is not taken again and lost again"
    assert host.role("web") != "active"
    status = host.status()["store"]
    assert not status["reachable"]
    assert status["error"].startswith("reads: "), status
    gateway.throttling = False
    assert host.becomes("web", "active"), host.log
    assert host.log.count("from=active") == 1
