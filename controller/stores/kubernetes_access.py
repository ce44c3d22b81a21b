"""Finds out how to reach a Kubernetes API server, and as whom: from a pod's service account or a kubeconfig file.

Only tokens and client certificates of a kubeconfig are used. `exec` is refused, because its program would have to run
within a request's deadline.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from controller.stores.base import StoreError
from controller.stores.kit.tls import Secret, Tls, tls_context

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CA, _CERT, _KEY = "certificate-authority", "client-certificate", "client-key"
_REFUSED = ("exec", "auth-provider", "username", "password", "insecure-skip-tls-verify", "proxy-url")


@dataclass(frozen=True, slots=True)
class KubernetesAccess:
    """Address and identity. `server` as ``http[s]://host:port``; `namespace`: the identity's."""

    server: str
    namespace: str
    token: Secret
    tls: Tls | None = None
    server_name: str | None = None

    @classmethod
    def in_cluster(cls, account: Path) -> Self:
        """Return a pod's access (Kubernetes: "Accessing the API from a Pod"). Raises StoreError."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise StoreError("store kubernetes: not in a pod (no KUBERNETES_SERVICE_HOST): configure kubeconfig")
        shown = f"[{host}]" if ":" in host else host
        try:
            namespace = (account / "namespace").read_text().strip()
            token = Secret("", account / "token")
            authority = account / "ca.crt"
            return cls(f"https://{shown}:{port}", namespace, token, Tls(lambda: tls_context(authority), [authority]))
        except (OSError, ValueError) as error:
            raise StoreError(f"store kubernetes: {error}") from error

    @classmethod
    def of_kubeconfig(cls, file: Path, context: str | None) -> Self:
        """Return the access of the file's context, by default its current one. Raises StoreError for a bad file."""
        try:
            return cls._of(_Kubeconfig(file, yaml.safe_load(file.read_bytes())), context)
        except yaml.YAMLError as error:  # its own message quotes the file, which can hold a token
            raise StoreError(f"store kubernetes: {file}: is not YAML: {getattr(error, 'problem', None)}") from None
        except (OSError, ValueError) as error:
            raise StoreError(f"store kubernetes: {file}: {error}") from error

    @classmethod
    def _of(cls, config: _Kubeconfig, context: str | None) -> Self:
        chosen = config.find_named("contexts", "context", context or config.text(config.content, "current-context"))
        cluster = config.find_named("clusters", "cluster", config.text(chosen, "cluster"))
        user = config.find_named("users", "user", config.text(chosen, "user"))
        server = config.text(cluster, "server").rstrip("/")
        if not server.startswith(("http://", "https://")) or server.count("/") > 2:
            raise ValueError(f"server {server!r} is not http://host:port or https://host:port")
        return cls(
            server,
            config.text(chosen, "namespace", "default"),
            Secret(config.text(user, "token", ""), config.path(user, "tokenFile")),
            config.tls(cluster, user) if server.startswith("https") else None,
            config.text(cluster, "tls-server-name", "") or None,
        )


class _Kubeconfig:
    """The content of a kubeconfig file (Kubernetes: "kubeconfig (v1)"). All methods raise ValueError and OSError."""

    def __init__(self, file: Path, content: Any) -> None:
        self._file = file
        if not isinstance(content, dict):
            raise ValueError("is not a kubeconfig")  # noqa: TRY004  (a fact about the file's content)
        self.content = content

    def find_named(self, several: str, one: str, name: str) -> Mapping[str, Any]:
        """Return the cluster, user or context of this name."""
        listed = self.content.get(several)
        for item in listed if isinstance(listed, list) else ():
            if isinstance(item, dict) and item.get("name") == name and isinstance(item.get(one), dict):
                if refused := [key for key in _REFUSED if item[one].get(key)]:
                    raise ValueError(f"{one} {name!r} uses {refused[0]}; use token, tokenFile or client certificates")
                return dict(item[one])
        raise ValueError(f"has no {one} {name!r}")

    def text(self, where: Mapping[str, Any], key: str, default: str | None = None) -> str:
        """Return the text of a key."""
        value = where.get(key, default)
        if not isinstance(value, str):
            raise ValueError(f"has no {key}")  # noqa: TRY004  (the same)
        return value

    def path(self, where: Mapping[str, Any], key: str) -> Path | None:
        """Return the file that a key names, relative to the kubeconfig's directory."""
        find_named = self.text(where, key, "")
        return self._file.parent / find_named if find_named else None

    def tls(self, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> Tls:
        """Return the TLS with the certificates, from files or from the kubeconfig itself."""
        files = [self.path(cluster, _CA), *(self.path(user, key) for key in (_CERT, _KEY))]
        named = {
            f"{self._file}: {key}-data": self._embedded(where, key) for where, key in ((cluster, _CA), (user, _CERT))
        }
        embedded = {name: pem for name, pem in named.items() if pem}
        return Tls(lambda: self._make_context(cluster, user), [file for file in files if file], embedded)

    def _make_context(self, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
        with tempfile.TemporaryDirectory(prefix="anyvip-") as directory:  # 0700; ssl takes keys from files only
            return tls_context(
                self._pem(cluster, _CA, Path(directory)),
                self._pem(user, _CERT, Path(directory)),
                self._pem(user, _KEY, Path(directory)),
            )

    def _pem(self, where: Mapping[str, Any], key: str, directory: Path) -> Path | None:
        within = self._embedded(where, key)
        if not within:
            return self.path(where, key)
        file = directory / key
        file.write_bytes(within)
        return file

    def _embedded(self, where: Mapping[str, Any], key: str) -> bytes:
        """Return what the kubeconfig itself has of a file; empty if nothing."""
        try:
            return base64.b64decode(self.text(where, f"{key}-data", ""), validate=True)
        except binascii.Error as error:
            raise ValueError(f"{key}-data is not base64") from error
