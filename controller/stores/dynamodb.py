"""Amazon DynamoDB as the store: one table for any number of clusters, one item per key.

| attribute | type | |
|---|---|---|
| ``cluster`` | S, partition key | `prefix`, the cluster's name and ``/`` |
| ``key`` | S, sort key | such as ``groups/web`` |
| ``value`` | B | the record |
| ``version`` | S | 96 random bits, made by the writer, so that no version is used twice |

A read is one consistent Query of the partition (one more for each MB). A swap is one PutItem or DeleteItem, on the
condition that the item still has its version, or does not exist.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Self

from botocore.exceptions import ClientError
from pydantic import AfterValidator, Field

from controller.stores.base import Conflict, Entry, Version
from controller.stores.kit.aws_calls import connection, said_of
from controller.stores.kit.blocking import Blocking
from controller.stores.kit.keys import Keys, folder
from providers.aws.client import Aws, AwsOptions
from providers.aws.errors import code_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = {"#cluster": "cluster", "#key": "key"}
_FOREIGN = Version("")  # of no item that anyvip wrote


class DynamoDbStore:
    """One cluster's items."""

    class Options(AwsOptions):
        """Configuration keys of ``store: {type: dynamodb}``."""

        table: str = Field(
            pattern=r"^[A-Za-z0-9_.-]{3,255}$",
            description="Name of the table. Its keys are `cluster` (S, partition) and `key` (S, sort).",
        )
        prefix: Annotated[str, AfterValidator(folder)] = Field(
            default="",
            description="Prefix of the partition key; the cluster's name and '/' follow. Words that each end in '/'.",
        )

    def __init__(self, aws: Aws, table: str, partition: str, calls: Blocking) -> None:
        self._aws = aws
        self._table = table
        self._partition = partition
        self._calls = calls
        self._what = f"table {table!r}"

    @classmethod
    def open(cls, options: Options, *, cluster: str, call_timeout: float) -> Self:
        """Return the cluster's store, which connects on first use. `call_timeout` in seconds."""
        calls = Blocking(f"table {options.table!r}", call_timeout)
        aws = connection(options, call_timeout)
        return cls(aws, options.table, Keys.of(options.prefix, cluster).root, calls)

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        """Return every key that begins with prefix, each as of a moment after the call. Raises StoreError."""
        return await self._calls.run(partial(self._read, prefix), self._calls.deadline(), repeatable=True)

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        """Replace, create or delete as `controller.stores.base.Store` says. Raises Conflict, StoreError."""
        version = Version(secrets.token_hex(12))
        write = partial(self._write, key, value, expected, version)
        await self._calls.run(write, self._calls.deadline(), repeatable=False)
        return version

    async def close(self) -> None:
        """Close the connections. Raises nothing."""
        self._calls.close()
        self._aws.close()

    def _read(self, prefix: str) -> Mapping[str, Entry]:
        condition, values = "#cluster = :cluster", {":cluster": {"S": self._partition}}
        if prefix:
            condition, values[":prefix"] = f"{condition} AND begins_with(#key, :prefix)", {"S": prefix}
        names = _NAMES if prefix else {"#cluster": "cluster"}
        found: dict[str, Entry] = {}
        begin: dict[str, Any] = {}
        while True:
            with said_of(self._what, self._aws, "dynamodb") as client:
                page = client.query(
                    TableName=self._table,
                    ConsistentRead=True,
                    KeyConditionExpression=condition,
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=values,
                    **begin,
                )
                items = page["Items"]
                found.update(_entry(item) for item in items)
            if not (last := page.get("LastEvaluatedKey")):
                return found
            begin = {"ExclusiveStartKey": last}

    def _write(self, key: str, value: bytes | None, expected: Version | None, version: Version) -> None:
        where = {"cluster": {"S": self._partition}, "key": {"S": key}}
        still = {
            "ConditionExpression": "attribute_not_exists(#version)" if expected is None else "#version = :expected",
            "ExpressionAttributeNames": {"#version": "version"},
        } | ({} if expected is None else {"ExpressionAttributeValues": {":expected": {"S": expected}}})
        what = {"TableName": self._table, "ReturnConsumedCapacity": "TOTAL", **still}
        with said_of(self._what, self._aws, "dynamodb") as client:
            try:
                if value is None:
                    answer = client.delete_item(Key=where, **what)
                else:
                    content = {"value": {"B": value}, "version": {"S": version}}
                    answer = client.put_item(Item=where | content, **what)
            except ClientError as error:
                if code_of(error) == "ConditionalCheckFailedException":
                    raise Conflict(key) from error
                raise
            if "ConsumedCapacity" not in answer:  # without it success is empty, and any server's 200 would pass for it
                raise LookupError("no ConsumedCapacity")


def _entry(item: Mapping[str, Any]) -> tuple[str, Entry]:
    """Return key and entry. An item that anyvip did not write counts as a value that cannot be read."""
    key, value, version = item["key"]["S"], item.get("value", {}).get("B"), item.get("version", {}).get("S")
    return key, Entry(b"", _FOREIGN) if value is None or version is None else Entry(value, Version(version))
