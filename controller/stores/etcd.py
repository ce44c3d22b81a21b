"""etcd v3 as the store, through its JSON gateway (etcd 3.4 and later).

A version is the key's mod_revision. A swap is one transaction that compares it; a read is one linearizable range. Both
need a quorum. A watch is etcd's own. It reconnects by itself, and gives a hint each time.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Annotated, Any, Self
from urllib.parse import quote

from pydantic import AfterValidator, Field, FilePath, SecretStr, model_validator

from controller.stores.base import Conflict, Credential, Entry, StoreError, Version
from controller.stores.etcd_gateway import EtcdAccess, Gateway
from controller.stores.kit.endpoints import lines
from controller.stores.kit.tls import Endpoint, Secret, TlsOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from controller.stores.kit.tls import Tls


def _folder(prefix: str) -> str:
    if not prefix.endswith("/"):
        raise ValueError(f"{prefix!r} must end in '/', or it would include keys of other prefixes")
    return prefix


class EtcdStore:
    """One cluster's records, under a prefix of their own."""

    class Options(TlsOptions):
        """Configuration keys of ``store: {type: etcd}``."""

        endpoints: list[Endpoint] = Field(
            min_length=1,
            description="Client URLs of the members of one cluster, used in this order.",
        )
        prefix: Annotated[str, AfterValidator(_folder)] = Field(
            default="/anyvip/",
            description="Prefix of every key; the cluster's name and '/' follow.",
        )
        user: str | None = Field(default=None, description="User name, when etcd's authentication is enabled.")
        password: SecretStr | None = Field(default=None, description="The user's password.")
        password_file: FilePath | None = Field(
            default=None,
            description="File with the password in its first line, which keeps it out of the configuration.",
        )

        @model_validator(mode="after")
        def _fit_together(self) -> Self:
            self.check_tls(self.endpoints)
            if self.password is not None and self.password_file is not None:
                raise ValueError("give password or password_file, not both")
            if (self.user is None) != (self.password is None and self.password_file is None):
                raise ValueError("user and password (or password_file) belong together")
            return self

    def __init__(self, gateway: Gateway, root: str, tls: Tls | None) -> None:
        self._gateway = gateway
        self._root = root
        self._tls = tls
        self._known: dict[str, tuple[str, str, Entry]] = {}  # by encoded key: encoded value, key, entry

    @classmethod
    def open(cls, options: Options, *, cluster: str, call_timeout: float) -> Self:
        """Return the cluster's store, which connects on first use. `call_timeout` in seconds.

        Raises StoreError for bad files.
        """
        root = f"{options.prefix}{quote(cluster, safe='')}/"
        access = _access(options)
        return cls(Gateway(access, call_timeout), root, access.tls)

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        """Return every key that begins with prefix. Raises StoreError, also while etcd has no quorum."""
        answer = await self._gateway.call("/v3/kv/range", self._range(prefix), repeatable=True)
        try:
            pairs = {pair["key"]: self._decode(pair) for pair in answer.get("kvs", ())}
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"cannot understand etcd's answer to a range request: {error!r}") from error
        found = {path: pair for path, pair in pairs.items() if pair is not None}
        if not prefix:
            self._known = found
        return {key: entry for _, key, entry in found.values()}

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        """Replace, create or delete as `controller.stores.base.Store` says. Raises Conflict, StoreError."""
        path = _encode(self._root + key)
        change = (
            {"request_delete_range": {"key": path}}
            if value is None
            else {"request_put": {"key": path, "value": b64encode(value).decode()}}
        )
        compare = {"key": path, "target": "MOD", "result": "EQUAL", "mod_revision": expected or "0"}
        body = {"compare": [compare], "success": [change]}
        answer = await self._gateway.call("/v3/kv/txn", body, repeatable=False)
        if not answer.get("succeeded"):  # the gateway leaves out false values
            raise Conflict(key)
        try:
            return Version(answer["header"]["revision"])
        except (KeyError, TypeError) as error:
            raise StoreError("etcd's answer to a transaction has no revision") from error

    async def changes(self, prefix: str) -> AsyncIterator[Mapping[str, Entry]]:
        """Yield when the watch opens or reopens, and after each change under prefix, with the changed entries."""
        request = {"create_request": self._range(prefix)}
        async for _ in self._gateway.reopening():
            try:
                async with self._gateway.stream("/v3/watch", request) as events:
                    async for line in lines(events):
                        if b'"canceled":true' in line:
                            break
                        yield self._told(line)
            except StoreError:
                pass  # ordinary calls report the reason

    def _told(self, line: bytes) -> dict[str, Entry]:
        """Return the entries in one message of the watch; none when it cannot be understood, as it is only a hint."""
        try:
            pairs = [told["kv"] for told in json.loads(line)["result"].get("events", ()) if "value" in told["kv"]]
            return {pair[1]: pair[2] for pair in map(self._decode, pairs) if pair is not None}
        except (KeyError, TypeError, ValueError):
            return {}

    def credentials(self) -> Sequence[Credential]:
        """Return when the certificates end. Reads their files."""
        return self._tls.credentials() if self._tls is not None else ()

    async def close(self) -> None:
        """Close the connections; the watches end."""
        await self._gateway.close()

    def _range(self, prefix: str) -> dict[str, str]:
        begin = (self._root + prefix).encode()
        end = begin[:-1] + bytes([begin[-1] + 1])  # the first key after all with this prefix; UTF-8 has no 0xff
        return {"key": b64encode(begin).decode(), "range_end": b64encode(end).decode()}

    def _decode(self, pair: Mapping[str, Any]) -> tuple[str, str, Entry] | None:
        """Return the encoded value, the key and the entry; None for a name that is not UTF-8, so somebody else's.

        Does not decode again what the last listing had.
        """
        value, revision = pair.get("value", ""), pair["mod_revision"]
        known = self._known.get(pair["key"])
        if known and known[0] == value and known[2].version == revision:
            return known
        entry, path = Entry(b64decode(value), Version(revision)), b64decode(pair["key"])
        try:
            return value, path.decode().removeprefix(self._root), entry
        except UnicodeDecodeError:
            return None


def _encode(key: str) -> str:
    return b64encode(key.encode()).decode()


def _access(options: EtcdStore.Options) -> EtcdAccess:
    try:
        password = Secret(options.password.get_secret_value() if options.password else "", options.password_file)
        tls = options.tls(options.endpoints)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise StoreError(f"store etcd: {error}") from error
    return EtcdAccess(options.endpoints, tls, options.server_name, options.user, password)
