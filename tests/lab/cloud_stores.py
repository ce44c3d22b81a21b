"""Stores on real servers (moto, Azurite) behind a proxy that can make them ail, and strict about what goes through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from tests.lab import azurite, moto
from tests.lab.fakes import Lab
from tests.lab.serving import Ailments, serving
from tests.lab.stores import Backend

_SESSION = web.AppKey("session", aiohttp.ClientSession)
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date"}


def behind(target: str, ailments: Ailments) -> web.Application:
    """An application that hands every request on to the target, and its answer back."""
    application = web.Application(middlewares=[ailments.middleware], client_max_size=1 << 24)

    async def connected(application: web.Application) -> AsyncIterator[None]:
        session = aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=("Content-Type", "Accept-Encoding"))
        async with session:
            application[_SESSION] = session
            yield

    async def hand_on(request: web.Request) -> web.Response:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP]
        url = URL(f"{target}{request.raw_path}", encoded=True)
        body = await request.read()
        async with application[_SESSION].request(
            request.method, url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    application.cleanup_ctx.append(connected)
    application.router.add_route("*", "/{anything:.*}", hand_on)
    return application


def _error(status: int, code: str, message: str) -> web.Response:
    """S3's and Azure Storage's errors look the same."""
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return web.Response(status=status, text=text, content_type="application/xml", headers={"x-ms-error-code": code})


def _said(code: str, message: str) -> web.Response:
    """DynamoDB's errors are 400, and say what they are."""
    body = f'{{"__type": "com.amazonaws.dynamodb.v20120810#{code}", "message": "{message}"}}'
    return web.Response(status=400, text=body, content_type="application/x-amz-json-1.0")


error_of = {"dynamodb": lambda _, code, message: _said(code, message), "s3": _error, "azure_blob": _error}


@asynccontextmanager
async def dynamodb(url: str, _: Path) -> AsyncIterator[Lab]:
    table = moto.make_table(url)
    client = moto.dynamodb_client(url)

    def wipe() -> None:
        client.delete_table(TableName=table)
        moto.make_table(url, table)

    ailments = Ailments(
        refusal=lambda: _said("ThrottlingException", "Rate of requests exceeds the allowed throughput.")
    )
    async with _lab("dynamodb", url, {"table": table, "region": moto.REGION}, ailments) as lab:
        lab.wipe, lab.requests = wipe, 2
        yield lab


@asynccontextmanager
async def s3(url: str, _: Path) -> AsyncIterator[Lab]:
    bucket = moto.make_bucket(url)

    def wipe() -> None:
        moto.delete_bucket(url, bucket)
        moto.make_bucket(url, bucket)

    ailments = Ailments(refusal=lambda: _error(503, "SlowDown", "Reduce your request rate."))
    async with _lab("s3", url, {"bucket": bucket, "region": moto.REGION}, ailments) as lab:
        lab.wipe, lab.requests = wipe, 3
        yield lab


@asynccontextmanager
async def azure_blob(url: str, directory: Path) -> AsyncIterator[Lab]:
    container = azurite.make_container(url)

    def wipe() -> None:
        azurite.service(url).delete_container(container)
        azurite.make_container(url, container)

    ailments = Ailments(refusal=lambda: _error(503, "ServerBusy", "The server is busy."))
    key = str(azurite.key_file(directory))
    options = {"account": azurite.ACCOUNT, "container": container, "account_key_file": key}
    path = f"/{azurite.ACCOUNT}"
    async with _lab("azure_blob", url.removesuffix(path), options, ailments, path) as lab:
        lab.wipe, lab.requests = wipe, 3
        yield lab


@asynccontextmanager
async def _lab(
    kind: str, target: str, options: dict[str, Any], ailments: Ailments, path: str = ""
) -> AsyncIterator[Lab]:
    where = "endpoint" if kind == "azure_blob" else "endpoint_url"
    async with serving(behind(target, ailments)) as endpoint:

        def at(endpoint: str) -> dict[str, Any]:
            return {**options, where: endpoint + path}

        lab = Lab(Backend(kind, at(endpoint)), endpoint, at, ailments, lambda: None)
        lab.throttled = str(ailments.refusal().text).partition("Code>")[2].partition("<")[0] or "ThrottlingException"
        try:
            yield lab
        finally:
            await lab.backend.close()


CLOUDS: dict[str, Callable[[str, Path], Any]] = {"dynamodb": dynamodb, "s3": s3, "azure_blob": azure_blob}
