"""Checks of what in EC2 would prevent a failover. They change nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

from providers.aws.ec2 import Ec2, Ec2Options, code
from providers.aws.identity import Nic
from providers.base import Finding, Level, ProviderError, Topic
from providers.cloud.calls import CallRefused, together
from providers.cloud.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Coroutine

_SECONDS: Final = 30.0
_DENIED: Final = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})
_RESERVED: Final = 4  # first addresses of a subnet; AWS also reserves the last one ("Subnet CIDR blocks")

Described = Callable[[float], Awaitable[Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class Looking:
    """What every check needs: EC2, the deadline, the options, and the description of this node's interface."""

    ec2: Ec2
    until: Deadline
    options: Ec2Options
    nic: Nic
    eni: Mapping[str, Any]


Look = Callable[[Looking], "Coroutine[Any, Any, list[Finding]]"]


async def run_checks(ec2: Ec2, options: Ec2Options, looks: Mapping[Topic, Look]) -> list[Finding]:
    """Return the findings of all checks, which `looks` maps by topic. A check that fails becomes a finding."""
    until = ec2.calls.within(_SECONDS)
    try:
        nic = await ec2.nic(until)
    except ProviderError as error:
        remedy = "allow this instance to use its metadata service (IMDSv2), or set `interface`"
        return [Finding(Level.ERROR, "aws.identity", "identity", str(error), remedy)]
    found = [Finding(Level.OK, "aws.identity", "identity", f"{nic.id} in {nic.subnet}, {nic.vpc}")]
    try:
        eni = await ec2.interface(nic.id, until, own=True)
    except ProviderError as error:
        return [*found, _report_failure(Topic("aws.network_interface", "network interface"), error)]
    looking = Looking(ec2, until, options, nic, eni)
    every = {**looks, Topic("aws.security_group", "security groups"): _probes_let_in}
    for some in await together(_careful(topic, look, looking) for topic, look in every.items()):
        found += some
    return found


async def may(looking: Looking, action: str, policy: str, **params: Any) -> Finding:
    """Check whether an action is allowed, by a request that changes nothing.

    The request is a dry run where EC2 has one: any answer other than a denial means that the action is allowed
    ("Actions", DryRun).
    """
    subject = f"permission ec2:{action}"
    try:
        await looking.ec2.ask(_in_python(action), looking.until, **params)
    except CallRefused as refused:
        if code(refused) in _DENIED:
            return _report_not_allowed(subject, policy, params)
        if refused.refusal.retry:
            return Finding(Level.WARNING, "aws.permission", subject, f"unknown: {refused}", "run this again")
    except ProviderError as error:
        return Finding(Level.WARNING, "aws.permission", subject, f"unknown: {error}", "run this again")
    return Finding(Level.OK, "aws.permission", subject, "allowed")


def _report_not_allowed(subject: str, policy: str, params: Mapping[str, Any]) -> Finding:
    on = params.get("RouteTableId") or params.get("AllocationId") or params.get("NetworkInterfaceId") or "*"
    remedy = f"allow it for the instance's role (or for `role_arn`): terraform/aws/policies/{policy}.json"
    return Finding(Level.ERROR, "aws.permission", subject, f"missing on {on}", remedy)


def check_source(looking: Looking) -> Finding:
    """Check whether EC2 would drop packets that are not addressed to the interface's own addresses."""
    eni = looking.nic.id
    if not looking.eni["SourceDestCheck"]:
        return Finding(Level.OK, "aws.source_dest_check", "source/destination check", f"off on {eni}")
    return Finding(
        Level.ERROR,
        "aws.source_dest_check",
        "source/destination check",
        f"on for {eni}: EC2 drops packets for VIPs that are routed here",
        f"aws ec2 modify-network-interface-attribute --network-interface-id {eni} --no-source-dest-check",
    )


def inside_subnet(nic: Nic, vip: str) -> Finding:
    """Check whether a VIP can be assigned in this node's subnet."""
    subject = f"VIP {vip}"
    networks = [network for network in nic.networks if ip_address(vip) in network]
    if not networks:
        blocks = ", ".join(str(network) for network in nic.networks)
        message = f"is outside {nic.subnet} ({blocks}): it cannot be assigned to {nic.id}"
        return Finding(
            Level.ERROR,
            "aws.vip_subnet",
            subject,
            message,
            "use an address of the subnet, or a VIP outside the VPC and aws.route",
        )
    number = int(ip_address(vip)) - int(networks[0].network_address)
    if number < _RESERVED or (":" not in vip and number == networks[0].num_addresses - 1):
        return Finding(
            Level.ERROR, "aws.vip_subnet", subject, "is one of the addresses that AWS reserves", "use another address"
        )
    return Finding(Level.OK, "aws.vip_subnet", subject, f"is in {nic.subnet}")


def outside_vpc(nic: Nic, destination: str) -> Finding:
    """Check whether a route can lead to a VIP."""
    inside = [n for n in nic.vpc_networks if n.overlaps(ip_network(destination))]
    if inside:
        message = f"is inside {nic.vpc} ({inside[0]}): routes cannot lead there"
        return Finding(
            Level.ERROR, "aws.vip_vpc", f"VIP {destination}", message, "use one outside the VPC, or aws.secondary_ip"
        )
    return Finding(Level.OK, "aws.vip_vpc", f"VIP {destination}", f"is outside {nic.vpc}")


async def _careful(topic: Topic, look: Look, looking: Looking) -> list[Finding]:
    try:
        return await look(looking)
    except ProviderError as error:
        return [_report_failure(topic, error)]


def _report_failure(topic: Topic, error: ProviderError) -> Finding:
    denied = isinstance(error, CallRefused) and code(error) in _DENIED
    remedy = "allow it for the instance's role (or for `role_arn`): terraform/aws/policies" if denied else ""
    return Finding(Level.ERROR, *topic, str(error), remedy)


async def _probes_let_in(looking: Looking) -> list[Finding]:
    port = looking.options.probe_port
    if port is None:
        return []
    groups = [group["GroupId"] for group in looking.eni["Groups"]]
    found = await looking.ec2.list(
        "describe_security_groups", "SecurityGroups", looking.until, own=True, GroupIds=groups
    )
    subject = f"probes of port {port}"
    sources = [
        source for group in found for rule in group["IpPermissions"] if _admits(rule, port) for source in _sources(rule)
    ]
    if sources:
        return [Finding(Level.OK, "aws.security_group", subject, f"allowed from {', '.join(sources)}")]
    message = f"no security group of {looking.nic.id} ({', '.join(groups)}) allows them"
    remedy = (
        "allow the port from the load balancer's security group or subnets; "
        "a network load balancer might probe from its nodes"
    )
    return [Finding(Level.ERROR, "aws.security_group", subject, message, remedy)]


def _admits(rule: Mapping[str, Any], port: int) -> bool:
    if rule["IpProtocol"] == "-1":
        return True
    return bool(rule["IpProtocol"] == "tcp" and rule["FromPort"] <= port <= rule["ToPort"])


def _sources(rule: Mapping[str, Any]) -> Iterable[str]:
    names = {
        "IpRanges": "CidrIp",
        "Ipv6Ranges": "CidrIpv6",
        "PrefixListIds": "PrefixListId",
        "UserIdGroupPairs": "GroupId",
    }
    return [str(each[name]) for kind, name in names.items() for each in rule.get(kind, [])]


def _in_python(action: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in action).lstrip("_")
