"""Stores on real servers (moto, Azurite) behind a proxy that can add faults and checks the requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from controller.stores.base import Store
from tests.lab.http.serving import Ailments, serving
from tests.lab.stores import azurite, moto
from tests.lab.stores.backends import Backend
from tests.lab.stores.fakes import Lab

_SESSION = web.AppKey("session", aiohttp.ClientSession)
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date"}


@dataclass
class Passage:
    """How the proxy changes requests, and what it saw."""

    without: frozenset[str] = frozenset()  # headers that it removes from requests, in lower case
    asking: Callable[[str], str] = str  # replaces the path and query of a request
    target: str = ""
    connections: set[int] = field(default_factory=set)
    listed: int = 0  # the number of pages of S3's listings


def behind(target: str, ailments: Ailments, passage: Passage) -> web.Application:
    """Return an application that passes every request to the target, and the answer back."""
    application = web.Application(middlewares=[ailments.middleware], client_max_size=1 << 24)

    async def connected(application: web.Application) -> AsyncIterator[None]:
        session = aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=("Content-Type", "Accept-Encoding"))
        async with session:
            application[_SESSION] = session
            yield

    async def hand_on(request: web.Request) -> web.Response:
        lost = _HOP | passage.without
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in lost]
        url = URL(f"{target}{passage.asking(request.raw_path)}", encoded=True)
        passage.connections.add(id(request.transport))
        passage.listed += "list-type=2" in request.raw_path
        body = await request.read()
        async with application[_SESSION].request(
            request.method, url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    application.cleanup_ctx.append(connected)
    application.router.add_route("*", "/{anything:.*}", hand_on)
    return application


@dataclass
class CloudLab(Lab):
    """A real server behind the proxy. `destroy` deletes the table, bucket or container, and `make` makes it again."""

    passage: Passage = field(default_factory=Passage)
    destroy: Callable[[], object] = lambda: None
    make: Callable[[], object] = lambda: None
    names: str = ""  # the name of the table, bucket or container
    gone: str = ""  # the service's message when it is missing

    def open(self, cluster: str = "shop", call_timeout: float = 30.0, **options: Any) -> Store:
        """Open a store with a deadline so long that only tests of deadlines notice it."""
        return self.backend.open(cluster, call_timeout, **options)


def xml_error(status: int, code: str, message: str) -> web.Response:
    """Return an error of S3 or Azure Storage, which have the same form."""
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return web.Response(status=status, text=text, content_type="application/xml", headers={"x-ms-error-code": code})


def dynamodb_error(code: str, message: str) -> web.Response:
    """Return an error of DynamoDB, whose status is 400 and whose type names the error."""
    body = f'{{"__type": "com.amazonaws.dynamodb.v20120810#{code}", "message": "{message}"}}'
    return web.Response(status=400, text=body, content_type="application/x-amz-json-1.0")


def aws_error(kind: str, code: str, message: str, status: int = 400) -> web.Response:
    return dynamodb_error(code, message) if kind == "dynamodb" else xml_error(status, code, message)


@asynccontextmanager
async def dynamodb(url: str, _: Path) -> AsyncIterator[CloudLab]:
    table, client = moto.make_table(url), moto.dynamodb_client(url)
    ailments = Ailments(
        refusal=lambda: dynamodb_error("ThrottlingException", "Rate of requests exceeds the allowed throughput.")
    )
    async with _lab("dynamodb", url, {"table": table, "region": moto.REGION}, ailments) as lab:
        lab.throttled, lab.gone, lab.names = "ThrottlingException", "ResourceNotFoundException", table
        lab.destroy = lambda: client.delete_table(TableName=table)
        lab.make = lambda: moto.make_table(url, table)
        yield lab


@asynccontextmanager
async def s3(url: str, _: Path) -> AsyncIterator[CloudLab]:
    bucket = moto.make_bucket(url)
    ailments = Ailments(refusal=lambda: xml_error(503, "SlowDown", "Reduce your request rate."))
    async with _lab("s3", url, {"bucket": bucket, "region": moto.REGION}, ailments) as lab:
        lab.throttled, lab.gone, lab.names, lab.requests = "SlowDown", "NoSuchBucket", bucket, 3
        lab.destroy = lambda: moto.delete_bucket(url, bucket)
        lab.make = lambda: moto.make_bucket(url, bucket)
        yield lab


@asynccontextmanager
async def azure_blob(url: str, directory: Path) -> AsyncIterator[CloudLab]:
    container, path = azurite.make_container(url), f"/{azurite.ACCOUNT}"
    ailments = Ailments(refusal=lambda: xml_error(503, "ServerBusy", "The server is busy."))
    key = str(azurite.key_file(directory))
    options = {"account": azurite.ACCOUNT, "container": container, "account_key_file": key}
    async with _lab("azure_blob", url.removesuffix(path), options, ailments, path) as lab:
        lab.throttled, lab.gone, lab.names, lab.requests = "ServerBusy", "ContainerNotFound", container, 3
        lab.destroy = lambda: azurite.service(url).delete_container(container)
        lab.make = lambda: azurite.make_container(url, container)
        yield lab


@asynccontextmanager
async def _lab(
    kind: str, target: str, options: dict[str, Any], ailments: Ailments, path: str = ""
) -> AsyncIterator[CloudLab]:
    where = "endpoint" if kind == "azure_blob" else "endpoint_url"
    passage = Passage(target=target)
    async with serving(behind(target, ailments, passage)) as endpoint:

        def at(endpoint: str) -> dict[str, Any]:
            return {**options, where: endpoint + path}

        lab = CloudLab(Backend(kind, at(endpoint)), endpoint, at, ailments, lambda: None)
        lab.passage = passage

        def wipe() -> None:
            lab.destroy()
            lab.make()

        lab.wipe = wipe
        try:
            yield lab
        finally:
            await lab.backend.close()


CLOUDS: dict[str, Callable[[str, Path], Any]] = {"dynamodb": dynamodb, "s3": s3, "azure_blob": azure_blob}
