"""What `type: auto` stands for: the right provider for a group's VIPs on the platform that this node runs on.

On a cloud, the addresses must be moved in its network: an address that is only bound to an interface looks right, but
no client reaches it. So when the cloud does not report enough to choose, that is an error that says what to configure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Final

from providers.auto.platform import Platform, PlatformFound
from providers.aws import identity as aws_identity
from providers.aws.identity import Network
from providers.azure import identity as azure_identity
from providers.base import ProviderError, Unanswered, Vip
from providers.cloud.metadata_service import gcp_endpoint
from providers.gcp.metadata import Metadata

_ANSWER_SECONDS: Final = 5.0  # long, because the service is known to exist
ROUTE_TABLE_TAG: Final = "anyvip:group"  # AWS: a tag of the route tables for a group's VIPs; its value is the group


@dataclass(frozen=True, slots=True)
class Choice:
    """A provider's `type`, its keys, and the reason for this choice."""

    type: str
    why: str
    keys: Mapping[str, Any] = field(default_factory=dict)


def choose(here: PlatformFound, group: str, vips: tuple[Vip, ...]) -> Choice:
    """Choose the provider for this group here. Asks the metadata service when on a cloud.

    Raises Unanswered when the metadata service does not answer, ProviderError when no provider is certain to be right.
    """
    if here.platform is Platform.METAL:
        return Choice("baremetal", here.why)
    try:
        return _BY_CLOUD[here.platform](here, group, vips)
    except ProviderError as error:
        kind = Unanswered if isinstance(error, Unanswered) else ProviderError
        raise kind(f"auto cannot tell which provider is right here ({here.platform}: {here.why}): {error}") from error


def _aws(here: PlatformFound, group: str, vips: tuple[Vip, ...]) -> Choice:
    nics = aws_identity.nics(aws_identity.Imds(_ANSWER_SECONDS))
    subnets = _join(nic.networks for nic in nics)
    if _all_in(vips, subnets):
        return Choice("aws.secondary_ip", f"{here.why}; {_these(vips)} in this node's subnet")
    vpc = _join(nic.vpc_networks for nic in nics)
    if any(_in(vip, vpc) for vip in vips):
        raise ProviderError(
            f"some of {_these(vips)} are inside the VPC {_these(vpc)}, but not all in this node's subnet "
            f"{_these(subnets)}: a secondary address must be in the subnet of all nodes, a route's outside the VPC"
        )
    tag = f"{ROUTE_TABLE_TAG} = {group}"
    why = f"{here.why}; {_these(vips)} outside the VPC {_these(vpc)}; the route tables are those with the tag {tag}"
    return Choice("aws.route", why, {"route_table_tags": {ROUTE_TABLE_TAG: group}})


def _azure(here: PlatformFound, group: str, vips: tuple[Vip, ...]) -> Choice:  # noqa: ARG001
    machine = azure_identity.this_machine(_ANSWER_SECONDS)
    subnets = _join(interface.networks for interface in machine.interfaces)
    four = [vip for vip in vips if vip.version == 4]  # the service does not report IPv6 subnets
    if four and _all_in(four, subnets):
        return Choice("azure.ip_config", f"{here.why}; {_these(four)} in this node's subnet")
    raise ProviderError(
        f"{_these(vips)} not in this node's subnet {_these(subnets)}, and the route tables for them are not known: "
        "configure {type: azure.route, route_tables: [...]}"
    )


def _gcp(here: PlatformFound, group: str, vips: tuple[Vip, ...]) -> Choice:  # noqa: ARG001
    interfaces = Metadata(gcp_endpoint(), _ANSWER_SECONDS).json("instance/network-interfaces/")
    subnets = tuple(network for each in interfaces for network in _gcp_networks(each))
    if _all_in(vips, subnets):
        return Choice("gcp.alias_ip", f"{here.why}; {_these(vips)} in this node's subnet")
    if not any(_in(vip, subnets) for vip in vips):
        return Choice("gcp.route", f"{here.why}; {_these(vips)} outside this node's subnet {_these(subnets)}")
    raise ProviderError(
        f"some of {_these(vips)} are in this node's subnet {_these(subnets)}, some are not: put them into two groups"
    )


_BY_CLOUD: Mapping[Platform, Callable[[PlatformFound, str, tuple[Vip, ...]], Choice]] = {
    Platform.AWS: _aws,
    Platform.AZURE: _azure,
    Platform.GCP: _gcp,
}


def _gcp_networks(interface: Mapping[str, Any]) -> list[Network]:
    """Return the subnet's primary IPv4 range; the server reports neither its secondary ranges nor IPv6."""
    address, mask = interface.get("ip"), interface.get("subnetmask")
    return [ip_network(f"{address}/{mask}", strict=False)] if address and mask else []


def _join(networks: Iterable[Iterable[Network]]) -> tuple[Network, ...]:
    return tuple(dict.fromkeys(network for some in networks for network in some))


def _in(vip: Vip, networks: Iterable[Network]) -> bool:
    return any(vip.ip in network for network in networks)


def _all_in(vips: Iterable[Vip], networks: tuple[Network, ...]) -> bool:
    return all(_in(vip, networks) for vip in vips)


def _these(each: Iterable[object]) -> str:
    return ", ".join(str(one) for one in each)
