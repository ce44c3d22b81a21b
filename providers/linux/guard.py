"""The guard: a VIP's traffic passes the kernel only while this node's lease runs (`providers.base.Guard`).

`providers.linux.guard_table` shows the table and explains it. Each call is one nf_tables transaction of some tens of
microseconds, made in the caller's thread: nothing can come between the event loop's decision and the kernel's.

The guard does not cover packets that never cross a guarded interface (local ones, over `lo`), AF_XDP, a table that
another program flushed on a kernel before 6.9 (`inspect` and `providers.linux.monitor` notice it, `install` repairs
it), and a stop of the whole machine together with its clock. docs/bare-metal.md has the whole list.
"""

from __future__ import annotations

import errno
import socket
from collections import defaultdict
from collections.abc import Collection, Sequence

from providers.base import GuardState, Plan, ProviderError
from providers.linux import guard_table as layout
from providers.linux import nft_listing as listing
from providers.linux import nftables as nft
from providers.linux.attributes import text
from providers.linux.guard_rules import SLOTS
from providers.linux.guard_table import Contents
from providers.linux.netlink import NETFILTER, Message, NetlinkError, NetlinkRefusal, Socket

_ABSENT = {errno.ENOENT}
_UNSUPPORTED = {errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}
_NO_OWNERS = _UNSUPPORTED | {errno.EINVAL}
_FORBIDDEN = {errno.EPERM, errno.EACCES}
_OWNED = nft.OWNER | nft.PERSIST


class GuardUnsupported(ProviderError):  # noqa: N818  (a fact about the kernel)
    """This kernel has no nftables egress hook for interfaces (before 5.16, or built without it)."""


class GuardMissing(ProviderError):  # noqa: N818  (a state to repair)
    """The guard is missing or incomplete, so it keeps nothing shut. `install` makes it again, shut."""


