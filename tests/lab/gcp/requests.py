"""Reads requests to Google Cloud: the method that a request calls, and the account that sends it."""

from __future__ import annotations

import time
from functools import cache

from google.auth import jwt

from tests.lab.gcp.cloud import Refused
from tests.lab.http.discovery import Call, Discovery
from tests.lab.http.rest import Request

TOKEN = "ya29."


@cache  # a document has megabytes of JSON
def compute_v1() -> Discovery:
    return Discovery("compute.v1")


@cache
def resource_manager_v1() -> Discovery:
    return Discovery("cloudresourcemanager.v1")


def routed(request: Request) -> tuple[Discovery, Call]:
    """Return the document that has the method, and the call. Raises Refused."""
    for document in (compute_v1(), resource_manager_v1()):
        call = document.call(request.method, request.path, request.query)
        if call is not None:
            return document, call
    raise Refused(404, "notFound", f"there is no {request.method} {request.path}")


def account(request: Request) -> str:
    """Return the account that a token proves. The fake metadata server or the account itself has made the token.

    Raises Refused.
    """
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind == "Bearer" and token.startswith(TOKEN):
        return token.removeprefix(TOKEN)
    try:
        claims = jwt.decode(token, verify=False)  # the fake does not know the key
        if kind == "Bearer" and claims["scope"].endswith("/auth/cloud-platform") and claims["exp"] > time.time():
            return str(claims["iss"])
    except (ValueError, KeyError) as error:
        raise Refused(401, "authError", "Request had invalid authentication credentials.") from error
    raise Refused(401, "authError", "Request had invalid authentication credentials.")
