"""A host whose network is restarted, edited or flushed while it serves stays what it is without anyvip.

Each test does the same to a twin of the host, where no daemon runs, and compares.
"""

from __future__ import annotations

import fcntl
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv4Address

import pytest

from providers.linux.guard_table import table_name
from tests.lab.host.daemon import LIVENESS, WEB, Host, link
from tests.lab.host.description import describe, without_ours
from tests.lab.host.namespaces import Namespace, eventually, namespaces

pytestmark = pytest.mark.netns

_SIOCGIFADDR = 0x8915  # netdevice(7)
OWN4, OWN6 = "10.77.0.11/24", "fd77::11/64"
VIPS = ["10.77.0.100/24", "fd77::100/64", "192.0.2.100/24"]  # the last one in a network that the host is not in
GROUP = {"vips": VIPS, "providers": [{"type": "baremetal", "interface": "eth0"}]}
MAC = "02:00:00:00:00:11"
AWAY = ["10.77.0.50", "198.51.100.1", "203.0.113.1", "fd77::50", "2001:db8::1"]

SET_UP = [
    f"address replace {OWN4} dev eth0",
    f"address replace {OWN6} dev eth0 nodad",
    "route replace default via 10.77.0.50",
    "route replace 198.51.100.0/24 dev eth0",
    "-6 route replace default via fd77::1",
]


# The kernel then labels addresses anew, and the VIP is the first one: some programs take it for the interface's.
RENAMED = "renamed and back"


def restarts() -> dict[str, list[str]]:
    """What is done to a host, by name: `ip` commands, and pauses in seconds."""
    return {
        "an address is removed and comes back": [f"address del {OWN4} dev eth0", "0.05", *SET_UP],
        "it comes back later": [f"address del {OWN4} dev eth0", f"address del {OWN6} dev eth0", "1.5", *SET_UP],
        "flushed": ["address flush dev eth0 scope global", *SET_UP],
        "flushed, for a while": ["address flush dev eth0 scope global", "1", *SET_UP],
        "routes flushed": ["route flush table main", "-6 route flush table main",
                           f"route add 10.77.0.0/24 dev eth0 proto kernel scope link src {OWN4.split('/', maxsplit=1)[0]}",
                           "-6 route add fd77::/64 dev eth0 proto kernel metric 256", *SET_UP],
        "down and up": ["link set eth0 down", "0.2", "link set eth0 up", *SET_UP],
        "another MAC": ["link set eth0 address 02:00:00:00:00:12"],
        "another MTU": ["link set eth0 mtu 1400"],
        RENAMED: ["link set eth0 down", "link set eth0 name eth9", "0.2", "link set eth9 name eth0",
                             "link set eth0 up", *SET_UP],
        "deleted and made anew": ["link del eth0", "0.5", *wired(), *SET_UP],
        "no carrier for a while": ["link set eth0p down", "0.2", "link set eth0p up", *SET_UP],
        "a bridge's port for a while": ["link add br0 type bridge", "link set br0 up", "link set eth0 master br0", "0.2",
                                        "link set eth0 nomaster", "link del br0", *SET_UP],
        "another address, which was there first": ["address add 10.77.0.12/24 dev eth0", f"address del {OWN4} dev eth0",
                                                   *SET_UP],
    }  # fmt: skip


def wired() -> tuple[str, ...]:
    made, *rest = link("eth0", OWN4)
    return (made.replace("type veth", f"address {MAC} type veth"), *rest)


# How eth0 is made of another kind than veth, on top of port0 where it needs a link below it.
KINDS = {
    "bridge": [f"link add eth0 address {MAC} type bridge", "link set port0 master eth0"],
    "macvlan": [f"link add link port0 name eth0 address {MAC} type macvlan mode bridge"],
    "vlan": ["link add link port0 name eth0 type vlan id 10", f"link set eth0 address {MAC}"],
    "bond": [f"link add eth0 address {MAC} type bond mode active-backup", "link set port0 down",
             "link set port0 master eth0"],
    "dummy": [f"link add eth0 address {MAC} type dummy"],
    "vrf": ["link add vrf9 type vrf table 9", "link set vrf9 up", f"link add eth0 address {MAC} type veth peer name eth0p",
            "link set eth0p up", "link set eth0 master vrf9"],
}  # fmt: skip
CONFIGS = {"vlan": "VLAN_8021Q", "bond": "BONDING", "dummy": "DUMMY", "vrf": "NET_VRF"}


