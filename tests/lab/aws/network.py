"""The network that tests begin with: two nodes with an interface each in one subnet, overlay routes, an Elastic IP."""

from __future__ import annotations

from tests.lab.aws.ec2 import Ec2
from tests.lab.aws.state import Cloud, Elastic, Interface, SecurityGroup, Subnet, Table

NODES = {"n1": "eni-1", "n2": "eni-2"}


def small_network(tables: int = 2) -> Ec2:
    """Return a network with `tables` tagged route tables (rtb-1, ...). Nothing is assigned, routed or associated."""
    cloud = Cloud()
    cloud.subnets["subnet-1"] = Subnet("subnet-1", "10.77.0.0/24", "fd77::/64")
    for number in (1, 2):
        eni = f"eni-{number}"
        mac = f"02:00:0a:4d:00:{10 + number:02x}"
        ipv6 = [f"fd77::{10 + number}"]
        cloud.interfaces[eni] = Interface(
            eni, "subnet-1", [f"10.77.0.{10 + number}"], ipv6, mac, instance=f"i-{number}"
        )
        cloud.interfaces[eni].source_dest_check = False
    for number in range(1, tables + 1):
        cloud.tables[f"rtb-{number}"] = Table(f"rtb-{number}", tags={"anyvip": "shop"})
    cloud.elastics["eipalloc-1"] = Elastic("eipalloc-1", "198.51.100.7")
    cloud.groups["sg-1"] = SecurityGroup("sg-1", [("tcp", 9010, 9010, "10.77.0.0/16")])
    cloud.prefix_lists["pl-1"] = ["192.0.2.0/28"]
    return Ec2(cloud)
