"""A strict fake of Google Cloud Storage: objects, generations, conditions and tokens.

It checks requests and answers against storage.v1. ``python -m tests.lab.stores.gcs HOST`` serves it as a process, with
the buckets ``lab-...`` and without tokens.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from functools import cache
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.lab.http.discovery import Call, Discovery, Mismatch
from tests.lab.http.serving import Ailments, run_as_process

LARGEST_METADATA = 8 * 1024
_PAGE = 1000
_TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"


@cache
def storage_v1() -> Discovery:
    return Discovery("storage.v1")


class Refused(Exception):  # noqa: N818  (an answer)
    """An error in the form of Google's JSON API."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        errors = [{"message": message, "domain": "global", "reason": reason}]
        self.code = code
        self.body = {"error": {"code": code, "message": message, "errors": errors}}

    def answer(self) -> web.Response:
        return web.json_response(self.body, status=self.code)


@dataclass
class Gcs:
    """The server.

    Requests with one of `tokens` are allowed everything; if there are none, all requests are. Two writes of an object
    within `write_pause_seconds` are refused with 429.
    """

    tokens: set[str] = field(default_factory=set)
    ailments: Ailments = field(default_factory=Ailments)
    buckets: dict[str, dict[str, tuple[dict[str, Any], bytes]]] = field(default_factory=dict)
    page: int = _PAGE
    write_pause_seconds: float = 0.0
    heedless: bool = False  # whether conditions are ignored, as by some emulators
    seen_tokens: list[str] = field(default_factory=list)
    given: str = "ya29.lab"  # the token that the metadata server issues, with its life in the next field
    given_seconds: float = 3600.0
    given_times: int = 0
    _generation: int = 0
    _written_at: dict[tuple[str, str], float] = field(default_factory=dict)

    def application(self) -> web.Application:
        made = web.Application(middlewares=[self.ailments.middleware, self._answering], client_max_size=8 * 1024 * 1024)
        made.router.add_route("*", "/storage/{path:.*}", self.carry_out)
        made.router.add_route("*", "/upload/storage/{path:.*}", self.carry_out)
        return made

    def metadata_server(self) -> web.Application:
        """Return a metadata server that issues tokens as a virtual machine's does."""
        made = web.Application()
        made.router.add_get(_TOKEN_PATH, self.token)
        return made

    async def token(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata-Flavor") != "Google":
            return web.Response(status=403, text="Missing Metadata-Flavor:Google header.")
        self.given_times += 1
        told = {"access_token": self.given, "expires_in": self.given_seconds, "token_type": "Bearer"}
        return web.json_response(told, headers={"Metadata-Flavor": "Google"})

    def make_again(self, bucket: str) -> None:
        """Delete the bucket with everything in it, and make it again."""
        self.buckets[bucket] = {}

    @web.middleware
    async def _answering(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except Refused as refused:
            return refused.answer()
        except Mismatch as error:
            return Refused(400, "invalid", str(error)).answer()
        return response

    async def carry_out(self, request: web.Request) -> web.Response:
        raw = await request.read()
        upload = request.rel_url.raw_path.startswith("/upload/")
        path = request.rel_url.raw_path.removeprefix("/upload")
        if len(set(request.query)) != len(request.query):
            raise Refused(400, "invalid", "a parameter is given twice")
        call = storage_v1().call(request.method, path, dict(request.query))
        if call is None:
            raise Refused(404, "notFound", "Not Found")
        self._authenticated(request)
        given = {
            name: unquote(value) if name in {"bucket", "object"} else value for name, value in call.parameters.items()
        }
        call = Call(call.method, given)
        bucket = self._bucket(given["bucket"])
        if call.method.name == "objects.list" and not raw:
            return self._listed(bucket, call)
        if call.method.name == "objects.insert" and upload:
            return self._inserted(bucket, call, request.headers.get("Content-Type", ""), raw)
        if call.method.name == "objects.get" and not raw:
            return self._got(bucket, call)
        if call.method.name == "objects.delete" and not raw:
            return self._deleted(bucket, call)
        raise Refused(400, "invalid", f"this fake does not support this form of {call.method.name}")

    def _authenticated(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        self.seen_tokens.append(token)
        if self.tokens and (scheme != "Bearer" or token not in self.tokens):
            raise Refused(401, "authError", "Invalid Credentials")

    def _bucket(self, name: str) -> dict[str, tuple[dict[str, Any], bytes]]:
        if name.startswith("lab-"):
            return self.buckets.setdefault(name, {})
        if name not in self.buckets:
            raise Refused(404, "notFound", "The specified bucket does not exist.")
        return self.buckets[name]

    # --- methods -----------------------------------------------------------------------------------------------------

    def _listed(self, bucket: dict[str, tuple[dict[str, Any], bytes]], call: Call) -> web.Response:
        prefix, after = call.parameters.get("prefix", ""), call.parameters.get("pageToken", "")
        names = sorted(name for name in bucket if name.startswith(prefix) and name > after)
        body: dict[str, Any] = {"kind": "storage#objects"}
        if names:
            body["items"] = [bucket[name][0] for name in names[: self.page]]
        if len(names) > self.page:
            body["nextPageToken"] = names[self.page - 1]
        storage_v1().check("Objects", body | {"items": []})  # each object was checked when it was written
        return web.json_response(_partial(body, call.parameters.get("fields", "*")))

    def _inserted(self, bucket: dict[str, Any], call: Call, kind: str, raw: bytes) -> web.Response:
        if call.parameters.get("uploadType") != "multipart" or not kind.startswith("multipart/related; boundary="):
            raise Refused(400, "invalid", "this fake supports only multipart uploads")
        told, media_type, media = _parts(kind, raw)
        storage_v1().check("Object", told, written=True)
        if unknown := set(told) - {"name", "metadata", "cacheControl", "contentType"}:
            raise Refused(400, "invalid", f"clients cannot set these, or this fake does not know them: {unknown}")
        name, metadata = told.get("name", ""), told.get("metadata", {})
        if not 0 < len(name.encode()) <= 1024 or set(name) & set("\r\n"):
            raise Refused(400, "invalid", "Invalid object name")
        if sum(len((key + value).encode()) for key, value in metadata.items()) > LARGEST_METADATA:
            raise Refused(400, "invalid", "The metadata for the object is too large")
        self._condition(bucket.get(name), call)
        self._pace(call.parameters["bucket"], name)
        made = self._object(call.parameters["bucket"], told, media_type, media)
        bucket[name] = (made, media)
        storage_v1().check("Object", made)
        return web.json_response(_partial(made, call.parameters.get("fields", "*")))

    def _got(self, bucket: dict[str, tuple[dict[str, Any], bytes]], call: Call) -> web.Response:
        made, media = self._there(bucket, call)
        if call.parameters.get("alt") == "media":
            return web.Response(body=media, headers={"x-goog-generation": made["generation"]})
        return web.json_response(_partial(made, call.parameters.get("fields", "*")))

    def _deleted(self, bucket: dict[str, tuple[dict[str, Any], bytes]], call: Call) -> web.Response:
        self._condition(self._there(bucket, call), call)
        self._pace(call.parameters["bucket"], call.parameters["object"])
        del bucket[call.parameters["object"]]
        return web.Response(status=204)

    @staticmethod
    def _there(bucket: dict[str, tuple[dict[str, Any], bytes]], call: Call) -> tuple[dict[str, Any], bytes]:
        name = call.parameters["object"]
        if name not in bucket:
            raise Refused(404, "notFound", f"No such object: {call.parameters['bucket']}/{name}")
        return bucket[name]

    def _condition(self, present: tuple[dict[str, Any], bytes] | None, call: Call) -> None:
        if self.heedless:
            return
        wanted = call.parameters.get("ifGenerationMatch")
        if wanted is None or not wanted.isdecimal():
            raise Refused(400, "invalid", f"the condition {wanted!r} is not allowed for this write")
        if int(wanted) != (int(present[0]["generation"]) if present else 0):
            raise Refused(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")

    def _pace(self, bucket: str, name: str) -> None:
        now = time.monotonic()
        if now - self._written_at.get((bucket, name), -1e9) < self.write_pause_seconds:
            message = f"The object {bucket}/{name} exceeded the rate limit for object mutation operations"
            raise Refused(429, "rateLimitExceeded", message)
        self._written_at[bucket, name] = now

    def _object(self, bucket: str, told: Mapping[str, Any], media_type: str, media: bytes) -> dict[str, Any]:
        self._generation = max(self._generation + 1, time.time_ns() // 1000)
        return {
            **told,
            "kind": "storage#object",
            "id": f"{bucket}/{told['name']}/{self._generation}",
            "bucket": bucket,
            "contentType": told.get("contentType", media_type),
            "size": str(len(media)),
            "md5Hash": b64encode(hashlib.md5(media).digest()).decode(),
            "generation": str(self._generation),
            "metageneration": "1",
            "storageClass": "STANDARD",
            "etag": b64encode(str(self._generation).encode()).decode(),
        }


def _parts(kind: str, raw: bytes) -> tuple[dict[str, Any], str, bytes]:
    """Return the metadata, the content's type and the content of a multipart upload (RFC 2387)."""
    boundary = kind.partition("boundary=")[2].encode()
    pieces = raw.split(b"--" + boundary)
    if len(pieces) != 4 or pieces[0] or pieces[3] not in {b"--\r\n", b"--"}:
        raise Refused(400, "badRequest", "Malformed multipart body")
    heads, bodies = zip(*(piece.removeprefix(b"\r\n").split(b"\r\n\r\n", 1) for piece in pieces[1:3]), strict=True)
    types = [BytesParser(policy=HTTP).parsebytes(head + b"\r\n\r\n").get_content_type() for head in heads]
    try:
        told = json.loads(bodies[0])
    except ValueError as error:
        raise Refused(400, "parseError", "Parse Error") from error
    if types[0] != "application/json" or not isinstance(told, dict):
        raise Refused(400, "badContent", "the first part is not a JSON object")
    return told, types[1], bodies[1].removesuffix(b"\r\n")


def _partial(body: Any, fields: str) -> Any:
    """Return the part of an answer that the parameter `fields` selects (Google: "Partial responses").

    It supports names, and names in parentheses below a name.
    """
    if fields == "*":
        return body
    if isinstance(body, list):
        return [_partial(each, fields) for each in body]
    chosen = {}
    for name, below in re.findall(r"(\w+)(?:\(([^()]*)\))?", fields):
        if name in body:
            chosen[name] = _partial(body[name], below or "*")
    return chosen


if __name__ == "__main__":
    fake = Gcs()
    both = fake.application()
    both.router.add_get(_TOKEN_PATH, fake.token)
    run_as_process(both, fake.buckets.clear)