class KernelGuard:
    """One nftables table in this process's network namespace, which this object owns while it lives.

    From kernel 6.9 on, no other process can change or flush the table. When this process dies, the table stays and
    shuts by itself, and the next process takes it over with `install`. Not safe for use by several threads.
    """

    def __init__(self, name: str) -> None:
        """`name` is the cluster's: it tells daemons in one network namespace apart. Raises ProviderError."""
        self.name = name
        self.table = layout.table_name(name)
        self.made = False  # whether there was no table before the first install
        self.owned = False  # whether the kernel refuses changes by other processes; known after install
        self._ownable = True  # whether this kernel has owners that a table outlives, as far as is known
        self._plan: Plan = {}
        self._whole: frozenset[bytes] | None = None  # the listing of the complete table
        self._ids: dict[str, bytes] = {}
        try:
            self._socket = Socket(NETFILTER)
        except NetlinkError as error:
            raise _translate(error.code, str(error)) from error

    @property
    def port(self) -> int:
        """Return the netlink address that the kernel names in notifications of our own changes."""
        return self._socket.port

    def install(self, plan: Plan) -> tuple[str, ...]:
        """Make the kernel guard this plan: new groups are shut, groups that stay are not touched, others are removed.

        Idempotent. It also takes a table over from an earlier life, and repairs one. Returns the names of the
        interfaces that do not exist: there is nothing to guard until they do, so call it again then. Raises
        GuardUnsupported when the kernel has no egress hook, ProviderError for other failures.
        """
        ids = layout.group_ids(plan)
        absent = layout.all_interfaces(plan) - {name for _, name in socket.if_nameindex()}
        flags = self._claim()
        have = self._contents()
        want = layout.build_contents(self.name, plan, _guardable(plan, have))
        self.made = self.made or (self._whole is None and not have.sets)
        if not flags and self._make_own(want):
            flags = _OWNED
        elif not layout.fits(have, want):
            self._commit([nft.delete_table(self.table), *layout.build(self.table, want, flags)], "build the guard")
        elif messages := [*self._shut_grown(plan, have, want), *layout.difference(self.table, have, want)]:
            self._commit(messages, "change the guard")
        self.owned = flags == _OWNED
        self._plan, self._ids = dict(plan), ids
        self._whole = self._fingerprint()
        return tuple(sorted(absent))

    def _make_own(self, want: Contents) -> bool:
        """Build the table anew as our own: the kernel lets nobody take over one that somebody loaded from a file."""
        if self._ownable:
            anew = nft.transaction([nft.delete_table(self.table), *layout.build(self.table, want, _OWNED)])
            refusals = self._socket.batch(anew, "build the guard as our own")
            self._ownable = not refusals
            if refusals and refusals[0].code not in _NO_OWNERS:
                raise self._to_error(refusals, "build the guard as our own")
        return self._ownable

    def _shut_grown(self, plan: Plan, have: Contents, want: Contents) -> list[Message]:
        """Shut what an earlier life left open for a group that has more addresses now: nobody has granted those."""
        found = {chain.name for chain in have.chains}
        new = {chain for key, chain in want.addresses.items() if have.addresses.get(key) != chain and chain in found}
        grown = [layout.group_id(group) for group in plan if layout.group_chain(group) in new]
        return layout.disarm(self.table, grown) if grown and not self._plan else []

    def left_over(self, plan: Plan) -> frozenset[bytes]:
        """Return the addresses that `install` of this plan will no longer guard. Raises the errors of `install`."""
        self._claim()  # fails while another daemon lives, whose addresses are not left over
        wanted = {vip.ip.packed for guarded in plan.values() for vip in guarded.vips}
        return frozenset(key for _, key in self._contents().addresses) - wanted

    def remove(self) -> None:
        """Remove the guard: from then on nothing is kept shut. For a clean exit, with every address unbound."""
        self._commit([nft.delete_table(self.table)], "remove the guard", absent_is_fine=True)

    def close(self) -> None:
        """Release the table without removing it: it stays as it is, and shuts when its timers end."""
        self._socket.close()

    async def start(self, slot: int, seconds: float) -> None:
        """See `providers.base.Guard`. The timer ends at most one kernel tick late (measured: under 5 ms)."""
        milliseconds = int(seconds * 1000)
        if milliseconds < 1:
            raise ProviderError(f"the guard's timer cannot run for {seconds:g} s")
        self._send(layout.start(self.table, slot, milliseconds), f"start slot {slot} of the guard")

    async def arm(self, slot: int, groups: Collection[str]) -> None:
        """See `providers.base.Guard`."""
        if groups:
            self._send(layout.arm(self.table, slot, self._pick_known(groups)), f"arm slot {slot} of the guard")

    async def shut(self, groups: Collection[str]) -> None:
        """See `providers.base.Guard`. Raises GuardMissing when there is no guard to shut."""
        if groups:
            self._commit(layout.disarm(self.table, self._pick_known(groups)), "shut the guard")

    async def inspect(self) -> GuardState:
        """See `providers.base.Guard`. Raises GuardMissing when the table is not as `install` left it."""
        self._check()
        left = {slot: self._read_left(slot) for slot in SLOTS}
        armed = {slot: self._read_armed(slot) if left[slot] else frozenset[str]() for slot in SLOTS}
        keeping = [slot for slot in SLOTS if armed[slot]]
        return GuardState(
            open_groups=armed[0] | armed[1],
            slot=max(keeping, key=lambda slot: left[slot], default=None),
        )

    # --- the kernel's side ---

    def _claim(self) -> int:
        """Take the table over, or make it. Return its flags."""
        note = layout.table_note(self.name)
        for flags in (_OWNED, 0):
            refusals = self._socket.batch(
                nft.transaction([nft.table(self.table, flags, note)]), "own the guard's table"
            )
            if not refusals:
                return flags
            if not (flags and refusals[0].code in _NO_OWNERS):
                break
        raise self._to_error(refusals, "own the guard's table")

    def _check(self) -> None:
        """Raise GuardMissing unless the table is complete.

        A chain's listing counts its rules and the map elements that lead to it. While the chains are listed as they
        were, all rules and addresses exist, so checking a thousand VIPs twice a second costs next to nothing.
        """
        now = self._fingerprint()
        if now == self._whole:
            return
        have = self._contents()
        want = layout.build_contents(self.name, self._plan, _guardable(self._plan, have))
        if not layout.fits(have, want) or layout.difference(self.table, have, want):
            raise GuardMissing(f"the guard {self.table} is missing or incomplete")
        self._whole = now

    def _fingerprint(self) -> frozenset[bytes]:
        """Return our chains as listed, and the names of the plan's interfaces that exist."""
        chains = self._list(nft.GET_CHAIN)
        bodies = {message.body[4:] for message in chains}  # without the header's count of all processes' transactions
        present = layout.all_interfaces(self._plan) & {name for _, name in socket.if_nameindex()}
        return frozenset(bodies | {name.encode() for name in present})

    def _contents(self) -> Contents:
        notes: dict[str, list[str]] = defaultdict(list)
        for message in self._list(nft.GET_RULE):
            chain, note = listing.listed_rule(message)
            notes[chain].append(note)
        chains = [listing.listed_chain(message) for message in self._list(nft.GET_CHAIN)]
        sets = frozenset(listing.listed_set(message) for message in self._list(nft.GET_SET))
        addresses = {
            (name, element.key): element.chain or ""
            for name in sorted(sets.intersection(layout.MAPS))
            for element in self._elements(name)
        }
        tables = [listing.listed_table(message)[1] for message in self._list(nft.GET_TABLE)]
        return Contents(
            note=tables[0] if tables else "",
            sets=sets,
            chains={chain: tuple(notes[chain.name]) for chain in chains},
            addresses=addresses,
        )

    def _read_left(self, slot: int) -> int:
        return max((element.left_ms or 0 for element in self._elements(f"live_{slot}")), default=0)

    def _read_armed(self, slot: int) -> frozenset[str]:
        keys = {element.key for element in self._elements(f"armed_{slot}")}
        return frozenset(group for group, key in self._ids.items() if key in keys)

    def _list(self, what: int) -> list[Message]:
        try:
            listed = self._socket.dump(nft.request(what), "list the guard")
        except NetlinkError as error:
            raise _translate(error.code, str(error)) from error
        return [message for message in listed if listing.table_of(message) == self.table]

    def _elements(self, name: str) -> list[listing.ListedElement]:
        request = nft.request(nft.GET_ELEMENT, text(1, self.table), text(2, name))
        try:
            return list(listing.listed_elements(self._socket.dump(request, f"list {name} of the guard")))
        except NetlinkError as error:
            raise _translate(error.code, str(error)) from error

    def _pick_known(self, groups: Collection[str]) -> list[bytes]:
        unknown = sorted(set(groups) - self._ids.keys())
        if unknown:
            raise GuardMissing(f"the guard is not installed for {', '.join(unknown)}")
        return [self._ids[group] for group in groups]

    def _commit(self, messages: Sequence[Message], what: str, *, absent_is_fine: bool = False) -> None:
        self._send(nft.transaction(messages), what, absent_is_fine=absent_is_fine)

    def _send(self, messages: Sequence[Message], what: str, *, absent_is_fine: bool = False) -> None:
        try:
            refusals = self._socket.batch(messages, what)
        except NetlinkError as error:
            raise _translate(error.code, str(error)) from error
        if refusals and not (absent_is_fine and refusals[0].code in _ABSENT):
            raise self._to_error(refusals, what)

    def _to_error(self, refusals: Sequence[NetlinkRefusal], what: str) -> ProviderError:
        first = refusals[0]
        return _translate(first.code, str(NetlinkError(first.code, f"{what} ({self.table})", first.said)))


def _guardable(plan: Plan, have: Contents) -> frozenset[str]:
    """Return the plan's interfaces that exist, or whose chains wait for them to come back (kernel 6.16)."""
    waiting = {interface for chain in have.chains for interface in chain.interfaces}
    present = {name for _, name in socket.if_nameindex()}
    return layout.all_interfaces(plan) & (present | waiting)


def _translate(code: int, message: str) -> ProviderError:
    if code in _ABSENT:
        return GuardMissing(message)
    if code in _UNSUPPORTED:
        return GuardUnsupported(f"{message}: the guard needs nftables with the egress hook (Linux 5.16)")
    if code in _FORBIDDEN:
        return ProviderError(f"{message}: needs CAP_NET_ADMIN, and no other daemon of this name on this host")
    return ProviderError(message)
