"""The guard as nftables has it: one table, its contents, and the reasons for them. Pure.

::

    chain ingress_eth0 (hook ingress, device eth0) { jump ingress }      one pair per guarded interface
    chain egress_eth0  (hook egress, device eth0)  { jump egress }

    chain ingress {                                          chain egress {
        ip daddr vmap @vips4                                     ip saddr vmap @vips4
        arp operation request arp daddr ip vmap @vips4           arp saddr ip vmap @vips4
        ip6 daddr vmap @vips6                                    ip6 saddr vmap @vips6
        icmpv6 nd-neighbor-solicit, target vmap @targets6        icmpv6 nd-neighbor-advert, target vmap @targets6
        VLAN id 0 in VLAN id 0 drop
    }                                                        }
    map vips4 { 10.77.0.100 : goto group_web, ... }
    chain group_web {
        <id of web> @armed_0 <timer> @live_0 accept
        <id of web> @armed_1 <timer> @live_1 accept
        drop
    }

The guard stops only the packets that make this node answer *as* the VIP, so a standby can be the VIP's client: its own
packets carry another source, the answers another destination. Of incoming ARP it stops only requests, because the
owner's gratuitous reply (sender and target are the VIP) must reach a standby that is a client, too.

`live_0` and `live_1` hold one constant element each, the node's timer. A packet of no VIP costs one lookup, and a
renewal costs the same for one VIP and for a thousand.

`nft list ruleset` prints the table so that nft 1.0.6 and later read it back, because administrators save what it
prints. So a constant is `meta mark & V | V`, and targets of neighbour discovery, which nft has no common name for, are
bytes at a fixed place, in a map of their own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from providers.base import Guarded, Plan, ProviderError
from providers.linux import nft_listing as listing
from providers.linux import nftables as nft
from providers.linux.guard_rules import DISPATCH, SLOTS, TARGET, TIMER, list_group_rules
from providers.linux.netlink import Message

LARGEST_PLAN: Final = 1000  # groups
LAYOUT: Final = 2  # raised with each change of the layout, so that a later version rebuilds the table

_ROOM: Final = 2048  # twice the groups, because `disarm` adds before it deletes; `start` walks that many buckets
_PRIORITY: Final = -300  # before other tables' chains, which might redirect
_DIRECTIONS: Final = {"ingress": nft.INGRESS, "egress": nft.EGRESS}
_MAPS_BY_VERSION: Final = {4: ("vips4",), 6: ("vips6", "targets6")}
MAPS: Final = tuple(name for names in _MAPS_BY_VERSION.values() for name in names)
_SETS: Final = ("live_0", "live_1", "armed_0", "armed_1", *MAPS)
_GROUP_NOTES: Final = tuple(note for note, _ in list_group_rules(b""))
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9._-]+")  # what nft reads as one word

Address = tuple[str, bytes]  # a map, and a key in it


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a table, wanted or found: chains, the comments of their rules, and where the maps lead."""

    note: str
    sets: frozenset[str]
    chains: Mapping[listing.ListedChain, tuple[str, ...]]
    addresses: Mapping[Address, str]


def table_name(name: str) -> str:
    """Return the table's name for the daemon of this name: several daemons can share a network namespace."""
    return f"anyvip_{hashlib.blake2s(name.encode(), digest_size=4).hexdigest()}"


def table_note(name: str) -> str:
    """Return the table's comment: which daemon owns it, and which layout it has."""
    return f"anyvip guard {LAYOUT}: {name}"


def group_id(group: str) -> bytes:
    """Return the group's key in the armed sets: the same in every life of the daemon."""
    return hashlib.blake2s(group.encode(), digest_size=4).digest()


def group_chain(group: str) -> str:
    """Return the name of the chain that decides about the group's packets."""
    return f"group_{group}"


def group_ids(plan: Plan) -> dict[str, bytes]:
    """Return each group's id. Raises ProviderError when the plan cannot be installed."""
    if len(plan) > LARGEST_PLAN:
        raise ProviderError(f"the guard holds at most {LARGEST_PLAN} groups, and the configuration has {len(plan)}")
    owners: dict[bytes, str] = {}
    for group in plan:
        other = owners.setdefault(group_id(group), group)
        if other != group:
            raise ProviderError(f"groups {other!r} and {group!r} have the same id in the guard: rename one of them")
    return {group: key for key, group in owners.items()}


def build_contents(name: str, plan: Plan, interfaces: frozenset[str]) -> Contents:
    """Return what the table must hold to guard this plan on these interfaces.

    Raises ProviderError when an address is a VIP of two groups.
    """
    chains: dict[listing.ListedChain, tuple[str, ...]] = {
        listing.ListedChain(direction): tuple(note for note, _ in rules) for direction, rules in DISPATCH.items()
    }
    for group in plan:
        chains[listing.ListedChain(group_chain(group))] = _GROUP_NOTES
    for interface in sorted(interfaces):
        for direction, hook in _DIRECTIONS.items():
            chains[listing.ListedChain(_base_chain(direction, interface), hook, frozenset({interface}))] = (direction,)
    return Contents(table_note(name), frozenset(_SETS), chains, _addresses(plan))


def _base_chain(direction: str, interface: str) -> str:
    word = interface if _PRINTABLE.fullmatch(interface) else hashlib.blake2s(interface.encode()).hexdigest()[:16]
    return f"{direction}_{word}"


