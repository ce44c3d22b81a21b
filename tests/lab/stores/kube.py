"""A strict fake of a Kubernetes API server that has only Leases: optimistic concurrency, RBAC and watches.

``python -m tests.lab.stores.kube HOST`` serves it as a process. It checks requests and answers against Kubernetes' own
schemas. It does what the registry of kube-apiserver does (registry/generic/registry/store.go,
registry/coordination/lease), and refuses what it does not know.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.lab.http.serving import Ailments, run_as_process
from tests.lab.stores.kube_schema import problem

GROUP = "coordination.k8s.io/v1"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
VERBS = frozenset({"list", "watch", "create", "update", "delete"})
LARGEST_ANNOTATIONS = 256 * 1024
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?")
_QUALIFIED = re.compile(rf"({_SUBDOMAIN.pattern}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?")

Lease = dict[str, Any]


class Refused(Exception):  # noqa: N818  (an answer)
    """A Status other than success."""

    def __init__(self, code: int, reason: str, message: str, about: str = "", kind: str = "leases") -> None:
        super().__init__(message)
        details = {"name": about, "group": "coordination.k8s.io", "kind": kind} if about else {}
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }

    def answer(self) -> web.Response:
        return _json(self.status, self.code)


@dataclass
class Kube:
    """The server.

    `users` maps each token to the verbs that it is allowed; if empty, every request is allowed. Namespaces ``test-...``
    always exist.
    """

    users: dict[str, frozenset[str]] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=lambda: {"default"})
    ailments: Ailments = field(default_factory=Ailments)
    leases: dict[tuple[str, str], Lease] = field(default_factory=dict)
    version: int = 100
    events: list[tuple[int, str, Lease]] = field(default_factory=list)
    forgotten: int = 0  # watches from before this resourceVersion get 410
    seen_tokens: list[str] = field(default_factory=list)
    bookmark_seconds: float = 1.0
    marked: int = 0  # the newest resourceVersion in a bookmark
    lists: int = 0  # the number of listings
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def application(self) -> web.Application:
        made = web.Application(middlewares=[self.ailments.middleware, self._answering], client_max_size=4 * 1024 * 1024)
        made.router.add_get(LEASES, self.listing)
        made.router.add_post(LEASES, self.create)
        made.router.add_put(LEASES + "/{name}", self.replace)
        made.router.add_delete(LEASES + "/{name}", self.delete)
        return made

    def wipe(self) -> None:
        """Delete everything."""
        for key in list(self.leases):
            self._record("DELETED", self.leases.pop(key))

    def forget(self) -> None:
        """Forget old events, as when etcd is compacted: no watch can begin before now."""
        self.forgotten = self.version
        self.events.clear()

    @web.middleware
    async def _answering(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            self._authenticated(request)
            response: web.StreamResponse = await handler(request)
        except Refused as refused:
            return refused.answer()
        return response

    # --- access and bodies --------------------------------------------------------------------------------------------

    def _authenticated(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        self.seen_tokens.append(token)
        if self.users and (scheme != "Bearer" or token not in self.users):
            raise Refused(401, "Unauthorized", "Unauthorized")

    def _may(self, request: web.Request, verb: str) -> str:
        """Return the request's namespace if the user is allowed the verb in it (RBAC)."""
        token, namespace = self.seen_tokens[-1], request.match_info["namespace"]
        if self.users and verb not in self.users[token]:
            resource = f'resource "leases" in API group "coordination.k8s.io" in the namespace "{namespace}"'
            message = f'leases.coordination.k8s.io is forbidden: User "system:anyvip" cannot {verb} {resource}'
            raise Refused(403, "Forbidden", message)
        return namespace

    @staticmethod
    async def _body(request: web.Request, kind: str) -> Any:
        if not request.headers.get("Content-Type", "").startswith("application/json"):
            raise Refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        try:
            body = await request.json()
        except ValueError as error:
            raise Refused(400, "BadRequest", f"couldn't get version/kind; json parse error: {error}") from error
        if why := problem(body):
            raise Refused(400, "BadRequest", f"strict decoding error: {why}")
        if body["kind"] != kind:
            raise Refused(400, "BadRequest", f"a {body['kind']} instead of a {kind}")
        return body

    # --- reads -------------------------------------------------------------------------------------------------------

    async def listing(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        watching = query.get("watch") in {"1", "true"}
        namespace = self._may(request, "watch" if watching else "list")
        known = {"labelSelector", "resourceVersion", "watch", "allowWatchBookmarks", "timeoutSeconds"}
        if unknown := set(query) - known:
            raise Refused(400, "BadRequest", f"unknown parameters {unknown}")
        if watching:
            return await self._watch(request, namespace, query)
        if set(query) - {"labelSelector", "resourceVersion"}:
            raise Refused(400, "BadRequest", "these parameters are only for watches")
        self.lists += 1
        found = [lease for lease in self.leases.values() if _chosen(lease, namespace, query.get("labelSelector", ""))]
        if query.get("resourceVersion") == "0":
            found = []  # Kubernetes allows any past state here, and this is the first one
        body = {"kind": "LeaseList", "apiVersion": GROUP, "metadata": {"resourceVersion": str(self.version)}}
        assert problem(body | {"items": []}) is None
        return _json(body | {"items": found}, check=False)  # each Lease was checked when it was written

    async def _watch(self, request: web.Request, namespace: str, query: Mapping[str, str]) -> web.StreamResponse:
        selector, at = query.get("labelSelector", ""), query.get("resourceVersion", "")
        if not at.isdecimal() or not query.get("timeoutSeconds", "60").isdecimal():
            raise Refused(400, "BadRequest", f"Invalid value: {at!r}")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        bookmarks = query.get("allowWatchBookmarks") == "true"
        try:
            async with asyncio.timeout(int(query.get("timeoutSeconds", "60"))):
                await self._tell(response, int(at), namespace, selector, bookmarks=bookmarks)
        except (TimeoutError, ConnectionError):
            pass
        return response

    async def _tell(
        self, response: web.StreamResponse, at: int, namespace: str, selector: str, *, bookmarks: bool
    ) -> None:
        while True:
            if at < self.forgotten:
                message = f"too old resource version: {at} ({self.forgotten})"
                await response.write(_line("ERROR", Refused(410, "Expired", message).status))
                return
            changed = self._changed
            for version, kind, lease in [event for event in self.events if event[0] > at]:
                at = version
                if _chosen(lease, namespace, selector):
                    await response.write(_line(kind, lease))
            try:
                await asyncio.wait_for(changed.wait(), self.bookmark_seconds)
            except TimeoutError:
                if bookmarks:
                    mark = {"kind": "Lease", "apiVersion": GROUP, "metadata": {"resourceVersion": str(at)}}
                    await response.write(_line("BOOKMARK", mark | {"spec": {}}))
                    self.marked = max(self.marked, at)

    # --- writes ------------------------------------------------------------------------------------------------------

    async def create(self, request: web.Request) -> web.Response:
        namespace = self._may(request, "create")
        lease = await self._body(request, "Lease")
        return self._created(namespace, lease, allowed_version=False)

    def _created(self, namespace: str, lease: Lease, *, allowed_version: bool) -> web.Response:
        name = _valid(lease, namespace)
        if namespace not in self.namespaces and not namespace.startswith("test-"):
            raise Refused(404, "NotFound", f'namespaces "{namespace}" not found', namespace, "namespaces")
        if (namespace, name) in self.leases:
            raise Refused(409, "AlreadyExists", f'leases.coordination.k8s.io "{name}" already exists', name)
        if "resourceVersion" in lease["metadata"] and not allowed_version:
            raise Refused(500, "InternalError", "resourceVersion should not be set on objects to be created")
        lease["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": "2026-11-22T10:00:00Z"}
        return _json(self._record("ADDED", lease), 201)

    async def replace(self, request: web.Request) -> web.Response:
        namespace, name = self._may(request, "update"), request.match_info["name"]
        lease = await self._body(request, "Lease")
        if _valid(lease, namespace) != name:
            raise Refused(400, "BadRequest", "the name of the object does not match the name on the URL")
        present, given = self.leases.get((namespace, name)), lease["metadata"]
        if present is None and "uid" in given:
            raise _stale(name, f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: ")
        if present is None:  # a PUT can create a Lease, whatever its resourceVersion
            return self._created(namespace, lease, allowed_version=True)
        if not given.get("resourceVersion"):
            raise Refused(
                422, "Invalid", "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
            )
        if given.get("uid", present["metadata"]["uid"]) != present["metadata"]["uid"]:
            raise _stale(name, "Precondition failed: UID in precondition")
        if given["resourceVersion"] != present["metadata"]["resourceVersion"]:
            raise _stale(name, "the object has been modified; please apply your changes to the latest version")
        given |= {key: present["metadata"][key] for key in ("uid", "creationTimestamp")}
        return _json(self._record("MODIFIED", lease))

    async def delete(self, request: web.Request) -> web.Response:
        namespace, name = self._may(request, "delete"), request.match_info["name"]
        options = await self._body(request, "DeleteOptions")
        present = self.leases.get((namespace, name))
        if present is None:
            raise Refused(404, "NotFound", f'leases.coordination.k8s.io "{name}" not found', name)
        for key, value in (options.get("preconditions") or {}).items():
            if present["metadata"][key] != value:
                raise _stale(name, f"Precondition failed: {key}")
        self._record("DELETED", self.leases.pop((namespace, name)))
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return _json(success | {"details": {"name": name, "group": "coordination.k8s.io", "kind": "leases"}})

    def _record(self, kind: str, lease: Lease) -> Lease:
        self.version += 1
        metadata = {**lease["metadata"], "resourceVersion": str(self.version)}
        lease = {**lease, "metadata": metadata}
        if kind != "DELETED":
            self.leases[metadata["namespace"], metadata["name"]] = lease
        self.events.append((self.version, kind, lease))
        self._changed.set()
        self._changed = asyncio.Event()
        return lease


def _valid(lease: Lease, namespace: str) -> str:
    """Return the name of a valid Lease. Raises Refused as Kubernetes does: 422, or 400 for another namespace."""
    metadata, spec = lease["metadata"], lease.get("spec") or {}
    wrong = []
    if not _SUBDOMAIN.fullmatch(metadata.get("name", "")) or len(metadata["name"]) > 253:
        wrong.append("metadata.name: a lowercase RFC 1123 subdomain must consist of ...")
    for key, value in (metadata.get("labels") or {}).items():
        if not _QUALIFIED.fullmatch(key) or not _LABEL.fullmatch(value) or len(value) > 63:
            wrong.append(f"metadata.labels: {key}={value}")
    annotations = metadata.get("annotations") or {}
    wrong += [f"metadata.annotations: {key}" for key in annotations if not _QUALIFIED.fullmatch(key.lower())]
    if sum(len(key) + len(value.encode()) for key, value in annotations.items()) > LARGEST_ANNOTATIONS:
        wrong.append(f"metadata.annotations: Too long: may not be more than {LARGEST_ANNOTATIONS} bytes")
    if spec.get("leaseDurationSeconds", 1) <= 0 or spec.get("leaseTransitions", 0) < 0:
        wrong.append("spec: must be greater than 0")
    if spec.get("holderIdentity") == "":
        wrong.append("spec.holderIdentity: must not be empty")
    if wrong:
        raise Refused(422, "Invalid", f"Lease is invalid: {wrong}", metadata.get("name", ""))
    if metadata.setdefault("namespace", namespace) != namespace:
        raise Refused(400, "BadRequest", "the namespace of the provided object does not match the request")
    return str(metadata["name"])


def _stale(name: str, why: str) -> Refused:
    message = f'Operation cannot be fulfilled on leases.coordination.k8s.io "{name}": {why}'
    return Refused(409, "Conflict", message, name)


def _chosen(lease: Lease, namespace: str, selector: str) -> bool:
    """Report whether a selector of the form ``label=value`` selects the Lease."""
    if lease["metadata"]["namespace"] != namespace:
        return False
    if not selector:
        return True
    key, equals, value = selector.partition("=")
    if not equals or not _QUALIFIED.fullmatch(key) or not _LABEL.fullmatch(value):
        raise Refused(400, "BadRequest", f"unable to parse requirement: {selector}")
    return bool((lease["metadata"].get("labels") or {}).get(key) == value)


def _line(kind: str, body: Mapping[str, Any]) -> bytes:
    assert (why := problem(body)) is None, why
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


def _json(body: Mapping[str, Any], status: int = 200, *, check: bool = True) -> web.Response:
    assert not check or (why := problem(body)) is None, why
    return web.json_response(body, status=status)


def kubeconfig(file: Path, server: str, user: Mapping[str, Any] | None = None, **cluster: Any) -> str:
    """Write a kubeconfig file for the server, and return its path."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "anyvip"}}],
        "clusters": [{"name": "lab", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "anyvip", "user": user or {}}],
    }
    file.write_text(json.dumps(content))
    return str(file)


if __name__ == "__main__":
    fake = Kube()
    run_as_process(fake.application(), fake.wipe)
