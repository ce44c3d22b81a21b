"""Checks of what this kernel and this process can do for VIPs of any provider. Changes nothing."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from providers.base import Finding, Level
from providers.linux import nftables as nft
from providers.linux.capabilities import explain, missing_capabilities
from providers.linux.netlink import NETFILTER, NetlinkError, Socket
from providers.linux.saved_rules import saved_guards

_SYSCTL: Final = Path("/proc/sys/net")
_UNKNOWN_FLAGS: Final = (errno.EOPNOTSUPP, errno.EINVAL)
_TRIAL: Final = "anyvip_doctor"  # the name of a table that is never made


def findings(*, guard_needed: bool) -> list[Finding]:
    """Return one finding per check.

    `guard_needed`: the lease is too short for the lifetime of addresses to be the only line of defence.
    """
    guard = _guard(guard_needed)
    forwarding = [] if guard[0].level is Level.OK else _forwarding()
    return [capabilities(), *guard, *forwarding, *saved_guards()]


def capabilities() -> Finding:
    """Check whether this process has the capabilities that it needs."""
    missing = missing_capabilities()
    if missing:
        return Finding(Level.ERROR, "linux.capabilities", "capabilities", explain(missing))
    return Finding(Level.OK, "linux.capabilities", "capabilities", "this process has CAP_NET_ADMIN and CAP_NET_RAW")


def setting(key: str) -> int | None:
    """Return the value of a sysctl below ``net``, such as ``ipv4/ip_forward``; None when this kernel lacks it."""
    try:
        return int((_SYSCTL / key).read_text())
    except (OSError, ValueError):
        return None


def highest(key: str, interface: str) -> int:
    """Return an interface's effective IPv4 sysctl: the higher of its own value and that of `all` (ip-sysctl)."""
    return max(setting(f"ipv4/conf/{name}/{key}") or 0 for name in ("all", interface))


def _guard(needed: bool) -> list[Finding]:
    try:
        with Socket(NETFILTER) as kernel:
            refused = _trial(kernel, nft.OWNER | nft.PERSIST)
            owned = refused not in _UNKNOWN_FLAGS
            refused = refused if owned else _trial(kernel, 0)
    except NetlinkError as error:
        refused, owned = error.code, False
    if refused in (errno.EPERM, errno.EACCES):
        return [
            Finding(
                Level.ERROR, "linux.guard", "guard", "needs CAP_NET_ADMIN to be tested", "run this as the daemon's user"
            )
        ]
    if refused:
        return [_report_unguarded(refused, needed)]
    supported = Finding(
        Level.OK, "linux.guard", "guard", "the kernel drops a VIP's traffic by itself when the lease ends"
    )
    if owned:
        return [supported]
    flushed = "before Linux 6.9, a flush of the ruleset opens the guard until the daemon has put it back"
    return [
        supported,
        Finding(
            Level.WARNING, "linux.guard_owner", "guard's owner", flushed, "do not run `nft flush ruleset` on this node"
        ),
    ]


def _report_unguarded(refused: int, needed: bool) -> Finding:
    why = f"this kernel has no nftables egress hook ({errno.errorcode.get(refused, refused)}): it is in Linux 5.16"
    if needed:
        remedy = "use a newer kernel or a longer lease.duration_seconds: the lifetime of addresses needs a second of it"
        return Finding(Level.ERROR, "linux.guard", "guard", f"{why}, and the lease is too short without it", remedy)
    return Finding(
        Level.WARNING, "linux.guard", "guard", f"{why}. Only the lifetime of addresses is left", "use a newer kernel"
    )


def _trial(kernel: Socket, flags: int) -> int:
    """Try to make a guard and return the first error, 0 for none.

    The kernel validates a batch without an end and undoes it, as for `nft -c`.
    """
    messages = [
        nft.table(_TRIAL, flags, "trial only"),
        nft.base_chain(_TRIAL, "ingress", nft.INGRESS, "lo", -300),
        nft.base_chain(_TRIAL, "egress", nft.EGRESS, "lo", -300),
    ]
    refusals = kernel.batch(nft.transaction(messages)[:-1], "try the guard")
    return refusals[0].code if refusals else 0


def _forwarding() -> list[Finding]:
    if not setting("ipv4/ip_forward"):
        return []
    passed_on = "is on, and there is no guard: a standby forwards packets for a VIP, which can then go in circles"
    return [
        Finding(
            Level.WARNING,
            "linux.ip_forward",
            "net.ipv4.ip_forward",
            passed_on,
            "sysctl net.ipv4.ip_forward=0, if nothing needs it",
        )
    ]