def _addresses(plan: Plan) -> dict[Address, str]:
    leads: dict[Address, str] = {}
    for group, guarded in plan.items():
        for vip in guarded.vips:
            for name in _MAPS_BY_VERSION[vip.version]:
                found = leads.setdefault((name, vip.ip.packed), group_chain(group))
                if found != group_chain(group):
                    other = found.removeprefix(group_chain(""))
                    raise ProviderError(f"{vip.ip} is a VIP of group {other!r} and of group {group!r}")
    return leads


# --- messages to send --------------------------------------------------------------------------------------------


def build(table: str, want: Contents, flags: int) -> list[Message]:
    """Build the table from nothing, with everything shut."""
    messages = [nft.table(table, flags, want.note)]
    for slot in SLOTS:
        messages.append(nft.make_timed_set(table, f"live_{slot}", 1 + slot, (nft.TYPE_MARK, 4)))
        messages.append(nft.make_set(table, f"armed_{slot}", 3 + slot, (nft.TYPE_MARK, 4), _ROOM))
    messages.append(nft.make_verdict_map(table, "vips4", 5, (nft.TYPE_IPV4, 4)))
    messages.append(nft.make_verdict_map(table, "vips6", 6, (nft.TYPE_IPV6, 16)))
    target = nft.typeof_payload(*TARGET)
    messages.append(nft.make_verdict_map(table, "targets6", 7, (nft.TYPE_INTEGER, 16), target))
    for direction, rules in DISPATCH.items():
        messages.append(nft.chain(table, direction))
        messages += [nft.rule(table, direction, note, *expressions) for note, expressions in rules]
    have = Contents(want.note, want.sets, _skeleton(want), {})
    return messages + difference(table, have, want)


def fits(have: Contents, want: Contents) -> bool:
    """Return whether `difference` can bring the table to what is wanted; else it must be rebuilt."""
    return have.note == want.note and have.sets == want.sets and _skeleton(have) == _skeleton(want)


def difference(table: str, have: Contents, want: Contents) -> list[Message]:
    """Return the messages that lead from one to the other without touching what is in both."""
    gone = [chain for chain, notes in have.chains.items() if want.chains.get(chain) != notes]
    new = [chain for chain, notes in want.chains.items() if have.chains.get(chain) != notes]
    broken = {chain.name for chain in gone}
    kept = {key for key, chain in have.addresses.items() if want.addresses.get(key) == chain and chain not in broken}
    stale = [element for element in have.addresses.items() if element[0] not in kept]
    fresh = [element for element in want.addresses.items() if element[0] not in kept]
    messages = [m for name, some in _by_map(stale) for m in nft.delete_elements(table, name, some)]
    groups = [name.removeprefix(group_chain("")) for name in broken if name.startswith(group_chain(""))]
    if groups:
        messages += disarm(table, [group_id(group) for group in groups])
    for name in broken:
        messages += nft.delete_chain(table, name)
    for chain in new:
        messages += _chain(table, chain)
    return messages + [m for name, some in _by_map(fresh) for m in nft.add_elements(table, name, some)]


def _by_map(elements: Iterable[tuple[Address, str]]) -> Iterator[tuple[str, list[nft.Element]]]:
    sorted_out: dict[str, list[nft.Element]] = {name: [] for name in MAPS}
    for (name, key), chain in elements:
        sorted_out[name].append((key, chain))
    yield from sorted_out.items()


def start(table: str, slot: int, milliseconds: int) -> list[Message]:
    """Disarm the slot and restart its timer. Works also when the timer has ended or was never started."""
    return nft.transaction(
        [
            nft.flush(table, f"armed_{slot}"),
            nft.flush(table, f"live_{slot}"),
            nft.add_timed(table, f"live_{slot}", TIMER, milliseconds),
        ]
    )


def arm(table: str, slot: int, ids: list[bytes]) -> list[Message]:
    """Let these groups pass while the slot's timer runs."""
    return nft.transaction(list(nft.add_elements(table, f"armed_{slot}", [(key, None) for key in ids])))


def disarm(table: str, ids: list[bytes]) -> list[Message]:
    """Disarm these groups in both slots. Adds each first, because deleting a missing element fails the transaction."""
    elements: list[nft.Element] = [(key, None) for key in ids]
    messages: list[Message] = []
    for slot in SLOTS:
        messages += nft.add_elements(table, f"armed_{slot}", elements)
        messages += nft.delete_elements(table, f"armed_{slot}", elements)
    return messages


def _chain(table: str, chain: listing.ListedChain) -> list[Message]:
    if chain.hook is None:
        group = chain.name.removeprefix(group_chain(""))
        rules = list_group_rules(group_id(group))
        return [nft.chain(table, chain.name), *(nft.rule(table, chain.name, note, *parts) for note, parts in rules)]
    (interface,) = chain.interfaces
    direction = "ingress" if chain.hook == nft.INGRESS else "egress"
    return [
        nft.base_chain(table, chain.name, chain.hook, interface, _PRIORITY),
        nft.rule(table, chain.name, direction, nft.verdict(nft.JUMP, direction)),
    ]


def _skeleton(contents: Contents) -> dict[listing.ListedChain, tuple[str, ...]]:
    return {chain: notes for chain, notes in contents.chains.items() if chain.name in _DIRECTIONS}


def all_interfaces(plan: Mapping[str, Guarded]) -> frozenset[str]:
    """Return the interfaces on which any group of the plan is guarded."""
    return frozenset(interface for guarded in plan.values() for interface in guarded.interfaces)
