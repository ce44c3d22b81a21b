"""This node's identity by IMDSv2: it requests tokens, renews refused ones, and uses no proxy."""

from __future__ import annotations

import pytest

from providers.aws.identity import Imds, nic
from providers.base import ProviderError
from providers.cloud.metadata_service import MetadataError
from tests.lab.aws import imds as fake_imds
from tests.lab.aws.ec2 import Ec2
from tests.lab.aws.imds import Imds as FakeImds
from tests.lab.aws.state import Interface

TOKEN = "PUT /latest/api/token"


def test_our_network_interface(imds: FakeImds) -> None:
    found = nic(Imds(), None)
    assert (found.id, found.subnet, found.vpc, found.account) == ("eni-1", "subnet-1", "vpc-1", "123456789012")
    assert found.address == "10.77.0.11"
    assert [str(each) for each in found.networks] == ["10.77.0.0/24", "fd77::/64"]
    assert [str(each) for each in found.vpc_networks] == ["10.77.0.0/16", "fd77::/56"]
    assert imds.asked.count(TOKEN) == 1


def test_without_ipv6_there_are_no_such_networks(ec2: Ec2, imds: FakeImds) -> None:
    ec2.cloud.subnets["subnet-1"].ipv6_cidr = None
    assert [str(each) for each in nic(Imds(), None).networks] == ["10.77.0.0/24"]


def test_a_token_that_is_refused_is_renewed(imds: FakeImds) -> None:
    ours = Imds()
    ours.text("/latest/meta-data/mac")
    imds.tokens.clear()
    assert ours.text("/latest/meta-data/instance-type") == "t4g.small"
    assert imds.asked.count(TOKEN) == 2


def test_there_is_no_proxy(imds: FakeImds, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert nic(Imds(), None).id == "eni-1"


def test_the_ipv6_endpoint(ec2: Ec2, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_imds.serving(FakeImds(ec2.cloud, [ec2.cloud.interfaces["eni-2"]]), "::1") as fake:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", fake.url)
        assert nic(Imds(), None).id == "eni-2"


def test_an_interface_that_ec2_does_not_know_is_said_to_be_so(imds: FakeImds) -> None:
    imds.interfaces.append(Interface("eni-3", "subnet-1", ["10.77.0.13"], mac="02:00:0a:4d:00:0d"))
    assert nic(Imds(), "lo").id == "eni-1"  # loopback has no MAC address: the primary one
    with pytest.raises(ProviderError, match="nothing-such"):
        nic(Imds(), "nothing-such")


def test_metadata_that_is_gone_is_an_error_that_names_it(imds: FakeImds) -> None:
    imds.gone = True
    with pytest.raises(MetadataError, match=imds.url):
        nic(Imds(), None)
    imds.gone = False
    with pytest.raises(MetadataError, match="/latest/nonsense"):
        Imds().text("/latest/nonsense")
