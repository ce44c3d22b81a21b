"""Amazon S3 as the store: one object per key, written on a condition on its ETag. No other service is needed.

Why this is a compare-and-swap register:

- S3 is strongly consistent: every later GET and LIST shows a confirmed write ("Amazon S3 data consistency model").
- PutObject with ``If-None-Match: *`` only creates. With ``If-Match``, PutObject replaces and DeleteObject deletes only
  an object that still has that ETag ("Add preconditions to S3 operations").
- An ETag is a hash of the content, so equal content would have an equal ETag. A record that was deleted and written
  again, or changed and changed back, would then satisfy an old condition. So each object begins with a line of 128
  random bits, made anew for every attempt to write. No content, and so no ETag, ever occurs twice.
- A late write lands only on the version it was meant for, which never returns after another write. A late creation
  also lands after a deletion in between, as in every store: session ids are never used twice.
- 412 and 404 mean that another version exists, or none. 409 ConditionalRequestConflict means that another write or
  deletion of the object was under way and that this one was not carried out. All three are a `Conflict`, after which
  the election reads before it does anything else.
- Servers other than AWS are tested first: see `Proven`.
- 503 SlowDown means that nothing was done, so the request is repeated. After any other 5xx, or no answer, the outcome
  of a write is unknown.
"""

from __future__ import annotations

import re
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Self

from botocore.exceptions import ClientError
from pydantic import AfterValidator, Field

from controller.stores.base import Conflict, Entry, Version
from controller.stores.kit.aws_calls import connection, said_of
from controller.stores.kit.blocking import Blocking
from controller.stores.kit.keys import Keys, folder
from controller.stores.kit.objects import LARGEST_VALUE, ObjectStore
from controller.stores.kit.proof import Proven
from providers.aws.client import Aws, AwsOptions
from providers.aws.errors import code_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MARK = b"anyvip "  # begins the line that makes every content unique
_AWS = re.compile(r"^https://[^/]+\.(amazonaws\.com(\.cn)?|api\.aws)$")
_REFUSED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}


class S3Bucket:
    """The objects of one bucket."""

    def __init__(self, aws: Aws, bucket: str) -> None:
        self._aws = aws
        self._bucket = bucket

    def of_aws(self) -> bool:
        """Return whether the endpoint is AWS's own."""
        with self._ask() as client:
            return _AWS.search(client.meta.endpoint_url) is not None

    def listing(self, prefix: str) -> Mapping[str, Version]:
        """See `Bucket`."""
        found: dict[str, Version] = {}
        begin: dict[str, str] = {}
        while True:
            with self._ask() as client:
                page = client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **begin)
                found.update((item["Key"], Version(item["ETag"])) for item in page.get("Contents", ()))
                if not page["IsTruncated"]:
                    return found
                begin = {"ContinuationToken": page["NextContinuationToken"]}

    def get(self, name: str) -> Entry | None:
        """See `Bucket`."""
        try:
            with self._ask(name) as client:
                answer = client.get_object(Bucket=self._bucket, Key=name)
                return Entry(_value(_read_some(answer["Body"])), Version(answer["ETag"]))
        except Conflict:
            return None

    def put(self, name: str, value: bytes, expected: Version | None) -> Version:
        """See `Bucket`."""
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        with self._ask(name) as client:
            answer = client.put_object(Bucket=self._bucket, Key=name, Body=_body(value), **condition)
            return Version(answer["ETag"])

    def delete(self, name: str, expected: Version) -> None:
        """See `Bucket`."""
        with self._ask(name) as client:
            client.delete_object(Bucket=self._bucket, Key=name, IfMatch=expected)

    def close(self) -> None:
        """See `Bucket`."""
        self._aws.close()

    @contextmanager
    def _ask(self, name: str = "") -> Iterator[Any]:
        with said_of(f"bucket {self._bucket!r}", self._aws, "s3") as client:
            try:
                yield client
            except ClientError as error:
                if name and code_of(error) in _REFUSED:
                    raise Conflict(name) from error
                raise


def _read_some(body: Any) -> bytes:
    """Return the content, or its first bytes when it is larger than any record. Raises when it is cut short."""
    content: bytes = body.read(LARGEST_VALUE)
    if len(content) < LARGEST_VALUE:
        body.read(1)  # only at the end does the SDK compare what arrived with what was announced
    return content


def _body(value: bytes) -> bytes:
    return b"%s%s\n%s" % (_MARK, secrets.token_hex(16).encode(), value)


def _value(body: bytes) -> bytes:
    """Return the value in an object's content. Content that anyvip did not write is returned unchanged."""
    line, _, value = body.partition(b"\n")
    return value if line.startswith(_MARK) else body


class S3Store(ObjectStore):
    """One cluster's objects in a bucket."""

    class Options(AwsOptions):
        """Configuration keys of ``store: {type: s3}``."""

        bucket: str = Field(
            pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
            description="Name of a general purpose bucket without versioning.",
        )
        prefix: Annotated[str, AfterValidator(folder)] = Field(
            default="",
            description="Prefix of every object's name; the cluster's name and '/' follow. Words that each end in '/'.",
        )
        path_style: bool = Field(
            default=False,
            description="Name the bucket in the path instead of the host, which some servers other than AWS require.",
        )

    @classmethod
    def open(cls, options: Options, *, cluster: str, call_timeout: float) -> Self:
        """Return the cluster's store, which connects on first use. `call_timeout` in seconds."""
        settings = {
            "request_checksum_calculation": "when_required",  # TLS already protects requests; saves half of the bytes
            "response_checksum_validation": "when_required",
            "s3": {"addressing_style": "path" if options.path_style else "auto"},
        }
        aws = connection(options, call_timeout, settings)
        calls = Blocking(f"bucket {options.bucket!r}", call_timeout)
        bucket, keys = S3Bucket(aws, options.bucket), Keys.of(options.prefix, cluster)
        return cls(Proven(bucket, f"{keys.root}.proof-", bucket.of_aws), keys, calls)
