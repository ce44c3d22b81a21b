"""DynamoDB and S3 by moto's server, and what an operator sets up in them."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import boto3
from botocore.config import Config

from tests.lab.host.servers import Server

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client

ROOT = Path(__file__).parents[3]
REGION: Final = "eu-central-1"
SECRET = "a-secret-that-nobody-logs"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}


def start_moto(
    log: Path, *, ahead: float = 0.0, host: str = "127.0.0.1", port: int = 0, inside: tuple[str, ...] = ()
) -> Server:
    """Start a server whose clock is `ahead` seconds ahead. `inside` is a prefix for the command."""
    command = [*inside, sys.executable, "-m", "tests.lab.stores.moto_server", host, str(port), str(ahead)]
    return Server.start(command, log, ROOT)


@cache
def _client(service: Any, url: str) -> Any:
    return boto3.session.Session().client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id="operator",
        aws_secret_access_key="operator",
        config=Config(retries={"total_max_attempts": 1}),
    )


def dynamodb_client(url: str) -> DynamoDBClient:
    client: DynamoDBClient = _client("dynamodb", url)
    return client


def s3_client(url: str) -> S3Client:
    client: S3Client = _client("s3", url)
    return client


def make_table(url: str, table: str | None = None) -> str:
    """Make the table that docs/stores.md describes, and return its name."""
    name = table or f"t-{uuid4()}"
    dynamodb_client(url).create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "cluster", "AttributeType": "S"},
            {"AttributeName": "key", "AttributeType": "S"},
        ],
        KeySchema=[{"AttributeName": "cluster", "KeyType": "HASH"}, {"AttributeName": "key", "KeyType": "RANGE"}],
    )
    return name


def make_bucket(url: str, bucket: str | None = None) -> str:
    """Make an empty bucket, and return its name."""
    name = bucket or f"b-{uuid4()}"
    s3_client(url).create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


def delete_bucket(url: str, bucket: str) -> None:
    """Delete the bucket with everything in it."""
    client = s3_client(url)
    for item in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
        client.delete_object(Bucket=bucket, Key=item["Key"])
    client.delete_bucket(Bucket=bucket)
