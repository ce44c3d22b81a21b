"""Consul's key/value store as the store: transactions, consistent reads, blocking queries.

A version is the key's ModifyIndex. Some of Consul's behaviour is surprising:

- ``PUT /v1/kv?cas=`` does not return the index of the write. So writes are transactions, which do.
- Writing the value that a key already has keeps its index. So every write carries random flags.
- Deleting a key that does not exist succeeds, whatever the index. So a deletion checks the index first.
- A listing leaves out what the token must not read, and says so only in a header. So every read checks that header.
- Since 1.22, keys with characters that are special in URLs are refused. So names hold only letters, digits and
  ``_-,/``.
"""

from __future__ import annotations

import json
import os
import secrets
from base64 import b64decode, b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self
from urllib.parse import quote

from pydantic import AfterValidator, Field, FilePath, SecretStr, model_validator

from controller.stores.base import Conflict, Credential, Entry, StoreError, Version
from controller.stores.kit.endpoints import Endpoints, Servers, body_of, origin
from controller.stores.kit.keys import Keys, folder
from controller.stores.kit.outcome import NotDone, OutcomeUnknown
from controller.stores.kit.tls import Endpoint, Secret, TlsOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import aiohttp

_WAIT_SECONDS = 60  # of a blocking query; Consul adds up to a sixteenth (Consul: "Blocking Queries")
_STALE = ("index is stale", "failed index check", "doesn't exist")  # a transaction's messages for a changed key
_TOKEN, _TOKEN_FILE = "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE"


