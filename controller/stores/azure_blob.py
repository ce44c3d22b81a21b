"""Azure Blob Storage as the store: one block blob per key in one container, written on a condition on its ETag.

Azure Storage is strongly consistent. Every write makes a new ETag, whatever the content ("Managing concurrency in Blob
storage"), so the ETag serves as the version. ``If-None-Match: *`` only creates; ``If-Match`` replaces or deletes only
a blob that still has that ETag. A request that fails its condition is a `Conflict`. ServerBusy and 429 mean that
nothing was done, so the request is repeated. After any other 5xx, or no answer, the outcome of a write is unknown.

Azure's own leases are not used: they last 15 s or more.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeVar

from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob import ContainerClient
from pydantic import AfterValidator, Field, FilePath, model_validator

from controller.stores.base import Conflict, Entry, StoreError, Version
from controller.stores.kit.blocking import Blocking
from controller.stores.kit.keys import Keys, folder
from controller.stores.kit.objects import LARGEST_VALUE, ObjectStore
from controller.stores.kit.outcome import NotDone, OutcomeUnknown
from providers.azure.client import AzureOptions, Cloud, credential, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from providers.azure.tokens import Tokens

T = TypeVar("T")

_HOSTS: Final = {
    Cloud.PUBLIC: "blob.core.windows.net",
    Cloud.USGOVERNMENT: "blob.core.usgovcloudapi.net",
    Cloud.CHINA: "blob.core.chinacloudapi.cn",
}
_REFUSED: Final = frozenset({"BlobAlreadyExists", "BlobNotFound", "ConditionNotMet", "TargetConditionNotMet"})
_NOT_DONE: Final = frozenset({"ServerBusy", "TooManyRequests", "AccountBeingCreated"})

logging.getLogger("azure").setLevel(logging.WARNING)  # below that it writes ten lines for every request


class BlobContainer:
    """The blobs of one container. `tokens`: those that the client authenticates with; None with an account key."""

    def __init__(self, client: ContainerClient, tokens: Tokens | None) -> None:
        self._client = client
        self._tokens = tokens
        self._what = f"container {client.container_name!r}"

    def listing(self, prefix: str) -> Mapping[str, Version]:
        """See `Bucket`."""
        return self._ask(
            lambda: {blob.name: _version(blob.etag) for blob in self._client.list_blobs(name_starts_with=prefix)}
        )

    def get(self, name: str) -> Entry | None:
        """See `Bucket`."""

        def work() -> Entry:
            blob = self._client.download_blob(name)
            content = blob.readall() if blob.properties.size <= LARGEST_VALUE else blob.read(LARGEST_VALUE)
            return Entry(content, _version(blob.properties.etag))

        try:
            return self._ask(work, name)
        except Conflict:
            return None

    def put(self, name: str, value: bytes, expected: Version | None) -> Version:
        """See `Bucket`."""
        blob = self._client.get_blob_client(name)
        condition = {"overwrite": False} if expected is None else {"overwrite": True, **_still(expected)}
        return self._ask(lambda: _version(blob.upload_blob(value, **condition)["etag"]), name)

    def delete(self, name: str, expected: Version) -> None:
        """See `Bucket`."""
        self._ask(lambda: self._client.get_blob_client(name).delete_blob(**_still(expected)), name)

    def close(self) -> None:
        """See `Bucket`."""
        self._client.close()
        if self._tokens is not None:
            self._tokens.close()

    def _ask(self, work: Callable[[], T], name: str = "") -> T:
        """Return what `work` returns. Translates the SDK's errors into Conflict and StoreError."""
        try:
            return work() if self._tokens is None else self._tokens.asked(work)
        except HttpResponseError as error:
            if name and _code(error) in _REFUSED:
                raise Conflict(name) from error
            raise _failure(self._what, error) from error
        except AzureError as error:
            raise _failure(self._what, error) from error
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:  # from the SDK's parsers
            raise OutcomeUnknown(f"{self._what}: the answer is not Azure's: {type(error).__name__}: {error}") from error


