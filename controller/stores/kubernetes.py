"""Lease objects of Kubernetes (coordination.k8s.io/v1) as the store: one object per key, in one namespace.

A version is the object's uid and resourceVersion. Every write sends both, because the API server creates a missing
Lease on PUT unless the PUT names a uid. A read is one list without resourceVersion, the only kind that is answered
from a quorum (Kubernetes: "API Concepts", the resourceVersion parameter). After a clean end, a watch resumes where it
was.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, Field, FilePath

from controller.stores.base import Conflict, Credential, Entry, StoreError, Version
from controller.stores.kit.endpoints import Endpoints, Servers, body_of, lines, origin
from controller.stores.kit.outcome import NotDone, OutcomeUnknown
from controller.stores.kubernetes_access import SERVICE_ACCOUNT, KubernetesAccess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import aiohttp

_WATCH_SECONDS = 290  # then the server ends the watch, and a new request resumes it
_AGAIN_SECONDS = 0.1  # after a 429 without Retry-After
_NAME = "anyvip/cluster"  # label and annotations; the prefix is not an existing domain
_KEY, _CLUSTER, _TEXT, _BASE64 = "anyvip/key", "anyvip/cluster-name", "anyvip/record", "anyvip/record-base64"
_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}


class KubernetesStore:
    """One cluster's records, as Leases that carry its label."""

    class Options(BaseModel):
        """Configuration keys of ``store: {type: kubernetes}``."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        namespace: str | None = Field(
            default=None,
            pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
            description="Namespace of the Leases. Default: the pod's, or that of the kubeconfig's context.",
        )
        kubeconfig: FilePath | None = Field(
            default=None,
            strict=False,
            description="kubeconfig file, for nodes that are not pods. Default: the pod's service account.",
        )
        context: str | None = Field(default=None, description="Context in the kubeconfig. Default: its current one.")
        service_account_dir: Path = Field(
            default=SERVICE_ACCOUNT,
            strict=False,
            description="Directory with the service account's token, ca.crt and namespace.",
        )

    def __init__(self, access: KubernetesAccess, namespace: str, cluster: str, call_timeout: float) -> None:
        self._server = Endpoints(Servers([access.server], access.tls, access.server_name, _HEADERS), call_timeout)
        self._token = access.token
        self._tls = access.tls
        self._cluster = cluster
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"
        self._namespace = namespace
        self._label = _short(cluster, 30, cluster)
        self._selector = urlencode({"labelSelector": f"{_NAME}={self._label}"})

    @classmethod
    def open(cls, options: Options, *, cluster: str, call_timeout: float) -> Self:
        """Return the cluster's store, which connects on first use. `call_timeout` in seconds.

        Raises StoreError for bad files.
        """
        if options.kubeconfig:
            access = KubernetesAccess.of_kubeconfig(options.kubeconfig, options.context)
        else:
            access = KubernetesAccess.in_cluster(options.service_account_dir)
        return cls(access, options.namespace or access.namespace, cluster, call_timeout)

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        """Return every key that begins with prefix. Raises StoreError, also while the API server has no quorum."""
        entries, _ = await self._server.ask(self._list, repeatable=True)
        return {key: entry for key, entry in entries.items() if key.startswith(prefix)}

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        """Replace, create or delete as `controller.stores.base.Store` says. Raises Conflict, StoreError."""
        name, (uid, _, at) = self._name(key), (expected or "").partition(" ")
        if value is None:
            conditions = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": _at(uid, at)}
            await self._send_change("DELETE", f"{self._leases}/{name}", conditions, key)
            return Version(f"{expected} deleted")
        lease = self._lease(name, key, value, _at(uid, at) if expected else {})
        method, path = ("PUT", f"{self._leases}/{name}") if expected else ("POST", self._leases)
        answer = await self._send_change(method, path, lease, key)
        try:
            return _version(answer)
        except (LookupError, TypeError, ValueError) as error:
            raise StoreError("Kubernetes' answer to a write has no resourceVersion") from error

    async def changes(self, prefix: str) -> AsyncIterator[Mapping[str, Entry]]:
        """Yield entries under prefix: all when the watch opens or may have missed changes, then each that changes."""
        at = ""
        async for _ in self._server.reopening():
            try:
                if not at:
                    entries, at = await self._server.ask(self._list, repeatable=True)
                    yield {key: entry for key, entry in entries.items() if key.startswith(prefix)}
                async with self._server.stream(partial(self._watch, at)) as stream:
                    async for line in lines(stream):
                        at, key, told = self._told(line, at)
                        if not at:
                            break
                        if key is not None and key.startswith(prefix):
                            yield told
            except StoreError:  # ordinary calls report the reason
                at = ""

    def credentials(self) -> Sequence[Credential]:
        """Return when the certificates and the token end. Reads their files."""
        certificates = self._tls.credentials() if self._tls is not None else ()
        return [*certificates, *self._token.credentials()]

    async def close(self) -> None:
        """Close the connections; the watches end."""
        await self._server.close()

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _list(self) -> tuple[dict[str, Entry], str]:
        """Return the entries, and the resourceVersion from which a watch reports later changes."""
        response = await self._send("GET", f"{self._leases}?{self._selector}")
        raw = await body_of(response)
        if response.status != 200:
            raise _failure(response, raw)
        try:
            body = json.loads(raw)
            known = (self._decode(item) for item in body["items"])
            return dict(pair for pair in known if pair is not None), str(body["metadata"]["resourceVersion"])
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise OutcomeUnknown(f"{origin(response)}: cannot understand the list: {error!r}") from error

    async def _send_change(self, method: str, path: str, body: object, key: str) -> Any:
        return await self._server.ask(lambda: self._change(method, path, body, key), repeatable=False)

    async def _change(self, method: str, path: str, body: object, key: str) -> Any:
        response = await self._send(method, path, json.dumps(body, separators=(",", ":")).encode())
        raw = await body_of(response)
        if response.status not in {200, 201}:
            if _says(raw, self._name(key)):
                raise Conflict(key)
            raise _failure(response, raw)
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise OutcomeUnknown(f"{origin(response)}: HTTP {response.status} without JSON: {raw[:60]!r}") from error

    async def _watch(self, at: str) -> aiohttp.ClientResponse:
        options = {"watch": 1, "allowWatchBookmarks": "true", "resourceVersion": at, "timeoutSeconds": _WATCH_SECONDS}
        response = await self._send("GET", f"{self._leases}?{self._selector}&{urlencode(options)}")
        if response.status != 200:
            raise _failure(response, await body_of(response))
        return response

    async def _send(self, method: str, path: str, data: bytes | None = None) -> aiohttp.ClientResponse:
        """Send a request and return the response, unread.

        Raises NotDone when our token is refused and there is a new one.
        """
        token = self._token.value
        response = await self._server.send(method, path, data, {"Authorization": f"Bearer {token}"} if token else None)
        if response.status == 401 and self._token.renewed(token):
            raise NotDone(f"{origin(response)}: HTTP 401 {(await body_of(response))[:200]!r}")
        return response

    # --- objects -----------------------------------------------------------------------------------------------------

    def _name(self, key: str) -> str:
        """Return the object's name: readable, allowed (RFC 1123, at most 253), and unique to this cluster and key."""
        return "anyvip-" + _short(f"{self._cluster}-{key}", 150, f"{self._cluster}\0{key}")

    def _lease(self, name: str, key: str, value: bytes, at: Mapping[str, str]) -> dict[str, Any]:
        metadata = {
            "name": name,
            "namespace": self._namespace,
            "labels": {_NAME: self._label},
            "annotations": {_CLUSTER: self._cluster, _KEY: key, **_annotate(value)},
            **at,
        }
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": _show(value)}

    def _decode(self, lease: Mapping[str, Any]) -> tuple[str, Entry] | None:
        """Return key and entry; None when the object belongs to no key, such as a copy that a user made."""
        annotations = lease["metadata"].get("annotations") or {}
        key = str(annotations.get(_KEY))
        if annotations.get(_CLUSTER) != self._cluster or lease["metadata"]["name"] != self._name(key):
            return None
        return key, Entry(_value(annotations), _version(lease))

    def _told(self, line: bytes, at: str) -> tuple[str, str | None, dict[str, Entry]]:
        """Return what a line of the watch reports: where to resume (empty: list again), the key, and its entry."""
        try:
            event = json.loads(line)
            if event["type"] == "ERROR":  # 410: the server no longer has the changes since `at`
                return "", None, {}
            at = str(event["object"]["metadata"]["resourceVersion"])
            known = None if event["type"] == "BOOKMARK" else self._decode(event["object"])
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
            return "", None, {}
        if known is None:
            return at, None, {}
        return at, known[0], {} if event["type"] == "DELETED" else dict([known])