@pytest.fixture
def twin() -> Iterator[Namespace]:
    with namespaces("t") as (namespace,):
        do(namespace, ["link set lo up", *wired(), *SET_UP])
        yield namespace


@pytest.fixture
def alike(host: Host, twin: Namespace) -> Host:
    """The host, set up like its twin."""
    do(host.namespace, ["link del eth0", *wired(), *SET_UP])
    return host


def do(namespace: Namespace, commands: list[str]) -> None:
    for command in commands:
        if re.fullmatch(r"[\d.]+", command):
            time.sleep(float(command))
        else:
            namespace.run(f"ip {command}")


def described(namespace: Namespace) -> list[str]:
    return describe(namespace.run, VIPS, AWAY)


def read_first(namespace: Namespace) -> str:
    """What programs that know one address of an interface take for eth0's (netdevice(7))."""
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", b"eth0"))
    return str(IPv4Address(answer[20:24]))


def is_served(host: Host) -> bool:
    shown = host.namespace.run("ip -o address show dev eth0")
    return all(f" {vip.split('/')[0]}/" in shown for vip in VIPS) and host.role("web") == "active"


def assert_same(left: Callable[[], list[str]], right: Callable[[], list[str]], log: str = "") -> None:
    eventually(lambda: left() == right(), LIVENESS)
    assert left() == right(), log


@pytest.mark.parametrize("name", restarts())
def test_a_host_stays_what_it_is_without_the_daemon(name: str, alike: Host, twin: Namespace) -> None:
    host, commands = alike, restarts()[name]
    here, there = partial(described, host.namespace), partial(described, twin)
    assert_same(here, there)
    host.start(web=GROUP)
    assert eventually(lambda: is_served(host), LIVENESS), host.log
    assert_same(lambda: without_ours(here()), there)
    assert len(here()) == len(there()) + 1, "one route of ours, to the network that the host is not in"
    for namespace in (host.namespace, twin):
        do(namespace, commands)
    assert eventually(lambda: is_served(host), LIVENESS), host.log
    assert_same(lambda: without_ours(here()), there, host.log)
    if name != RENAMED:
        assert read_first(host.namespace) == read_first(twin)
    assert host.stop() == 0
    assert_same(here, there)


def test_a_link_that_comes_into_the_vips_network_is_guarded(host: Host) -> None:
    def guarded(interface: str) -> bool:
        return f'device "{interface}"' in host.namespace.run(f"nft list table netdev {table_name('test')}")

    host.start(web=WEB)
    assert host.becomes("web", "active"), host.log
    assert guarded("eth0")
    assert not guarded("eth1")
    host.namespace.run("ip address add 10.77.0.12/24 dev eth1")
    assert eventually(lambda: guarded("eth1"), LIVENESS), host.log
    assert host.role("web") == "active"


@pytest.mark.parametrize("kind", KINDS)
def test_any_kind_of_link(kind: str, host: Host, twin: Namespace) -> None:
    made = [*KINDS[kind], "link set port0 up", "link set eth0 up", *SET_UP]
    for namespace in (host.namespace, twin):
        do(namespace, ["link del eth0", "link add port0 type veth peer name port0p", "link set port0p up"])
        try:
            do(namespace, made)
        except AssertionError as error:
            if "Unknown device type" not in str(error):
                raise
            pytest.skip(f"this kernel has no links of type {kind} (CONFIG_{CONFIGS[kind]})")
    host.start(web=GROUP)
    here, there = partial(described, host.namespace), partial(described, twin)
    assert eventually(lambda: is_served(host), LIVENESS), host.log
    flushed = ["address flush dev eth0 scope global", "0.2", *SET_UP]
    for commands in (flushed, ["link set eth0 down", "0.2", "link set eth0 up", *SET_UP], ["link del eth0", *made]):
        for namespace in (host.namespace, twin):
            do(namespace, commands)
        assert eventually(lambda: is_served(host), LIVENESS), host.log
        assert_same(lambda: without_ours(here()), there, host.log)
    assert host.stop() == 0
    assert_same(here, there)
