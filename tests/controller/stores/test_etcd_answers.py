"""The etcd store with answers that are not etcd's, or incomplete."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from controller.stores.base import StoreError
from tests.lab.http.bad_network import answering
from tests.lab.stores.backends import eventually, says

if TYPE_CHECKING:
    from tests.lab.stores.backends import Backend

KEY = "groups/web"


@pytest.mark.parametrize(
    ("answer", "says_what"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found", "HTTP 404 without JSON: b'not found'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP 200 without JSON: b'hello'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "HTTP 200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"[" * 99_999, "HTTP 200 without JSON"),
        (b'HTTP/1.1 403 Forbidden\r\nContent-Length: 11\r\n\r\n{"code": 7}', "HTTP 403"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", "http://127"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "http://127"),
        (b"", "disconnected"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_is_not_etcd_is_a_store_error_that_names_it(answer: bytes, says_what: str, nowhere: Backend) -> None:
    async with answering(answer) as endpoint:
        reading, writing = (nowhere.open(endpoints=[endpoint], call_timeout=0.5) for _ in range(2))
        said = rf"^(?={re.escape(endpoint)}).*{re.escape(says_what)}"
        await eventually(lambda: says(reading.read(""), said))
        await eventually(lambda: says(writing.swap(KEY, b"", None), said))


@pytest.mark.parametrize(
    "pairs", ['[{"key": "%"}]', '[{"value": ""}]', '["text"]', "7", '[{"key": "QQ==", "mod_revision": 1, "value": 2}]']
)
async def test_a_listing_that_is_not_understood_is_a_store_error(pairs: str, nowhere: Backend) -> None:
    body = f'{{"kvs": {pairs}}}'.encode()
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as endpoint:
        with pytest.raises(StoreError, match="cannot understand"):
            await nowhere.open(endpoints=[endpoint]).read("")


async def test_a_success_without_a_revision_is_a_store_error(nowhere: Backend) -> None:
    body = b'{"succeeded": true}'
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as endpoint:
        with pytest.raises(StoreError, match="has no revision"):
            await nowhere.open(endpoints=[endpoint]).swap(KEY, b"", None)