def _short(text: str, longest: int, whole: str) -> str:
    """Return the start of the text, in characters that labels and names allow, and a digest of the whole."""
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower())[:longest].strip("-")
    digest = hashlib.sha256(whole.encode()).hexdigest()[:24]
    return f"{readable}-{digest}" if readable else digest


def _at(uid: str, version: str) -> dict[str, str]:
    return {"uid": uid, "resourceVersion": version}


def _version(lease: Mapping[str, Any]) -> Version:
    return Version(f"{lease['metadata']['uid']} {lease['metadata']['resourceVersion']}")


def _annotate(value: bytes) -> dict[str, str]:
    """Return the annotation that holds the value: readable text if it is text, as records are, else base64."""
    try:
        return {_TEXT: value.decode()}
    except UnicodeDecodeError:
        return {_BASE64: b64encode(value).decode()}


def _value(annotations: Mapping[str, Any]) -> bytes:
    """Return the value that `_annotate` has written, or nothing when somebody has edited it."""
    try:
        text = annotations.get(_TEXT)
        return b64decode(annotations[_BASE64], validate=True) if text is None else str(text).encode()
    except (KeyError, TypeError, ValueError):
        return b""


def _show(value: bytes) -> dict[str, Any]:
    """Return the Lease's spec, for readers of kubectl's output. The store does not read it back."""
    try:
        record = json.loads(value)
        node, epoch, lasts = record.get("node"), record.get("epoch"), record.get("lease_duration")
    except (ValueError, AttributeError, RecursionError):
        return {}
    spec: dict[str, Any] = {"renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
    if isinstance(node, str) and node:
        spec["holderIdentity"] = node
    if isinstance(epoch, int):
        spec["leaseTransitions"] = min(epoch, 2**31 - 1)
    if isinstance(lasts, float) and lasts > 0:
        spec["leaseDurationSeconds"] = min(ceil(lasts), 2**31 - 1)
    return spec


def _status(raw: bytes) -> Mapping[str, Any]:
    """Return the Status object in the answer; empty when there is none."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) and body.get("kind") == "Status" else {}


def _says(raw: bytes, name: str) -> bool:
    """Return whether a refusal means that the object has another version, is missing, or already exists."""
    status = _status(raw)
    details = status.get("details") or {}
    about = (details.get("kind"), details.get("name")) == ("leases", name)
    return about and status.get("reason") in {"Conflict", "AlreadyExists", "NotFound"}


def _failure(response: aiohttp.ClientResponse, raw: bytes) -> StoreError:
    """Return the error that an unsuccessful answer means for its request."""
    message = _status(raw).get("message") or raw[:200].decode(errors="replace").strip()
    text = f"{origin(response)}: HTTP {response.status} {message}"
    if response.status == 429:  # Kubernetes: "API Priority and Fairness": refused before it was processed
        after = response.headers.get("Retry-After", "")
        return NotDone(text, after=float(after) if after.isdecimal() else _AGAIN_SECONDS)
    return OutcomeUnknown(text) if response.status >= 500 or not _status(raw) else StoreError(text)
