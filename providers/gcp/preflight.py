"""Checks of Compute Engine for what would break a failover, before there is one. Changes nothing."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from google.cloud import compute_v1
from google.cloud.compute_v1 import Instance, NetworkInterface, Subnetwork

from providers.base import Finding, Level, ProviderError, Topic
from providers.cloud.calls import together
from providers.cloud.deadline import Deadline
from providers.gcp.client import ComputeOptions
from providers.gcp.compute import Compute, InstanceName, Terms
from providers.gcp.identity import Identity

SECONDS: Final = 30.0  # for all checks together
Look = Coroutine[Any, Any, list[Finding]]
Network = IPv4Network | IPv6Network

# Where Google's load balancers probe from (Google: "Probe IP ranges and firewall rules").
PROBERS: Final = (ip_network("35.191.0.0/16"), ip_network("130.211.0.0/22"))


async def run_checks(looks: Mapping[Topic, Look]) -> list[Finding]:
    """Return the findings of all checks, which are named by their subjects. A check that fails becomes a finding."""
    return [
        finding for some in await together(_careful(each, look) for each, look in looks.items()) for finding in some
    ]


async def _careful(topic: Topic, look: Look) -> list[Finding]:
    try:
        return await look
    except ProviderError as error:
        return [Finding(Level.WARNING, *topic, f"not known: {error}", "run this again, or let this node read it")]


def report_identity_failure(error: ProviderError) -> list[Finding]:
    """Return the finding that this node's identity is not known, without which nothing can be checked."""
    remedy = "let this instance reach its metadata server and the API, or set `project`, `zone`, `instance` and `nic`"
    return [Finding(Level.ERROR, "gcp.identity", "identity", str(error), remedy)]


async def permissions(
    compute: Compute, machines: Sequence[InstanceName], role: str, wanted: Sequence[str], until: Deadline
) -> list[Finding]:
    """Check which permissions are missing: those on instances on each of `machines`, all others on the project."""
    project = machines[0].project
    on_instances = [each for each in wanted if each.startswith("compute.instances.") and not each.endswith(".list")]
    on_project = [each for each in wanted if each not in on_instances]
    held = await together(
        [
            compute.ask("test permissions", partial(_test_project, compute, project, on_project), until),
            *(
                compute.ask("test permissions", partial(_test_instance, compute, name, on_instances), until)
                for name in machines
            ),
        ]
    )
    missing = sorted({*on_project} - held[0] | {*on_instances} - frozenset.intersection(*held[1:]))
    if missing:
        remedy = f"give the service account a role with this permission: terraform/gcp/policies/{role}.json"
        return [Finding(Level.ERROR, "gcp.permission", f"permission {each}", "missing", remedy) for each in missing]
    return [Finding(Level.OK, "gcp.permission", "permissions", f"the service account has all {len(wanted)}")]


def _test_instance(compute: Compute, name: InstanceName, wanted: Sequence[str], terms: Terms) -> frozenset[str]:
    asked = compute_v1.TestIamPermissionsInstanceRequest(
        project=name.project,
        zone=name.zone,
        resource=name.name,
        test_permissions_request_resource=compute_v1.TestPermissionsRequest(permissions=list(wanted)),
    )
    return frozenset(compute.instances.test_iam_permissions(asked, **terms).permissions)


def _test_project(compute: Compute, project: str, wanted: Sequence[str], terms: Terms) -> frozenset[str]:
    """Test permissions with Cloud Resource Manager, because Compute Engine has no such method for projects."""
    answer = compute.session.post(
        f"{compute.options.resource_manager_endpoint}/v1/projects/{project}:testIamPermissions",
        json={"permissions": list(wanted)},
        timeout=terms["timeout"],
    )
    answer.raise_for_status()
    return frozenset(answer.json().get("permissions", ()))


# --- subnets ------------------------------------------------------------------------------------------------------


async def subnet_of(compute: Compute, nic: NetworkInterface, until: Deadline) -> Subnetwork:
    """Return the subnet that an interface is in."""
    parts = nic.subnetwork.partition("/projects/")[2].split("/")
    return await compute.ask(
        f"read subnet {parts[-1]}",
        lambda terms: compute.subnetworks.get(project=parts[0], region=parts[2], subnetwork=parts[4], **terms),
        until,
    )


async def subnets(compute: Compute, project: str, network: str, until: Deadline) -> list[Subnetwork]:
    """Return all subnets of a network, in every region."""

    def listed(terms: Terms) -> list[Subnetwork]:
        request = compute_v1.AggregatedListSubnetworksRequest(project=project)
        pages = compute.subnetworks.aggregated_list(request, **terms)
        return [each for _, scope in pages for each in scope.subnetworks if each.network.endswith(network)]

    return await compute.ask("list subnets", listed, until)


def ranges(subnet: Subnetwork) -> dict[str, Network]:
    """Return a subnet's ranges by name; the primary one's name is empty."""
    named = {each.range_name: each.ip_cidr_range for each in subnet.secondary_ip_ranges}
    given = {"": subnet.ip_cidr_range, **named, "IPv6": subnet.ipv6_cidr_range}
    return {name: ip_network(cidr) for name, cidr in given.items() if cidr}


