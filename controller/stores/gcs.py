"""Google Cloud Storage as the store: one object per key, written on the condition of its generation.

A version is the object's generation, which Google never uses twice. A read is one list request. Lists are strongly
consistent (Google: "Cloud Storage consistency"), and each object's custom metadata carries its record. A record that
is too large for that, is not plain text, or whose metadata was changed later is fetched when its generation is new.

Google accepts about one write per second of the same object (Google: "Quotas & limits"), so leases below 6 s are not
allowed.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self
from urllib.parse import quote, urlencode

from google.auth.credentials import Credentials, TokenState
from google.auth.exceptions import GoogleAuthError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FilePath
from yarl import URL

from controller.stores.base import Conflict, Entry, StoreError, Version
from controller.stores.kit.endpoints import Endpoints, Servers, body_of, origin
from controller.stores.kit.keys import Keys, folder
from controller.stores.kit.objects import LARGEST_VALUE
from controller.stores.kit.outcome import NotDone, OutcomeUnknown
from controller.stores.kit.tls import Endpoint
from providers.gcp.client import GcpOptions, HttpUrl, credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import aiohttp

_LARGEST_IN_METADATA = 7_000  # bytes; the limit for all custom metadata of an object is 8 KiB, names included
_RECORD = "record"
_PROOF = "proof"  # not a record: only a server that ignores conditions writes it
_AGAIN_SECONDS = 0.3  # after Google has refused a request because of its rate
_THROTTLED = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_FIELDS = "kind,nextPageToken,items(name,generation,metageneration,metadata,size)"


class GcsStore:
    """One cluster's records, as objects below a prefix of their own."""

    LEAST_WRITE_PAUSE_SECONDS: ClassVar[float] = 1.0  # of one object

    class Options(BaseModel):
        """Configuration keys of ``store: {type: gcs}``."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$", description="Name of the bucket.")
        prefix: Annotated[str, AfterValidator(folder)] = Field(
            default="anyvip/", description="Prefix of every object's name; the cluster's name and '/' follow."
        )
        credentials_file: FilePath | None = Field(
            default=None,
            strict=False,
            description="JSON key file of a service account. Default: the virtual machine's service account.",
        )
        endpoint: Endpoint = Field(
            default="https://storage.googleapis.com",
            description="URL of the API, for private access or a server other than Google's.",
        )
        metadata_endpoint: HttpUrl | None = Field(
            default=None, description="The metadata server. Default: GCE_METADATA_HOST, else its link-local address."
        )

    def __init__(self, who: TokenSource, options: Options, cluster: str, call_timeout: float) -> None:
        self._google = Endpoints(Servers([options.endpoint]), call_timeout)
        self._who = who
        self._keys = Keys.of(options.prefix, cluster)
        self._objects = f"/storage/v1/b/{options.bucket}/o"
        self._keep_fetched: dict[str, Entry] = {}  # by name: objects whose record is not in the list
        self._heeds_conditions = (URL(options.endpoint).host or "").endswith(".googleapis.com")

    @classmethod
    def open(cls, options: Options, *, cluster: str, call_timeout: float) -> Self:
        """Return the cluster's store, which connects on first use. `call_timeout` in seconds.

        Raises StoreError for bad files.
        """
        told = GcpOptions(credentials_file=options.credentials_file, metadata_endpoint=options.metadata_endpoint)
        try:
            who = TokenSource(credentials(told))
        except ValueError as error:
            raise StoreError(f"store gcs: {error}") from error
        return cls(who, options, cluster, call_timeout)

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        """Return every key that begins with prefix. Raises StoreError."""
        found = await self._google.ask(lambda: self._read(self._keys.name(prefix)), repeatable=True)
        if not prefix:
            self._keep_fetched = {name: entry for name, entry in self._keep_fetched.items() if name in found}
        return {key: entry for name, entry in found.items() if (key := self._keys.key(name)) is not None}

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        """Replace, create or delete as `controller.stores.base.Store` says. Raises Conflict, StoreError."""
        if not (expected or "0").isdecimal():  # the version of a deletion, which no key has
            raise Conflict(key)
        if not self._heeds_conditions:
            await self._prove()
        if value is None:
            path = f"{self._objects}/{quote(self._keys.name(key), safe='')}?ifGenerationMatch={expected or 0}"
            await self._google.ask(lambda: self._write(key, "DELETE", path), repeatable=False)
            return Version(f"{expected} deleted")
        raw = await self._upload(key, value, expected or "0", repeatable=False)
        try:
            return Version(str(int(json.loads(raw)["generation"])))
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise StoreError(f"Google's answer to a write has no generation: {raw[:60]!r}") from error

    async def close(self) -> None:
        """Close the connections."""
        self._who.close()
        await self._google.close()

    # --- reads -------------------------------------------------------------------------------------------------------

    async def _read(self, prefix: str) -> dict[str, Entry]:
        """Return the objects by name."""
        items: list[Mapping[str, Any]] = []
        query = {"prefix": prefix, "fields": _FIELDS}
        while True:
            response, raw = await self._send("GET", f"{self._objects}?{urlencode(query)}")
            if response.status != 200:
                raise _failure(response, raw)
            try:
                page = json.loads(raw)
                items += _items(page)
                known = {item["name"]: self._find_known(item) for item in items}
            except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
                raise OutcomeUnknown(f"{origin(response)}: cannot understand the list: {error!r}") from error
            if "nextPageToken" not in page:
                break
            query["pageToken"] = str(page["nextPageToken"])
        missing = [name for name, entry in known.items() if entry is None and self._keys.key(name) is not None]
        fetched = await asyncio.gather(*(self._fetch(name) for name in missing))
        found = {**known, **dict(zip(missing, fetched, strict=True))}
        return {name: entry for name, entry in found.items() if entry is not None}

    def _find_known(self, item: Mapping[str, Any]) -> Entry | None:
        """Return the object if the list holds its record, or its generation was fetched before; else None."""
        version = Version(str(int(item["generation"])))
        text = (item.get("metadata") or {}).get(_RECORD)
        if isinstance(text, str) and item["metageneration"] == "1":  # higher: the metadata was changed later
            return Entry(text.encode(errors="surrogatepass"), version)  # half a pair makes a bad record, not a bad list
        if int(item.get("size", 0)) > LARGEST_VALUE:  # no record: it would only cost the deadline
            return Entry(b"", version)
        fetched = self._keep_fetched.get(item["name"])
        return fetched if fetched and fetched.version == version else None

    async def _fetch(self, name: str) -> Entry | None:
        """Return the object as it is now; None if it no longer exists."""
        response, raw = await self._send("GET", f"{self._objects}/{quote(name, safe='')}?alt=media")
        if response.status == 404 and _missing(raw):
            return None
        if response.status != 200:
            raise _failure(response, raw)
        try:
            entry = Entry(raw, Version(str(int(response.headers["x-goog-generation"]))))
        except (LookupError, ValueError) as error:
            raise OutcomeUnknown(f"{origin(response)}: an object without a generation: {raw[:60]!r}") from error
        self._keep_fetched[name] = entry
        return entry

    # --- writes ------------------------------------------------------------------------------------------------------

    async def _upload(self, key: str, value: bytes, generation: str, *, repeatable: bool) -> bytes:
        """Write the object and return Google's answer. Raises Conflict for another generation, StoreError."""
        query = urlencode({"uploadType": "multipart", "fields": "generation", "ifGenerationMatch": generation})
        kind, data = _multipart(self._keys.name(key), value)
        path = f"/upload{self._objects}?{query}"
        return await self._google.ask(lambda: self._write(key, "POST", path, data, kind), repeatable=repeatable)

    async def _prove(self) -> None:
        """Raise StoreError when a server other than Google's ignores conditions: two nodes could be active on it."""
        try:
            await self._upload(_PROOF, b"", "1", repeatable=True)  # a generation that no object has
        except Conflict:
            self._heeds_conditions = True
            return
        raise StoreError("this server ignores ifGenerationMatch: on such a store two nodes could be active")

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _write(self, key: str, method: str, path: str, data: bytes | None = None, kind: str = "") -> bytes:
        response, raw = await self._send(method, path, data, {"Content-Type": kind} if kind else {})
        if response.status in {200, 204}:
            return raw
        if (response.status == 412 and _told(raw)[1]) or (response.status == 404 and _missing(raw)):
            raise Conflict(key)
        raise _failure(response, raw)

    async def _send(
        self, method: str, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """Return the response and its body. Raises NotDone when our token is refused and there is a new one."""
        if self._google.closed:
            raise StoreError("this store is closed")
        token = await self._who.token()
        shown = {"Authorization": f"Bearer {token}", **(headers or {})}
        response = await self._google.send(method, path, data, shown)
        raw = await body_of(response)
        if response.status == 401 and await self._who.renewed(token):
            raise NotDone(f"{origin(response)}: HTTP 401 {_told(raw)[0]}")
        return response, raw


class TokenSource:
    """Google's access token. A new one is fetched in the background while the old one is still valid."""

    def __init__(self, who: Credentials) -> None:
        self._who = who
        self._thread = ThreadPoolExecutor(1, "gcs-token")  # google-auth blocks
        self._fetching: asyncio.Future[None] | None = None

    async def token(self) -> str:
        """Return a token that is valid by our clock. Raises NotDone, StoreError."""
        state = self._who.token_state
        if state is not TokenState.FRESH:
            fetching = self._fetch()
            if state is TokenState.INVALID:
                await self._keep_fetched(fetching)
        return str(self._who.token)

    async def renewed(self, refused: str) -> bool:
        """Return whether there is another token than the refused one. Raises NotDone, StoreError."""
        if self._who.token == refused:
            await self._keep_fetched(self._fetch())
        return bool(self._who.token != refused)

    def close(self) -> None:
        """Stop fetching tokens."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _fetch(self) -> asyncio.Future[None]:
        if self._fetching is None or self._fetching.done():
            refresh = self._who.refresh
            self._fetching = asyncio.get_running_loop().run_in_executor(self._thread, refresh, None)
            self._fetching.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._fetching

    async def _keep_fetched(self, fetching: asyncio.Future[None]) -> None:
        try:
            await asyncio.shield(fetching)
        except GoogleAuthError as error:
            text = f"store gcs: {' '.join(str(error).split())}"
            raise (NotDone(text) if error.retryable else StoreError(text)) from error


def _items(page: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the items of a page. Raises ValueError for another kind: an empty list has no other mark of Google's."""
    if page["kind"] != "storage#objects":
        raise ValueError(page["kind"])
    items: Sequence[Mapping[str, Any]] = page.get("items", ())
    return items


def _multipart(name: str, value: bytes) -> tuple[str, bytes]:
    """Return content type and body for uploading an object with its metadata (RFC 2387)."""
    told: dict[str, Any] = {"name": name, "cacheControl": "no-store"}
    text = value.decode("ascii", errors="replace")
    if text and text.isascii() and text.isprintable() and len(text) <= _LARGEST_IN_METADATA:
        told["metadata"] = {_RECORD: text}
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{json.dumps(told)}\r\n"
    body = f"{head}--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n".encode() + value
    return f"multipart/related; boundary={boundary}", body + f"\r\n--{boundary}--\r\n".encode()


def _told(raw: bytes) -> tuple[str, frozenset[str]]:
    """Return Google's message and reasons (Google: "HTTP status and error codes for JSON").

    Without reasons the answer is not Google's.
    """
    try:
        error = json.loads(raw)["error"]
        return str(error["message"]), frozenset(str(each.get("reason")) for each in error["errors"])
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return raw[:200].decode(errors="replace").strip(), frozenset()


def _missing(raw: bytes) -> bool:
    """Return whether a 404 means the object, not its bucket."""
    message, reasons = _told(raw)
    return "notFound" in reasons and message.startswith("No such object")


def _failure(response: aiohttp.ClientResponse, raw: bytes) -> StoreError:
    """Return the error that an unsuccessful answer means for its request."""
    message, reasons = _told(raw)
    text = f"{origin(response)}: HTTP {response.status} {message}"
    if response.status == 429 or reasons & _THROTTLED:
        return NotDone(text, after=_AGAIN_SECONDS)
    return OutcomeUnknown(text) if response.status in {408, 500, 502, 503, 504} or not reasons else StoreError(text)
