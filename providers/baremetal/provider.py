"""VIPs on this host: addresses with a lifetime in its kernel, announced to the LAN (docs/bare-metal.md)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, repeat
from math import ceil
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from providers.baremetal import placing, preflight
from providers.baremetal.addresses import LocalVips
from providers.baremetal.conflicts import Conflicts
from providers.base import Finding, Grant, Guarded, Placement, ProviderError, StaleGrant, Vip
from providers.linux import rtnetlink
from providers.linux.netlink import ROUTE, Socket

_log = logging.getLogger(__name__)

InterfaceName = Annotated[str, Field(min_length=1, max_length=15, pattern=r"^[^/:\s]+$")]
T = TypeVar("T")


_BURST = 100  # VIPs that are announced again at the same time; some switches drop more ARP than that
_BURST_SECONDS = 0.02
_FEW = 16  # VIPs: a call takes some hundred microseconds
_SETTLED_SECONDS = 0.05  # the delay of less urgent work, so that the takeover comes first


class _AtOnce(Executor):
    """An executor that makes each call in the caller's thread."""

    def submit(self, call: Callable[..., T], /, *args: Any, **named: Any) -> Future[T]:
        """Make the call and return its finished result."""
        done: Future[T] = Future()
        try:
            done.set_result(call(*args, **named))
        except Exception as error:  # noqa: BLE001  (the future raises it)
            done.set_exception(error)
        return done


class Announce(BaseModel):
    """How often a VIP is announced to the LAN. A lost frame costs the hosts that missed it one interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(default=5, ge=1, le=100, description="Announcements of each VIP, the first immediately.")
    interval_seconds: float = Field(
        default=1.1,
        ge=0.1,
        le=60,
        description="Pause between them. Above 1, because Linux ignores some of them for a second after a change.",
    )
    every_seconds: float | None = Field(
        default=None,
        ge=1,
        le=86400,
        description="Announce again and again at this interval for as long as the VIPs are here, for switches that "
        "forget. Default: not after `count` announcements.",
    )


class BareMetalOptions(BaseModel):
    """The configuration keys of `type: baremetal`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    interface: InterfaceName | None = Field(
        default=None,
        description="Where the VIPs are bound. Default: the interface that has an address in the VIP's network, "
        "else the one that the default route leaves by.",
    )
    guard_interfaces: tuple[InterfaceName, ...] | None = Field(
        default=None,
        description="Where packets of the VIPs cross. Default: the interface; for lo, all links but loopback.",
    )
    announce: Announce = Field(default_factory=Announce, description="Gratuitous ARP and unsolicited NA.")


