"""What Compute Engine refuses in well-formed requests before an operation begins."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

from tests.lab.gcp.answers import shown_nic
from tests.lab.gcp.cloud import PROJECT, Cloud, Machine, Nic, Refused, Route, Subnet


def check_nic(cloud: Cloud, nic: Nic, body: dict[str, Any]) -> None:
    """Check a change of an interface's alias ranges. Raises Refused."""
    given = body.get("fingerprint")
    if not given:
        raise Refused(400, "required", "Required field 'resource.fingerprint' not specified")
    if given != shown_nic(cloud, nic)["fingerprint"]:
        raise Refused(412, "conditionNotMet", "Supplied fingerprint does not match current metadata fingerprint.")
    if more := set(body) - {"fingerprint", "aliasIpRanges"}:
        raise Refused(400, "invalid", f"Only alias IP ranges can be changed here, not {sorted(more)}")
    subnet = cloud.subnet(nic.subnet)
    for each in body.get("aliasIpRanges", ()):
        _check_alias(subnet, each)


def check_route(cloud: Cloud, body: dict[str, Any]) -> Route:
    """Return the requested route. Raises Refused."""
    for name in ("name", "network", "destRange"):
        if not body.get(name):
            raise Refused(400, "required", f"Required field 'resource.{name}' not specified")
    if body["name"] in cloud.routes:
        path = f"projects/{PROJECT}/global/routes/{body['name']}"
        raise Refused(409, "alreadyExists", f"The resource '{path}' already exists")
    network, dest = body["network"].rpartition("/")[2], _network(body["destRange"], "destRange")
    if network not in {each.network for each in cloud.subnets}:
        raise Refused(404, "notFound", f"The resource '{body['network']}' was not found")
    if any(dest.subnet_of(inside) for inside in _ranges(cloud, network) if inside.version == dest.version):
        raise Refused(400, "invalid", f"{dest}: the destination range hides the address space of the network")
    hops = [name for name in body if name.startswith("nextHop")]
    if hops != ["nextHopInstance"]:
        raise Refused(400, "invalid", f"exactly one next hop is needed, and here an instance: {hops}")
    priority = body.get("priority", 1000)
    if priority > 65535:
        raise Refused(400, "invalid", f"Invalid value for field 'resource.priority': '{priority}'.")
    machine = _next_hop(cloud, body["nextHopInstance"], network)
    return Route(body["name"], network, str(dest), priority, machine.path, body.get("description", ""))


def check_access(cloud: Cloud, nic: Nic, body: dict[str, Any]) -> None:
    """Check a new access config, also when the operation lands. Raises Refused."""
    if nic.access:
        raise Refused(400, "invalid", "At most one access config currently supported.")
    wanted = body.get("natIP")
    if wanted is None:
        return
    reserved = {each.address: each.tier for each in cloud.addresses}
    if reserved.get(wanted) != body.get("networkTier", "PREMIUM"):
        raise Refused(400, "invalid", f"Invalid value for field 'resource.natIP': '{wanted}', or its tier.")
    if cloud.with_external(wanted):
        raise Refused(400, "externalIpAlreadyInUse", f"External IP address: {wanted} is already in-use.")


def check_has_access(nic: Nic, name: str) -> None:
    """Check the deletion of an access config. Raises Refused."""
    if name not in {each["name"] for each in nic.access}:
        raise Refused(400, "invalid", f"Invalid value for field 'accessConfig': '{name}'. It is not specified.")


def _next_hop(cloud: Cloud, url: str, network: str) -> Machine:
    parts = url.split("/")
    machine = cloud.machine(parts[-3], parts[-1])
    if not url.endswith(machine.path) or network not in {cloud.subnet(nic.subnet).network for nic in machine.nics}:
        raise Refused(400, "invalid", f"Invalid value for field 'resource.nextHopInstance': '{url}'.")
    return machine


def _ranges(cloud: Cloud, network: str) -> Iterable[Any]:
    for subnet in cloud.subnets:
        if subnet.network == network:
            yield ip_network(subnet.cidr)
            yield from map(ip_network, subnet.secondary.values())


def _check_alias(subnet: Subnet, given: dict[str, str]) -> None:
    wanted, name = _network(given.get("ipCidrRange", ""), "aliasIpRanges"), given.get("subnetworkRangeName")
    if name is not None and name not in subnet.secondary:
        raise Refused(400, "invalid", f"{subnet.name} has no secondary range {name!r}")
    within = ip_network(subnet.secondary[name] if name else subnet.cidr)
    if wanted.version != within.version or not wanted.subnet_of(within):
        raise Refused(400, "invalid", f"Requested alias range {wanted} is not within {within}")


def _network(value: str, field_name: str) -> Any:
    try:
        return ip_network(value)
    except ValueError as error:
        raise Refused(400, "invalid", f"Invalid value for field 'resource.{field_name}': '{value}'.") from error
