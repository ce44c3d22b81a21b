"""An operator's actions on a fake cloud: ``python -m tests.lab.stores.operator make|wipe KIND URL NAME``."""

from __future__ import annotations

import sys

from botocore.exceptions import ClientError

from tests.lab.stores import azurite, moto


def make(kind: str, url: str, name: str) -> None:
    """Make a table, bucket or container with this name."""
    {"dynamodb": moto.make_table, "s3": moto.make_bucket, "azure_blob": azurite.make_container}[kind](url, name)


def wipe(kind: str, url: str, name: str) -> None:
    """Delete a table, bucket or container with everything in it, and make it again."""
    if kind == "dynamodb":
        moto.dynamodb_client(url).delete_table(TableName=name)
    elif kind == "azure_blob":
        azurite.service(url).delete_container(name)
    else:
        _delete_bucket(url, name)
    make(kind, url, name)


def _delete_bucket(url: str, name: str) -> None:
    """Delete a bucket to which daemons are still writing."""
    while True:
        try:
            moto.delete_bucket(url, name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "BucketNotEmpty":
                raise
        else:
            return


if __name__ == "__main__":
    {"make": make, "wipe": wipe}[sys.argv[1]](*sys.argv[2:])