def _version(etag: str) -> Version:
    """Return the ETag with quotes, which a listing leaves out."""
    return Version('"{}"'.format(etag.strip('"')))


def _still(expected: Version) -> dict[str, Any]:
    return {"etag": expected, "match_condition": MatchConditions.IfNotModified}


def _code(error: HttpResponseError) -> str:
    """Return Azure Storage's error code, such as ``ContainerNotFound``; empty when there is none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _failure(what: str, error: AzureError) -> StoreError:
    said = str(error.message or error).partition("\n")[0]
    if isinstance(error, ClientAuthenticationError) and error.response is None:
        return NotDone(f"{what}: no token: {said}")
    if isinstance(error, HttpResponseError) and error.response is not None:
        text = f"{what}: {error.status_code} {_code(error)}: {said}"
        if _code(error) in _NOT_DONE or error.status_code == 429:
            return NotDone(text, retry_after(getattr(error.response, "headers", {})))
        return OutcomeUnknown(text) if (error.status_code or 500) >= 500 else StoreError(text)
    text = f"{what}: {said}"
    if isinstance(error, ServiceRequestError):  # nothing was sent
        return NotDone(text)
    return OutcomeUnknown(text) if isinstance(error, ServiceResponseError | IncompleteReadError) else StoreError(text)


class AzureBlobStore(ObjectStore):
    """One cluster's blobs in a container."""

    class Options(AzureOptions):
        """Configuration keys of ``store: {type: azure_blob}``."""

        account: str = Field(
            pattern=r"^[a-z0-9]{3,24}$",
            description="Name of a storage account without hierarchical namespace.",
        )
        container: str = Field(
            pattern=r"^[a-z0-9](-?[a-z0-9]){2,62}$",
            description="Name of the container.",
        )
        prefix: Annotated[str, AfterValidator(folder)] = Field(
            default="",
            description="Prefix of every blob's name; the cluster's name and '/' follow. Words that each end in '/'.",
        )
        endpoint: str | None = Field(
            default=None,
            pattern=r"^https?://[^\s?#]+$",
            description="URL of the account's blob service. Default: the cloud's own.",
        )
        account_key_file: FilePath | None = Field(
            default=None,
            strict=False,
            description="File with one of the account's keys in its first line, used instead of an identity.",
        )

        @model_validator(mode="after")
        def _no_token_in_the_clear(self) -> Self:
            if (self.endpoint or "").startswith("http://") and self.account_key_file is None:
                raise ValueError("endpoint: an identity's token is sent over https:// only")
            return self

    @classmethod
    def open(cls, options: Options, *, cluster: str, call_timeout: float) -> Self:
        """Return the cluster's store, which connects on first use. `call_timeout` in seconds.

        Raises StoreError for a bad key file.
        """
        quick = options.model_copy(
            update={
                "connect_timeout_seconds": min(options.connect_timeout_seconds, call_timeout / 3),
                "read_timeout_seconds": min(options.read_timeout_seconds, call_timeout),
            }
        )
        try:
            key = _key(options)
            tokens = None if key else credential(quick)
            client = ContainerClient(
                options.endpoint or f"https://{options.account}.{_HOSTS[options.cloud]}",
                options.container,
                credential=key or tokens,
                **quick.connection(),
            )
        except (OSError, ValueError) as error:
            raise StoreError(f"store azure_blob: {error}") from error
        calls = Blocking(f"container {options.container!r}", call_timeout)
        return cls(BlobContainer(client, tokens), Keys.of(options.prefix, cluster), calls)


def _key(options: AzureBlobStore.Options) -> AzureNamedKeyCredential | None:
    if options.account_key_file is None:
        return None
    key = options.account_key_file.read_text().partition("\n")[0].strip()
    return AzureNamedKeyCredential(options.account, key)
