"""Blocking calls on VIPs in this host's kernel: addresses, announcements, connections (`baremetal.provider`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from providers.baremetal import placing
from providers.baremetal.announcing import announcements
from providers.baremetal.routes import Routes, list_networks
from providers.base import Place, Placement, ProviderError, Vip
from providers.linux import rtnetlink, sockdiag
from providers.linux.netlink import ROUTE, SOCK_DIAG, Socket
from providers.linux.packet_socket import PacketSocket
from providers.linux.rtnetlink import Address, Lifetime, Link

_CHUNK: Final = 200  # addresses per call; the grant is checked again before each call
_NAMED: Final = 3  # how many missing addresses a message names


class LocalVips:
    """The VIPs of one group and their interfaces. Not safe for use by several threads at a time."""

    def __init__(self, group: str, vips: tuple[Vip, ...], interface: str | None) -> None:
        """Raises ProviderError when an interface is not given and cannot be found, or has a VIP as its own address."""
        self.vips = vips
        self._kernel = Socket(ROUTE)
        self._routes = Routes(self._kernel, group)
        try:
            self.places: Mapping[str, tuple[Vip, ...]] = self._place(interface)
            self._refuse_own()
        except ProviderError:
            self._kernel.close()
            raise
        loopback = {link.name for link in self.links() if link.loopback}
        self._networks = {name: () if name in loopback else list_networks(some) for name, some in self.places.items()}
        self._put: dict[int, tuple[str, set[bytes]]] = {}  # what `put` might have added, by link index, with its name
        self._wires: dict[
            int, PacketSocket
        ] = {}  # by link index; kept open, because closing one takes the kernel 10 ms

    def close(self) -> None:
        """Close the descriptors. The addresses stay as they are."""
        self._kernel.close()
        for wire in self._wires.values():
            wire.close()

    def links(self) -> list[Link]:
        """Return every interface of this host. Raises ProviderError."""
        return list(rtnetlink.links(self._kernel).values())

    def addresses(self) -> list[Address]:
        """Return every address of this host. Raises ProviderError."""
        return rtnetlink.addresses(self._kernel)

    def audience(self) -> list[tuple[Link, list[Vip]]]:
        """Return each link whose neighbours must know VIPs by MAC, with those VIPs. Raises ProviderError."""
        links = self.links()
        needed = any(link.loopback for link in links if link.name in self.places)
        return placing.announcing_links(self.places, links, self.addresses() if needed else [])

    def put(self, seconds: Callable[[], int]) -> None:
        """Add the addresses, or give them a new lifetime. Then add the routes that their networks need.

        `seconds` returns the lifetime. It is called before each call to the kernel, and can raise.
        """
        for interface, vips in self.places.items():
            index = rtnetlink.index_of(self._kernel, interface)
            _, put = self._put.setdefault(index, (interface, set()))
            for start in range(0, len(vips), _CHUNK):
                some, valid = vips[start : start + _CHUNK], seconds()
                messages = [rtnetlink.put_address(index, interface, vip.packed, _lifetime(vip, valid)) for vip in some]
                seconds()  # raises if building the messages took too long
                put.update(vip.packed for vip in some)
                self._kernel.apply(messages, f"bind VIPs on {interface}")
            self._routes.keep(index, self._networks[interface])

    def adapt(self) -> None:
        """Keep the routes as this host needs them now, where `put` has added addresses. Raises ProviderError."""
        for index, (interface, _) in self._put.items():
            self._routes.keep(index, self._networks[interface])

    def take_back(self) -> bool:
        """Remove what `put` added, without reading the addresses. Return whether it had added any.

        Raises ProviderError.
        """
        put, self._put = self._put, {}
        ours = (
            Address(index, packed, len(packed) * 8, duplicate=False)
            for index, (_, some) in put.items()
            for packed in some
        )
        messages = [rtnetlink.delete_address(address) for address in ours]
        self._kernel.apply(messages, "unbind VIPs", ignore=rtnetlink.NOT_THERE)
        for index, (interface, _) in put.items():
            self._routes.drop(index, self._networks[interface])
        return bool(messages)

    def take(self) -> list[str]:
        """Remove the VIPs from their interfaces, whatever prefix they have there, and our routes. Raises ProviderError.

        Returns those that another program had added, each as `ADDRESS/PREFIX on INTERFACE`.
        """
        names = {link.index: link.name for link in self.links()}
        ours = {vip.packed for vip in self.vips}
        found = [a for a in self.addresses() if a.packed in ours and names.get(a.index) in self.places]
        messages = [rtnetlink.delete_address(address) for address in found]
        self._kernel.apply(messages, "unbind VIPs", ignore=rtnetlink.NOT_THERE)
        for index, name in names.items():
            self._routes.drop(index, self._networks.get(name, ()))
        return [f"{address.interface} on {names[address.index]}" for address in found if address.permanent]

    def look(self) -> Placement:
        """Return where the kernel has the VIPs. Raises ProviderError."""
        names = {link.index: link.name for link in self.links()}
        there: dict[bytes, set[str]] = defaultdict(set)
        for address in self.addresses():
            if not address.duplicate and address.index in names:
                there[address.packed].add(names[address.index])
        wanted = [(vip, interface) for interface, vips in self.places.items() for vip in vips]
        missing = [(vip, interface) for vip, interface in wanted if interface not in there[vip.packed]]
        if not missing:
            return Placement(Place.HERE)
        stray = [f"{vip.ip} on {', '.join(sorted(there[vip.packed]))}" for vip, _ in missing if there[vip.packed]]
        if stray:
            return Placement(Place.ELSEWHERE, f"this host has {_some(stray)}")
        return Placement(Place.NOWHERE, f"missing: {_some([f'{vip.ip} on {name}' for vip, name in missing])}")

    def tell(self) -> None:
        """Announce every VIP once. Raises ProviderError when a frame does not leave."""
        for link, vips in self.audience():
            self.send(link, vips)

    def send(self, link: Link, vips: Iterable[Vip]) -> None:
        """Announce these VIPs once on a link. Raises ProviderError when a frame does not leave."""
        if link.index not in self._wires:
            self._wires[link.index] = PacketSocket(link.name)
        self._wires[link.index].send(announcements((vip.ip for vip in vips), link.mac or b""))

    def reset(self) -> int:
        """Reset the TCP connections to the VIPs and return how many there were. Raises ProviderError."""
        with Socket(SOCK_DIAG) as kernel:
            return sockdiag.reset(kernel, [vip.ip for vip in self.vips])

    def _refuse_own(self) -> None:
        own = placing.own_address(self.places, self.links(), self.addresses())
        if own is not None:
            raise ProviderError(
                f"{own} is this host's own address, which would go with the VIP: choose an address that no host owns; "
                f"if another program left it there: ip address del {own.replace(' on ', ' dev ')}"
            )

    def _place(self, interface: str | None) -> Mapping[str, tuple[Vip, ...]]:
        if interface is not None:
            return {rtnetlink.find_name(self._kernel, interface): self.vips}
        links, addresses = self.links(), self.addresses()
        routes = {version: rtnetlink.default_interface(self._kernel, version) for version in (4, 6)}
        places: dict[str, list[Vip]] = defaultdict(list)
        for vip in self.vips:
            places[placing.interface_of(vip, links, addresses, routes)].append(vip)
        return {name: tuple(vips) for name, vips in places.items()}


def take_away(addresses: Collection[bytes]) -> None:
    """Remove addresses that an earlier life might have left on any interface; those without a lifetime are not ours.

    Raises ProviderError.
    """
    with Socket(ROUTE) as kernel:
        found = [a for a in rtnetlink.addresses(kernel) if a.packed in addresses and not a.permanent]
        kernel.apply([rtnetlink.delete_address(a) for a in found], "unbind", ignore=rtnetlink.NOT_THERE)


def _lifetime(vip: Vip, valid: int) -> Lifetime:
    """Return a lifetime as long as the grant.

    An IPv6 VIP is never preferred, or the kernel would choose it as the source of what this host sends. IPv4 ignores
    the preference: there, the scope has the same effect (`rtnetlink.put_address`).
    """
    return Lifetime(valid, preferred=valid if vip.version == 4 else 0)


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more