def within_range(subnet: Subnetwork, name: str | None, vips: Iterable[str]) -> list[Finding]:
    """Check whether the VIPs are in the range that they must come from."""
    known = ranges(subnet)
    if (name or "") not in known:
        has = ", ".join(each for each in known if each) or "none"
        return [
            Finding(
                Level.ERROR,
                "gcp.vip_range",
                "subnet",
                f"{subnet.name} has no secondary range {name}: {has}",
                "set `range_name`",
            )
        ]
    within = known[name or ""]
    outside = [vip for vip in vips if not _contains(within, vip)]
    if not outside:
        return [Finding(Level.OK, "gcp.vip_range", "subnet", f"the VIPs are in {within} of {subnet.name}")]
    where = [each for each, cidr in known.items() if each and _contains(cidr, outside[0])]
    remedy = f"set `range_name: {where[0]}`" if where else "choose VIPs of the subnet, or move them with gcp.route"
    return [
        Finding(Level.ERROR, "gcp.vip_range", "subnet", f"{outside[0]} is not in {within} of {subnet.name}", remedy)
    ]


def _contains(cidr: Network, vip: str) -> bool:
    """Check whether the VIP is in this range. An IPv4 address is in no IPv6 range, and the other way round."""
    network = ip_network(vip)
    return network.version == cidr.version and network.subnet_of(cidr)  # type: ignore[arg-type]


def outside_all(found: Iterable[Subnetwork], vips: Iterable[str]) -> list[Finding]:
    """Check whether the VIPs are outside all subnets, because Compute Engine refuses a route into one."""
    inside = [
        (vip, subnet.name)
        for vip in vips
        for subnet in found
        for cidr in ranges(subnet).values()
        if _contains(cidr, vip)
    ]
    if not inside:
        return [Finding(Level.OK, "gcp.vip_subnets", "subnets", "the VIPs are outside all of them")]
    vip, name = inside[0]
    remedy = "choose VIPs outside every subnet, or move them with gcp.alias_ip"
    return [
        Finding(
            Level.ERROR,
            "gcp.vip_subnets",
            "subnets",
            f"{vip} is in {name}: Compute Engine refuses routes there",
            remedy,
        )
    ]


def forwards(instance: Instance) -> list[Finding]:
    """Check whether the network delivers packets that are not addressed to the instance itself."""
    if instance.can_ip_forward:
        return [Finding(Level.OK, "gcp.ip_forwarding", "canIpForward", f"on at {instance.name}")]
    remedy = "recreate the instance with canIpForward (Terraform: can_ip_forward = true)"
    return [
        Finding(
            Level.ERROR,
            "gcp.ip_forwarding",
            "canIpForward",
            f"off at {instance.name}: it gets no packets for VIPs",
            remedy,
        )
    ]


# --- firewalls ----------------------------------------------------------------------------------------------------


async def probes_let_in(
    compute: Compute, us: InstanceName, nic: NetworkInterface, port: int, until: Deadline
) -> list[Finding]:
    """Check whether VPC firewall rules let Google's probers reach the health endpoint.

    Firewall policies, which come before the rules, are only named.
    """
    answer = await compute.ask(
        "read firewalls",
        lambda terms: compute.instances.get_effective_firewalls(
            project=us.project, zone=us.zone, instance=us.name, network_interface=nic.name, **terms
        ),
        until,
    )
    shut = [str(source) for source in PROBERS if not _let_in(answer.firewalls, source, port)]
    if answer.firewall_policys:
        names = ", ".join(each.name for each in answer.firewall_policys)
        note = f"firewall policies come before VPC rules and are not checked here: {names}"
        return [
            Finding(
                Level.WARNING,
                "gcp.firewall",
                "firewall",
                note,
                f"check that they let {port} in from {PROBERS[0]}, {PROBERS[1]}",
            )
        ]
    if shut:
        remedy = f"add a VPC firewall rule: ingress, tcp:{port}, from {PROBERS[0]} and {PROBERS[1]}"
        return [
            Finding(
                Level.ERROR,
                "gcp.firewall",
                "firewall",
                f"health probes from {', '.join(shut)} cannot reach {port}",
                remedy,
            )
        ]
    return [Finding(Level.OK, "gcp.firewall", "firewall", f"health probes reach {port}")]


def _let_in(rules: Iterable[compute_v1.Firewall], source: Network, port: int) -> bool:
    """Return whether the rules let the source in.

    The rule with the lowest number decides, and among equal ones the one that denies. Without any rule, ingress is
    denied.
    """
    fitting = [
        rule
        for rule in rules
        if rule.direction == "INGRESS" and not rule.disabled and _from(rule, source) and _for(rule, port)
    ]
    first = min(fitting, key=lambda rule: (rule.priority, not rule.denied), default=None)
    return first is not None and bool(first.allowed)


def _from(rule: compute_v1.Firewall, source: Network) -> bool:
    """Return whether the rule applies: an allowing one must cover all of the source, a denying one any part of it."""
    given = [each for each in map(ip_network, rule.source_ranges) if each.version == source.version]
    if rule.denied:
        return any(each.overlaps(source) for each in given)
    return any(source.subnet_of(each) for each in given)  # type: ignore[arg-type]


def _for(rule: compute_v1.Firewall, port: int) -> bool:
    protocols: list[Any] = [*rule.allowed, *rule.denied]
    for each in protocols:
        if each.I_p_protocol in {"all", "tcp", "6"}:
            if not each.ports:
                return True
            for span in each.ports:
                low, _, high = span.partition("-")
                if int(low) <= port <= int(high or low):
                    return True
    return False


async def backend(compute: Compute, options: ComputeOptions, port: int) -> list[Finding]:
    """Return what would keep a load balancer's probes from this instance's health endpoint."""
    until = compute.calls.within(SECONDS)
    identity = Identity(options, compute)
    try:
        us = await identity.name(until)
        nic = await identity.nic(await compute.instance(us, until), until)
    except ProviderError as error:
        return report_identity_failure(error)
    return await run_checks({Topic("gcp.firewall", "firewall"): probes_let_in(compute, us, nic, port, until)})