class BareMetal:
    """The VIPs of one group on this host (`providers.base.Provider`, `Announcer`, `Resetter`).

    Calls are made one after another, so a bind never overtakes an unbind. With many VIPs they take the kernel
    milliseconds, and a thread makes them while the event loop continues. With few VIPs, a thread would only add time.
    """

    Options = BareMetalOptions

    def __init__(
        self,
        options: BareMetalOptions,
        group: str,
        vips: tuple[Vip, ...],
        clock: Callable[[], float],
        *,
        announced: bool = True,
    ) -> None:
        """`clock` reads CLOCK_BOOTTIME in seconds. Raises ProviderError when a VIP has no interface.

        `announced` is False when the network learns from elsewhere which node has the VIPs. Then this node neither
        announces them nor asks for conflicts.
        """
        self.announced = announced
        self.unguarded = False  # True: no guard, so no address is allowed to outlast its grant by more than a second
        self._options = options
        self._group = group
        self._clock = clock
        self._local = LocalVips(group, vips, options.interface)
        self._conflicts = Conflicts(group)
        self._expires_at: float | None = None  # None: not bound
        self._settled: asyncio.TimerHandle | None = None
        self._repeating: asyncio.Task[None] | None = None
        self._untold = False  # True: announcements are missing, because a send failed or the grant ended in between
        self._thread = _AtOnce() if len(vips) <= _FEW else ThreadPoolExecutor(1, f"baremetal-{group}")

    @classmethod
    def open(cls, options: BareMetalOptions, *, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]) -> Self:
        """Make a provider for the registry. Raises ProviderError when a VIP has no interface."""
        return cls(options, group, vips, clock)

    async def close(self) -> None:
        """Stop announcing and release everything. The addresses stay, and end with their lifetime."""
        self._expires_at = None
        self._stop_announcing()
        if self._settled is not None:
            self._settled.cancel()
        self._thread.submit(self._conflicts.stop)
        await self._in_thread(self._local.close)
        self._thread.shutdown(wait=False)

    def guarded(self) -> Guarded:
        """Return what the guard must keep shut, on the links that exist now. Raises ProviderError."""
        given = self._options.guard_interfaces
        with Socket(ROUTE) as kernel:  # the other socket belongs to the thread
            if given is not None:
                return Guarded(self._local.vips, tuple(rtnetlink.find_name(kernel, name) for name in given))
            links = rtnetlink.links(kernel).values()
            addresses = rtnetlink.addresses(kernel)
        return Guarded(self._local.vips, placing.guarded_links(self._local.places, links, addresses))

    @property
    def interfaces(self) -> frozenset[str]:
        """Return the names of the links where the VIPs are bound: changes of these links concern this group."""
        return frozenset(self._local.places)

    @property
    def conflicts(self) -> tuple[Finding, ...]:
        """Return a finding for each other machine that has answered for a VIP since the VIP last came here."""
        return self._conflicts.found

    async def bind(self, grant: Grant) -> None:
        """Put the addresses on their interfaces; the kernel removes them when the grant ends."""
        self._seconds(grant)
        coming = self._expires_at is None
        if coming and self._settled is not None:
            self._settled.cancel()  # it finishes an earlier unbind, and would remove the addresses that come now
        await self._in_thread(lambda: self._local.put(lambda: self._seconds(grant)))
        self._expires_at = grant.expires_at
        if coming and self.announced:
            self._when_settled(self._ask_for_conflicts)
        if self._untold:
            await self._make_up()

    async def extend(self, grant: Grant) -> None:
        """Keep the addresses that are bound until this grant ends. Raises StaleGrant, ProviderError."""
        if self._expires_at is not None:
            await self.bind(grant)

    async def adapt(self) -> None:
        """Add the routes that the VIPs need by now, and remove ours where the host has one."""
        if self._expires_at is not None:
            await self._in_thread(self._local.adapt)

    async def unbind(self) -> None:
        """Remove the VIPs from their interfaces, whatever their prefix and whichever program left them there."""
        self._expires_at = None
        self._stop_announcing()
        self._untold = False
        if await self._in_thread(self._take_back) and not self.unguarded:
            self._when_settled(self._take_rest)  # addresses of other programs are not urgent: the guard is shut
        else:
            await self._in_thread(self._take)

    async def inspect(self) -> Placement:
        """Ask the kernel where the addresses are."""
        return await self._in_thread(self._local.look)

    async def preflight(self) -> list[Finding]:
        """Return what would keep the VIPs from working here."""
        return await self._in_thread(lambda: preflight.findings(self._local, self.guarded().interfaces))

    async def announce(self) -> None:
        """Announce every VIP now, and again over the next seconds for as long as the grant lasts.

        Raises StaleGrant when the VIPs are not bound, ProviderError when frames do not leave. While the VIPs are bound,
        the next `bind` makes up for failed announcements: neighbours would use the former owner for half a minute.
        """
        if not self.announced:
            return
        self._stop_announcing()
        self._untold = self._expires_at is not None
        if not self._serving():
            raise StaleGrant("nothing to announce: the VIPs are not bound, or the grant has ended")
        await self._in_thread(self._local.tell)
        self._untold = False
        self._repeating = asyncio.create_task(self._tell_again(), name=f"announcements of {self._group}")

    async def reset(self) -> None:
        """Reset the TCP connections to the VIPs."""
        count = await self._in_thread(self._local.reset)
        _log.info("group %s: reset %d connections", self._group, count)

    def _seconds(self, grant: Grant) -> int:
        """Return the whole seconds that an address can live now; the kernel takes up to one more.

        Raises StaleGrant when the grant has too little time left.
        """
        left = grant.expires_at - self._clock()
        if left <= 0 or (self.unguarded and left < 1):
            raise StaleGrant(f"group {grant.group}: the grant has {left:.3f} s left, too little to bind")
        # With a guard, the lifetime is the second line of defence: it must not end first, and a late end is harmless.
        return int(left) if self.unguarded else ceil(left)

    def _serving(self) -> bool:
        return self._expires_at is not None and self._clock() < self._expires_at

    async def _tell_again(self) -> None:
        """Announce every VIP again and again, some at a time: the first announcement has told who must know at once."""
        announce = self._options.announce
        pauses = repeat(announce.interval_seconds, announce.count - 1)
        for pause in chain(pauses, () if announce.every_seconds is None else repeat(announce.every_seconds)):
            await asyncio.sleep(pause)
            try:
                for link, vips in await self._in_thread(self._local.audience):
                    for start in range(0, len(vips), _BURST):
                        if start:
                            await asyncio.sleep(_BURST_SECONDS)
                        if not self._serving():
                            self._untold = self._expires_at is not None
                            return
                        await self._in_thread(partial(self._local.send, link, vips[start : start + _BURST]))
            except ProviderError as error:
                _log.warning("group %s: announcement not sent: %s", self._group, error)

    async def _make_up(self) -> None:
        try:
            await self.announce()
        except ProviderError as error:  # the VIPs are bound, and the next `bind` announces them
            _log.warning("group %s: announcement not sent: %s", self._group, error)

    def _stop_announcing(self) -> None:
        if self._repeating is not None:
            self._repeating.cancel()
            self._repeating = None

    def _when_settled(self, call: Callable[[], None]) -> None:
        if self._settled is not None:
            self._settled.cancel()
        self._settled = asyncio.get_running_loop().call_later(_SETTLED_SECONDS, self._thread.submit, call)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        try:
            called = self._thread.submit(call)
        except RuntimeError as error:  # a reload has replaced this provider, or no thread can be started
            raise ProviderError(f"group {self._group}: {error}") from error
        return called.result() if called.done() else await asyncio.wrap_future(called)

    # --- in the thread ---

    def _take(self) -> None:
        self._conflicts.stop()
        self._remove()

    def _take_back(self) -> bool:
        self._conflicts.stop()
        return self._local.take_back()

    def _take_rest(self) -> None:
        try:
            self._remove()
        except ProviderError as error:
            _log.warning("group %s: cannot search for leftover VIPs: %s", self._group, error)

    def _remove(self) -> None:
        for strange in self._local.take():
            _log.warning("group %s: removed %s, which another program had added", self._group, strange)

    def _ask_for_conflicts(self) -> None:
        if self._expires_at is None:
            return  # the VIPs have gone meanwhile
        try:
            own = frozenset(link.mac for link in self._local.links() if link.mac is not None)
            self._conflicts.ask(self._local.audience(), own)
        except ProviderError as error:
            _log.warning("group %s: cannot check for address conflicts: %s", self._group, error)
