"""EC2's operations by name: their parameters, their answers, and the resources that a policy must allow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.lab.aws.query import Refused
from tests.lab.aws.state import Cloud, Elastic, Interface, Subnet, Table

Params = Mapping[str, Any]
Result = dict[str, Any]
Filters = Mapping[str, Callable[[Any], Iterable[str]]]  # by the filter's name: the values that an item has

_ARNS = {
    "NetworkInterfaceId": "network-interface",
    "RouteTableId": "route-table",
    "AllocationId": "elastic-ip",
    "PrefixListId": "prefix-list",
}


def resources(params: Params) -> list[str]:
    """Return the ARNs that the parameters name, or `*` if they name none."""
    found = [
        f"arn:aws:ec2:eu-central-1:123456789012:{kind}/{params[name]}" for name, kind in _ARNS.items() if name in params
    ]
    return found or ["*"]


# --- changes ---------------------------------------------------------------------------------------------------------


def _assign(cloud: Cloud, given: Params) -> Result:
    eni, addresses = cloud.interface(given["NetworkInterfaceId"]), given.get("PrivateIpAddresses", [])
    if not addresses:
        raise Refused("InvalidParameterCombination", "PrivateIpAddresses or a count")
    cloud.assign(eni, addresses, reassign=given.get("AllowReassignment", False))
    assigned = [{"PrivateIpAddress": address} for address in addresses]
    return {"NetworkInterfaceId": eni.id, "AssignedPrivateIpAddresses": assigned}


def _unassign(cloud: Cloud, given: Params) -> Result:
    cloud.unassign(cloud.interface(given["NetworkInterfaceId"]), given.get("PrivateIpAddresses", []))
    return {}


def _assign_ipv6(cloud: Cloud, given: Params) -> Result:
    eni, addresses = cloud.interface(given["NetworkInterfaceId"]), given.get("Ipv6Addresses", [])
    cloud.assign_ipv6(eni, addresses)
    return {"NetworkInterfaceId": eni.id, "AssignedIpv6Addresses": addresses}


def _unassign_ipv6(cloud: Cloud, given: Params) -> Result:
    eni, addresses = cloud.interface(given["NetworkInterfaceId"]), given.get("Ipv6Addresses", [])
    cloud.unassign_ipv6(eni, addresses)
    return {"NetworkInterfaceId": eni.id, "UnassignedIpv6Addresses": addresses}


def _route(cloud: Cloud, given: Params) -> tuple[Table, str, Interface]:
    destinations = [
        given[n] for n in ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId") if n in given
    ]
    targets = [
        name for name in given if name.endswith("Id") and name not in {"RouteTableId", "DestinationPrefixListId"}
    ]
    if len(destinations) != 1 or len(targets) != 1:
        raise Refused("InvalidParameterCombination", "exactly one destination and exactly one target")
    if targets not in (["NetworkInterfaceId"], ["InstanceId"]):
        raise Refused("InvalidParameterValue", f"this network has no {targets[0]}")
    if targets == ["InstanceId"]:
        mine = [eni for eni in cloud.interfaces.values() if eni.instance == given["InstanceId"]]
        if len(mine) != 1:
            raise Refused("InvalidInstanceID", f"{given['InstanceId']} has {len(mine)} network interfaces")
        return cloud.table(given["RouteTableId"]), destinations[0], mine[0]
    return cloud.table(given["RouteTableId"]), destinations[0], cloud.interface(given["NetworkInterfaceId"])


def _replace_route(cloud: Cloud, given: Params) -> Result:
    cloud.replace_route(*_route(cloud, given))
    return {}


def _create_route(cloud: Cloud, given: Params) -> Result:
    cloud.create_route(*_route(cloud, given))
    return {"Return": True}


def _associate(cloud: Cloud, given: Params) -> Result:
    elastic = cloud.elastic(given["AllocationId"])
    if "NetworkInterfaceId" not in given:
        raise Refused("InvalidParameterCombination", "name the network interface")
    eni = cloud.interface(given["NetworkInterfaceId"])
    address = given.get("PrivateIpAddress", eni.addresses[0])
    return {"AssociationId": cloud.associate(elastic, eni, address, reassociate=given.get("AllowReassociation", True))}


def _disassociate(cloud: Cloud, given: Params) -> Result:
    cloud.disassociate(given["AssociationId"])
    return {}


def _modify_interface(cloud: Cloud, given: Params) -> Result:
    cloud.interface(given["NetworkInterfaceId"]).source_dest_check = given["SourceDestCheck"]["Value"]
    return {}


# --- descriptions ----------------------------------------------------------------------------------------------------


def _filtered(things: Iterable[Any], given: Params, known: Filters) -> list[Any]:
    found = list(things)
    for each in given.get("Filters", []):
        if each["Name"] not in known:
            raise Refused("InvalidParameterValue", f"The filter '{each['Name']}' is invalid")
        values = known[each["Name"]]
        found = [thing for thing in found if set(values(thing)) & set(each["Values"])]
    return found


def _page(key: str, found: list[Any], given: Params, largest: int = 1000) -> Result:
    begin = int(given.get("NextToken", 0))
    end = begin + given.get("MaxResults", largest)
    more = {"NextToken": str(end)} if end < len(found) else {}
    return {key: found[begin:end], **more}


def _describe_interfaces(cloud: Cloud, given: Params) -> Result:
    named = given.get("NetworkInterfaceIds")
    some = [cloud.interface(eni) for eni in named] if named else list(cloud.interfaces.values())
    known: Filters = {
        "network-interface-id": lambda eni: [eni.id],
        "addresses.private-ip-address": lambda eni: eni.addresses,
        "ipv6-addresses.ipv6-address": lambda eni: eni.ipv6,
        "subnet-id": lambda eni: [eni.subnet],
        "vpc-id": lambda eni: [cloud.subnets[eni.subnet].vpc],
        "mac-address": lambda eni: [eni.mac],
    }
    return _page("NetworkInterfaces", [_interface(cloud, eni) for eni in _filtered(some, given, known)], given)


def _interface(cloud: Cloud, eni: Interface) -> Result:
    associations = {e.association.address: (e, e.association) for e in cloud.elastics.values() if e.association}
    addresses = []
    for number, address in enumerate(eni.addresses):
        one: Result = {"PrivateIpAddress": address, "Primary": number == 0}
        if address in associations:
            elastic, seen = associations[address]
            one["Association"] = {"AllocationId": elastic.id, "AssociationId": seen.id, "PublicIp": elastic.public}
        addresses.append(one)
    return {
        "NetworkInterfaceId": eni.id,
        "MacAddress": eni.mac,
        "PrivateIpAddress": eni.addresses[0],
        "PrivateIpAddresses": addresses,
        "Ipv6Addresses": [{"Ipv6Address": address} for address in eni.ipv6],
        "SourceDestCheck": eni.source_dest_check,
        "Status": "in-use" if eni.instance else "available",
        "SubnetId": eni.subnet,
        "VpcId": cloud.subnets[eni.subnet].vpc,
        "AvailabilityZone": cloud.subnets[eni.subnet].zone,
        "Groups": [{"GroupId": group, "GroupName": group} for group in eni.groups],
        "OwnerId": "123456789012",
        **({"Attachment": {"InstanceId": eni.instance, "Status": "attached"}} if eni.instance else {}),
    }


def _describe_tables(cloud: Cloud, given: Params) -> Result:
    named = given.get("RouteTableIds")
    some = [cloud.table(table) for table in named] if named else list(cloud.tables.values())
    filters = {each["Name"] for each in given.get("Filters", [])}
    tags: Filters = {name: _tag(name.removeprefix("tag:")) for name in filters if name.startswith("tag:")}
    known: Filters = {
        **tags,
        "tag-key": lambda table: table.tags,
        "route-table-id": lambda table: [table.id],
        "vpc-id": lambda table: [table.vpc],
    }
    return _page("RouteTables", [_table(cloud, table) for table in _filtered(some, given, known)], given)


def _tag(key: str) -> Callable[[Table], Iterable[str]]:
    return lambda table: [table.tags[key]] if key in table.tags else []


def _table(cloud: Cloud, table: Table) -> Result:
    routes = [_local(block) for block in cloud.vpcs[table.vpc]]
    for destination, eni in table.routes.items():
        gone = eni not in cloud.interfaces or cloud.interfaces[eni].instance is None
        routes.append(
            {
                _destination(destination): destination,
                "NetworkInterfaceId": eni,
                "Origin": "CreateRoute",
                "State": "blackhole" if gone else "active",
            }
        )
    tags = [{"Key": key, "Value": value} for key, value in table.tags.items()]
    return {"RouteTableId": table.id, "VpcId": table.vpc, "Routes": routes, "Tags": tags, "OwnerId": "123456789012"}


def _local(block: str) -> Result:
    return {_destination(block): block, "GatewayId": "local", "Origin": "CreateRouteTable", "State": "active"}


def _destination(text: str) -> str:
    if text.startswith("pl-"):
        return "DestinationPrefixListId"
    return "DestinationIpv6CidrBlock" if ":" in text else "DestinationCidrBlock"


def _describe_elastics(cloud: Cloud, given: Params) -> Result:
    named = given.get("AllocationIds")
    some = [cloud.elastic(each) for each in named] if named else list(cloud.elastics.values())
    known: Filters = {"allocation-id": lambda e: [e.id], "public-ip": lambda e: [e.public]}
    return {"Addresses": [_elastic(each) for each in _filtered(some, given, known)]}


def _elastic(elastic: Elastic) -> Result:
    shown: Result = {"AllocationId": elastic.id, "PublicIp": elastic.public, "Domain": "vpc"}
    if elastic.association is not None:
        at = elastic.association
        shown |= {"AssociationId": at.id, "NetworkInterfaceId": at.interface, "PrivateIpAddress": at.address}
    return shown


def _describe_subnets(cloud: Cloud, given: Params) -> Result:
    missing = [each for each in given.get("SubnetIds", []) if each not in cloud.subnets]
    if missing:
        raise Refused("InvalidSubnetID.NotFound", f"The subnet ID '{missing[0]}' does not exist")
    some = [cloud.subnets[each] for each in given.get("SubnetIds", cloud.subnets)]
    return _page("Subnets", [_subnet(each) for each in some], given)


def _subnet(subnet: Subnet) -> Result:
    ipv6 = (
        [{"Ipv6CidrBlock": subnet.ipv6_cidr, "Ipv6CidrBlockState": {"State": "associated"}}] if subnet.ipv6_cidr else []
    )
    where = {"SubnetId": subnet.id, "VpcId": subnet.vpc, "AvailabilityZone": subnet.zone}
    return {**where, "CidrBlock": subnet.cidr, "Ipv6CidrBlockAssociationSet": ipv6}


def _describe_groups(cloud: Cloud, given: Params) -> Result:
    missing = [each for each in given.get("GroupIds", []) if each not in cloud.groups]
    if missing:
        raise Refused("InvalidGroup.NotFound", f"The security group '{missing[0]}' does not exist")
    found = []
    for each in (cloud.groups[name] for name in given.get("GroupIds", cloud.groups)):
        admits = []
        for protocol, first, last, cidr in each.admits:
            ports = {} if protocol == "-1" else {"FromPort": first, "ToPort": last}
            where = {"Ipv6Ranges": [{"CidrIpv6": cidr}]} if ":" in cidr else {"IpRanges": [{"CidrIp": cidr}]}
            admits.append({"IpProtocol": protocol, **ports, **where})
        found.append({"GroupId": each.id, "GroupName": each.id, "IpPermissions": admits})
    return _page("SecurityGroups", found, given)


def _describe_types(cloud: Cloud, given: Params) -> Result:
    limit = cloud.addresses_per_interface
    network = {"Ipv4AddressesPerInterface": limit, "Ipv6AddressesPerInterface": limit, "Ipv6Supported": True}
    return {"InstanceTypes": [{"InstanceType": each, "NetworkInfo": network} for each in given["InstanceTypes"]]}


def _prefix_list(cloud: Cloud, given: Params) -> Result:
    wanted = given["PrefixListId"]
    if wanted not in cloud.prefix_lists:
        raise Refused("InvalidPrefixListID.NotFound", f"The prefix list ID '{wanted}' does not exist")
    return _page("Entries", [{"Cidr": cidr} for cidr in cloud.prefix_lists[wanted]], given, 100)


CHANGES: Mapping[str, Callable[[Cloud, Params], Result]] = {
    "AssignPrivateIpAddresses": _assign,
    "UnassignPrivateIpAddresses": _unassign,
    "AssignIpv6Addresses": _assign_ipv6,
    "UnassignIpv6Addresses": _unassign_ipv6,
    "ReplaceRoute": _replace_route,
    "CreateRoute": _create_route,
    "AssociateAddress": _associate,
    "DisassociateAddress": _disassociate,
    "ModifyNetworkInterfaceAttribute": _modify_interface,
}
DESCRIPTIONS: Mapping[str, Callable[[Cloud, Params], Result]] = {
    "DescribeNetworkInterfaces": _describe_interfaces,
    "DescribeRouteTables": _describe_tables,
    "DescribeAddresses": _describe_elastics,
    "DescribeSubnets": _describe_subnets,
    "DescribeSecurityGroups": _describe_groups,
    "DescribeInstanceTypes": _describe_types,
    "GetManagedPrefixListEntries": _prefix_list,
}
