"""Kubernetes' own schemas of its objects, from kubernetes-validate. They are strict: unknown fields are errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import best_match  # type: ignore[import-untyped]
from referencing import Registry, Resource

_SCHEMAS = files("kubernetes_validate") / "kubernetes-json-schema" / "v1.37.0-local-strict"
_FILES = {
    ("v1", "Namespace"): "namespace-v1.json",
    ("v1", "ServiceAccount"): "serviceaccount-v1.json",
    ("rbac.authorization.k8s.io/v1", "Role"): "role-rbac-v1.json",
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): "rolebinding-rbac-v1.json",
    ("coordination.k8s.io/v1", "Lease"): "lease-coordination-v1.json",
    ("coordination.k8s.io/v1", "LeaseList"): "leaselist-coordination-v1.json",
    ("v1", "Status"): "status-meta-v1.json",
    ("v1", "DeleteOptions"): "deleteoptions-meta-v1.json",
}
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def problem(body: Any) -> str | None:
    """Return what is wrong with an object by the schema of its apiVersion and kind, or None."""
    known = (body.get("apiVersion"), body.get("kind")) if isinstance(body, Mapping) else None
    if known not in _FILES:
        return f"not an object of a known kind: {known}"
    error = best_match(_validator(_FILES[known]).iter_errors(body))
    if error is not None:
        return f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
    spec = body.get("spec") or {}
    times = [spec[key] for key in ("acquireTime", "renewTime") if spec.get(key) is not None]
    return next((f"{time!r} is not a MicroTime" for time in times if not _MICRO_TIME.fullmatch(time)), None)


@cache
def _validator(name: str) -> Any:
    schema = json.loads((_SCHEMAS / name).read_text())
    definitions: Any = Resource.from_contents(json.loads((_SCHEMAS / "_definitions.json").read_text()))
    registry: Any = definitions @ (Resource.from_contents(schema) @ Registry())
    return Draft202012Validator(schema, registry=registry)