class ConsulStore:
    """One cluster's records, under a prefix of their own."""

    class Options(TlsOptions):
        """Configuration keys of ``store: {type: consul}``."""

        endpoints: list[Endpoint] = Field(
            default=["http://127.0.0.1:8500"],
            min_length=1,
            description="HTTP addresses of agents or servers of one datacenter, used in this order.",
        )
        prefix: Annotated[str, AfterValidator(folder)] = Field(
            default="anyvip/",
            pattern=r"^[A-Za-z0-9_./-]*$",
            description="Prefix of every key; the cluster's name and '/' follow.",
        )
        datacenter: str | None = Field(
            default=None,
            pattern=r"^[A-Za-z0-9_-]+$",
            description="Datacenter whose servers hold the keys. Default: the agent's own.",
        )
        token: SecretStr | None = Field(default=None, description=f"ACL token. Default: ${_TOKEN}, or none.")
        token_file: FilePath | None = Field(
            default=None,
            description="File with the token in its first line, reread when Consul refuses the token. "
            f"Default: ${_TOKEN_FILE}.",
        )

        @model_validator(mode="after")
        def _fit_together(self) -> Self:
            self.check_tls(self.endpoints)
            if self.token is not None and self.token_file is not None:
                raise ValueError("give token or token_file, not both")
            return self

    def __init__(
        self, servers: Servers, keys: Keys, token: Secret, call_timeout: float, datacenter: str | None
    ) -> None:
        self._servers = Endpoints(servers, call_timeout)
        self._tls = servers.tls
        self._keys = keys
        self._token = token
        self._call_timeout = call_timeout
        self._where = f"&dc={quote(datacenter)}" if datacenter else ""

    @classmethod
    def open(cls, options: Options, *, cluster: str, call_timeout: float) -> Self:
        """Return the cluster's store, which connects on first use. `call_timeout` in seconds.

        Raises StoreError for bad files.
        """
        try:
            token = _token(options)
            servers = Servers(options.endpoints, options.tls(options.endpoints), options.server_name)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise StoreError(f"store consul: {error}") from error
        return cls(servers, Keys.of(options.prefix, cluster), token, call_timeout, options.datacenter)

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        """Return every key that begins with prefix. Raises StoreError, also while Consul has no leader."""
        path = self._listing(prefix)
        return (await self._servers.ask(lambda: self._list(path), repeatable=True))[0]

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        """Replace, create or delete as `controller.stores.base.Store` says. Raises Conflict, StoreError."""
        if not (expected or "0").isdecimal():  # the version of a deletion, which no key has
            raise Conflict(key)
        change = {"Key": self._name(key), "Index": int(expected or 0)}
        if value is None:
            await self._transaction(key, [change | {"Verb": "check-index"}, change | {"Verb": "delete-cas"}])
            return Version(f"{expected} deleted")
        content = {"Verb": "cas", "Value": b64encode(value).decode(), "Flags": secrets.randbits(63)}
        results = await self._transaction(key, [change | content])
        try:
            return Version(str(int(results[0]["KV"]["ModifyIndex"])))
        except (LookupError, TypeError, ValueError) as error:
            raise StoreError("Consul's answer to a transaction has no index: allow the token to read, too") from error

    async def changes(self, prefix: str) -> AsyncIterator[Mapping[str, Entry]]:
        """Yield the entries under prefix when the watch opens or reopens, and after each change."""
        path, index = self._listing(prefix), 0
        seen: Mapping[str, Entry] | None = None
        async for _ in self._servers.reopening():
            try:
                while not self._servers.closed:
                    present, following = await self._wait_for_change(path, index)
                    # Consul: "Blocking Queries": start over when the index goes back, and never ask for one below 1.
                    index = following if following >= index else 0
                    if present != seen:
                        seen = present
                        yield present
            except StoreError:  # ordinary calls report the reason
                seen, index = None, 0

    def credentials(self) -> Sequence[Credential]:
        """Return when the certificates and the token end. Reads their files."""
        certificates = self._tls.credentials() if self._tls is not None else ()
        return [*certificates, *self._token.credentials()]

    async def close(self) -> None:
        """Close the connections; the watches end."""
        await self._servers.close()

    async def _wait_for_change(self, path: str, index: int) -> tuple[Mapping[str, Entry], int]:
        """Return the entries once Consul's index is above this one or the wait ends; with 0 immediately."""
        if index == 0:
            return await self._servers.ask(lambda: self._list(path), repeatable=True)
        waiting = f"{path}&index={index}&wait={_WAIT_SECONDS}s"
        longest = _WAIT_SECONDS * 17 / 16 + self._call_timeout
        return await self._servers.wait(lambda: self._list(waiting), longest)

    async def _list(self, path: str) -> tuple[dict[str, Entry], int]:
        """Return the entries and Consul's index for them."""
        response, raw = await self._send("GET", path)
        try:
            index = max(1, int(response.headers["X-Consul-Index"]))
            if response.headers.get("X-Consul-Results-Filtered-By-ACLs") == "true":
                raise StoreError(f"{origin(response)}: the token is not allowed to read all of {self._keys.root}")
            if response.status == 404:
                return {}, index
            known = (self._decode(pair) for pair in json.loads(raw))
            return dict(pair for pair in known if pair is not None), index
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise _not_understood(response, raw) from error

    async def _transaction(self, key: str, operations: list[dict[str, Any]]) -> Any:
        data = json.dumps([{"KV": operation} for operation in operations]).encode()
        return await self._servers.ask(lambda: self._carried_out(key, data), repeatable=False)

    async def _carried_out(self, key: str, data: bytes) -> Any:
        """Return the results of a transaction. Raises Conflict when the key is not at its index."""
        response, raw = await self._send("PUT", f"/v1/txn?{self._where[1:]}".rstrip("?"), data)
        try:
            answer = json.loads(raw)
            if response.status == 200:
                return answer["Results"]
            told = [str(error["What"]) for error in answer["Errors"]]
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise _not_understood(response, raw) from error
        if told and all(any(stale in what for stale in _STALE) for what in told):
            raise Conflict(key)
        raise StoreError(f"{origin(response)}: {'; '.join(told)}")

    async def _send(self, method: str, path: str, data: bytes | None = None) -> tuple[aiohttp.ClientResponse, bytes]:
        """Return the response and its body: 200, or 404 to a read, 409 to a write, which callers interpret."""
        token = self._token.value
        response = await self._servers.send(method, path, data, {"X-Consul-Token": token} if token else None)
        raw = await body_of(response)
        if response.status == 200 or (method, response.status) in {("GET", 404), ("PUT", 409)}:
            return response, raw
        text = f"{origin(response)}: HTTP {response.status} {raw[:200].decode(errors='replace').strip()}"
        if response.status == 403 and self._token.renewed(token):
            raise NotDone(text)
        if response.status == 429:  # Consul: "Limit traffic rates": refused before it was processed
            raise NotDone(text, after=0.1)
        raise OutcomeUnknown(text) if response.status >= 500 else StoreError(text)

    def _decode(self, pair: Mapping[str, Any]) -> tuple[str, Entry] | None:
        """Return key and entry; None for a name that somebody else has made, which no key has."""
        entry = Entry(b64decode(pair["Value"] or "", validate=True), Version(str(int(pair["ModifyIndex"]))))
        key = self._keys.key(pair["Key"].replace(",", "%"))
        return (key, entry) if key is not None and self._name(key) == pair["Key"] else None

    def _name(self, key: str) -> str:
        return self._keys.name(key).replace("%", ",")

    def _listing(self, prefix: str) -> str:
        return f"/v1/kv/{self._name(prefix)}?recurse&consistent{self._where}"


def _token(options: ConsulStore.Options) -> Secret:
    """Return the token of the configuration, or of the environment (Consul: "Commands: environment variables").

    Raises OSError, ValueError when its file cannot be read.
    """
    if options.token is not None:
        return Secret(options.token.get_secret_value())
    named = options.token_file or os.environ.get(_TOKEN_FILE)
    return Secret(os.environ.get(_TOKEN, ""), Path(named) if named else None)


def _not_understood(response: aiohttp.ClientResponse, raw: bytes) -> OutcomeUnknown:
    return OutcomeUnknown(f"{origin(response)}: HTTP {response.status} is not an answer of Consul's: {raw[:60]!r}")
