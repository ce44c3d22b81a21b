"""A small network in the fake EC2 and the metadata of its first node, without this machine's own access to AWS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import get_session

from tests.lab.aws import ec2 as fake_ec2
from tests.lab.aws import imds as fake_imds
from tests.lab.aws.ec2 import Ec2
from tests.lab.aws.imds import Imds
from tests.lab.aws.movers import Movers
from tests.lab.aws.network import small_network

MODELS = Loader()  # reading the model of EC2 takes half a second


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-seen")


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ec2]:
    """Make this fake serve as EC2 and STS."""
    with fake_ec2.serving(small_network()) as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL", fake.url)
        yield fake


@pytest.fixture
def imds(ec2: Ec2, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imds]:
    """Make this node n1."""
    with fake_imds.serving(Imds(ec2.cloud, [ec2.cloud.interfaces["eni-1"]])) as fake:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", fake.url)
        yield fake


@pytest.fixture
def client(ec2: Ec2) -> Iterator[Any]:
    """Return a plain client of botocore."""
    config = Config(retries={"total_max_attempts": 1})
    session = get_session()
    session.register_component("data_loader", MODELS)
    made = session.create_client("ec2", region_name="eu-central-1", config=config)
    yield made
    made.close()


@pytest_asyncio.fixture
async def movers(imds: Imds) -> AsyncIterator[Movers]:
    """Return the maker of n1's providers."""
    made = Movers()
    yield made
    await made.close()
