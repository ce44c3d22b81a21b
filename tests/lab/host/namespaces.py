"""Network namespaces that a test makes for itself, and a neighbour that sends requests from another namespace."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from providers.baremetal import arp, ndp
from tests.lab.host.processes import LIVENESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from providers.baremetal.announcing import IPAddress

CLONE_NEWNET = 0x40000000
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace of this test run."""

    def __init__(self, role: str) -> None:
        self.name = f"av{os.getpid():x}-{next(_numbers)}{role}"
        made = subprocess.run(["ip", "netns", "add", self.name], capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"cannot make network namespaces: {made.stderr.strip()}")

    def run(self, command: str) -> str:
        """Run one command in the namespace, and return its output. Fails the test if the command fails."""
        ended = subprocess.run(
            ["ip", "netns", "exec", self.name, *command.split()], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{command}: {ended.stderr}"
        return ended.stdout

    def ip(self, *commands: str) -> None:
        """Run `ip` commands in the namespace, all in one process."""
        batch = "\n".join(commands) + "\n"
        ended = subprocess.run(
            ["ip", "-netns", self.name, "-batch", "-"], input=batch, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{batch}{ended.stderr}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Enter the namespace with this thread. Sockets and threads that it makes in this context belong there."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
            yield
        finally:
            _setns(before)
            os.close(there)
            os.close(before)

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def namespaces(*roles: str) -> Iterator[list[Namespace]]:
    """Make one namespace per role, and remove them when the test ends."""
    if shutil.which("ip") is None:
        pytest.skip("cannot make network namespaces: no ip command (iproute2)")
    made: list[Namespace] = []
    try:
        made.extend(Namespace(role) for role in roles)  # `made` has those that were made before one failed
        yield made
    finally:
        for namespace in made:
            namespace.remove()


def eventually(true: Callable[[], object], seconds: float = LIVENESS) -> bool:
    """Wait until a condition is true, and report whether it became true within a generous time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


class Neighbour:
    """A host on the LAN that asks for addresses by each protocol, without its own caches."""

    def __init__(self, namespace: Namespace, interface: str, four: str, six: str) -> None:
        self.namespace = namespace
        self.interface = interface
        self.four = IPv4Address(four)
        self.six = IPv6Address(six)
        with namespace.entered():
            self._arp = self._packets(arp.ETHERTYPE)
            self._nd = self._packets(ndp.ETHERTYPE)
            self._udp = {4: self._datagrams(socket.AF_INET, four), 6: self._datagrams(socket.AF_INET6, six)}
        self.mac = self._arp.getsockname()[4]

    def close(self) -> None:
        for each in (self._arp, self._nd, *self._udp.values()):
            each.close()

    def _packets(self, ethertype: int) -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
        made.bind((self.interface, ethertype))
        return made

    def _datagrams(self, family: socket.AddressFamily, address: str) -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.bind((address, 7007))
        return made

    def answered(self, address: IPAddress, within: float) -> bytes | None:
        """Return the MAC that answers ARP or neighbour discovery for the address, or None."""
        if address.version == 4:
            asked = arp.Arp(arp.REQUEST, self.mac, self.four, b"\0" * 6, address).frame()
            return self._heard(self._arp, [asked], lambda frame: _replier(frame, address), within)
        return self._heard(self._nd, [ndp.probe(address, self.mac)], lambda frame: _advertiser(frame, address), within)

    def announced(self, address: IPAddress, within: float) -> bytes | None:
        """Return the MAC that announces the address without a request, or None."""
        if address.version == 4:
            return self._heard(self._arp, [], lambda frame: _announcer(frame, address), within)
        return self._heard(self._nd, [], lambda frame: _advertiser(frame, address), within)

    def echoed(self, address: IPAddress, within: float) -> bool:
        """Report whether the address answers UDP."""
        asking = self._udp[address.version]
        self.forget()
        asking.sendto(b"?", (str(address), 7))
        return self.received(address, within)

    def received(self, address: IPAddress, within: float) -> bool:
        """Report whether UDP arrives from the address."""
        asking = self._udp[address.version]
        end = time.monotonic() + within
        while (left := end - time.monotonic()) > 0:
            asking.settimeout(left)
            try:
                _, sender = asking.recvfrom(100)
            except TimeoutError:
                return False
            if sender[0] == str(address):
                return True
        return False

    def forget(self) -> None:
        """Discard what has arrived so far."""
        for each in (self._arp, self._nd, *self._udp.values()):
            each.setblocking(False)
            try:
                while True:
                    each.recv(2048)
            except BlockingIOError:
                pass

    def send(self, frame: bytes) -> None:
        self._arp.send(frame)

    def _heard(
        self, where: socket.socket, ask: list[bytes], found: Callable[[bytes], bytes | None], within: float
    ) -> bytes | None:
        if ask:
            self.forget()
        for frame in ask:
            where.send(frame)
        end = time.monotonic() + within
        while (left := end - time.monotonic()) > 0:
            where.settimeout(left)
            try:
                mac = found(where.recv(2048))
            except TimeoutError:
                return None
            if mac is not None:
                return mac
        return None


def _replier(frame: bytes, address: IPAddress) -> bytes | None:
    packet = arp.parse(frame)
    found = packet is not None and packet.operation == arp.REPLY and packet.sender == address
    return packet.sender_mac if packet is not None and found else None


def _announcer(frame: bytes, address: IPAddress) -> bytes | None:
    packet = arp.parse(frame)
    found = packet is not None and packet.sender == address and packet.target == address
    return packet.sender_mac if packet is not None and found else None


def _advertiser(frame: bytes, address: IPAddress) -> bytes | None:
    packet = ndp.parse(frame)
    found = packet is not None and packet.kind == ndp.ADVERTISEMENT and packet.target == address
    return packet.mac if packet is not None and found else None


def interface_mac(name: str) -> bytes:
    """Return the MAC of an interface in this thread's namespace."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as asking:
        asking.bind((name, 0))
        mac: bytes = asking.getsockname()[4]
    return mac


def source_root() -> Path:
    return Path(__file__).parents[3]
