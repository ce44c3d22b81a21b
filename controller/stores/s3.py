"""Amazon S3 as the store: an object per key, written on a condition on its ETag. No other service is needed.

Why this is a compare-and-swap register:

- S3 is strongly consistent: what was confirmed is in every later GET and LIST ("Amazon S3 data consistency model").
- PutObject with ``If-None-Match: *`` creates only, with ``If-Match`` it replaces only what still has that ETag, and
  DeleteObject with ``If-Match`` deletes only that ("Add preconditions to S3 operations").
- An ETag is a hash of the content, so it would come back with the content: a record that was deleted and written
  again, or changed and changed back, would satisfy a condition from before. So each object begins with a line of 128
  random bits, made anew for every attempt to write: no content, and so no ETag, ever comes back, whatever the value.
- A write that is late lands only on the version it was meant for, which is gone for ever once somebody has written.
  One that creates lands also after a deletion in between, as in every store: session ids are never used twice.
- 412 and 404: another version is there, or none. 409 ConditionalRequestConflict: another write or deletion of the
  object was under way, this one was not carried out, and S3 asks to look at the ETag again. All three are a
  `Conflict`, after which the election reads before it does anything else.
- A server of somebody else's that speaks S3 is tried first: see `Proven`.
- 503 SlowDown is said before anything is done, so it is asked again; any other 5xx, or no answer, says nothing of
  a write.
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
from controller.stores.kit.objects import ObjectStore
from controller.stores.kit.proof import Proven
from providers.aws.client import Aws, AwsOptions
from providers.aws.errors import code_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MARK = b"anyvip "  # begins the line that makes every content one of its kind
_AWS = re.compile(r"^https://[^/]+\.(amazonaws\.com(\.cn)?|api\.aws)$")
_REFUSED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}


class S3Bucket:
    """The objects of one bucket."""

    def __init__(self, aws: Aws, bucket: str) -> None:
        self._aws = aws
        self._bucket = bucket

    def of_aws(self) -> bool:
        """Whether it is AWS that answers."""
        with self._asked() as client:
            return _AWS.search(client.meta.endpoint_url) is not None

    def listing(self, prefix: str) -> Mapping[str, Version]:
        """See `Bucket`."""
        found: dict[str, Version] = {}
        begin: dict[str, str] = {}
        while True:
            with self._asked() as client:
                page = client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **begin)
                found.update((item["Key"], Version(item["ETag"])) for item in page.get("Contents", ()))
                if not page["IsTruncated"]:
                    return found
                begin = {"ContinuationToken": page["NextContinuationToken"]}

    def get(self, name: str) -> Entry | None:
        """See `Bucket`."""
        try:
            with self._asked(name) as client:
                answer = client.get_object(Bucket=self._bucket, Key=name)
                return Entry(_value(answer["Body"].read()), Version(answer["ETag"]))
        except Conflict:
            return None

    def put(self, name: str, value: bytes, expected: Version | None) -> Version:
        """See `Bucket`."""
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        with self._asked(name) as client:
            answer = client.put_object(Bucket=self._bucket, Key=name, Body=_body(value), **condition)
            return Version(answer["ETag"])

    def delete(self, name: str, expected: Version) -> None:
        """See `Bucket`."""
        with self._asked(name) as client:
            client.delete_object(Bucket=self._bucket, Key=name, IfMatch=expected)

    def close(self) -> None:
        """See `Bucket`."""
        self._aws.close()

    @contextmanager
    def _asked(self, name: str = "") -> Iterator[Any]:
        with said_of(f"bucket {self._bucket!r}", self._aws, "s3") as client:
            try:
                yield client
            except ClientError as error:
                if name and code_of(error) in _REFUSED:
                    raise Conflict(name) from error
                raise


def _body(value: bytes) -> bytes:
    return b"%s%s\n%s" % (_MARK, secrets.token_hex(16).encode(), value)


def _value(body: bytes) -> bytes:
    """What was stored; what somebody else has put there, as it is."""
    line, _, value = body.partition(b"\n")
    return value if line.startswith(_MARK) else body


class S3Store(ObjectStore):
    """One cluster's objects in a bucket."""

    class Options(AwsOptions):
        """Configuration keys of ``store: {type: s3}``."""

        bucket: str = Field(
            pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
            description="The bucket's name; a general purpose bucket, without versioning.",
        )
        prefix: Annotated[str, AfterValidator(folder)] = Field(
            default="",
            description="Begin of every object's name; the cluster's name and '/' follow. Words that end in '/' each.",
        )
        path_style: bool = Field(
            default=False,
            description="Name the bucket in the path instead of the host, as some servers other than AWS want it.",
        )

    @classmethod
    def open(cls, options: Options, *, cluster: str, call_timeout: float) -> Self:
        """The cluster's store; connects when first used. `call_timeout`: seconds."""
        settings = {
            "request_checksum_calculation": "when_required",  # TLS protects what is sent; half of the bytes
            "response_checksum_validation": "when_required",
            "s3": {"addressing_style": "path" if options.path_style else "auto"},
        }
        aws = connection(options, call_timeout, settings)
        calls = Blocking(f"bucket {options.bucket!r}", call_timeout)
        bucket, keys = S3Bucket(aws, options.bucket), Keys.of(options.prefix, cluster)
        return cls(Proven(bucket, f"{keys.root}.proof-", bucket.of_aws), keys, calls)
