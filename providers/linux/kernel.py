"""What this kernel and this process can do for VIPs, whatever provider they have. Looks only, and changes nothing."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from providers.base import Finding, Level
from providers.linux import nftables as nft
from providers.linux.capabilities import explained, missing_capabilities
from providers.linux.netlink import NETFILTER, NetlinkError, Socket

_SYSCTL: Final = Path("/proc/sys/net")
_UNKNOWN_FLAGS: Final = (errno.EOPNOTSUPP, errno.EINVAL)
_TRIAL: Final = "anyvip_doctor"  # the name of a table that is never made


def findings(*, guard_needed: bool) -> list[Finding]:
    """One line each. `guard_needed`: the lease is too short for the lifetime of addresses to do alone."""
    guard = _guard(guard_needed)
    return [capabilities(), *guard, *([] if guard[0].level is Level.OK else _forwarding())]


def capabilities() -> Finding:
    """Whether this process may do what is needed."""
    missing = missing_capabilities()
    if missing:
        return Finding(Level.ERROR, "capabilities", explained(missing))
    return Finding(Level.OK, "capabilities", "CAP_NET_ADMIN and CAP_NET_RAW are there")


def setting(key: str) -> int | None:
    """A sysctl below ``net``, as ``ipv4/ip_forward``. None: this kernel has no such thing."""
    try:
        return int((_SYSCTL / key).read_text())
    except (OSError, ValueError):
        return None


def highest(key: str, interface: str) -> int:
    """Of an interface's IPv4 sysctl, the value that counts: the higher of its own and that of all (ip-sysctl)."""
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
        return [Finding(Level.ERROR, "guard", "cannot be tried without CAP_NET_ADMIN", "run this as the daemon's user")]
    if refused:
        return [_unguarded(refused, needed)]
    supported = Finding(Level.OK, "guard", "the kernel drops a VIP's traffic by itself when the lease ends")
    if owned:
        return [supported]
    flushed = "before Linux 6.9 whoever flushes the ruleset opens the guard until the daemon has put it back"
    return [supported, Finding(Level.WARNING, "guard's owner", flushed, "do not run `nft flush ruleset` on this node")]


def _unguarded(refused: int, needed: bool) -> Finding:
    why = f"this kernel has no nftables egress hook ({errno.errorcode.get(refused, refused)}): it is in Linux 5.16"
    if needed:
        remedy = "a newer kernel, or a longer lease.duration_seconds: the lifetime of addresses needs a second of it"
        return Finding(Level.ERROR, "guard", f"{why}, and the lease is too short without it", remedy)
    return Finding(Level.WARNING, "guard", f"{why}. The lifetime of addresses alone must do", "a newer kernel")


def _trial(kernel: Socket, flags: int) -> int:
    """The first error of making a guard, 0 for none. A batch without an end is validated and undone, as by `nft -c`."""
    messages = [
        nft.table(_TRIAL, flags, "only tried"),
        nft.base_chain(_TRIAL, "ingress", nft.INGRESS, "lo", -300),
        nft.base_chain(_TRIAL, "egress", nft.EGRESS, "lo", -300),
    ]
    refusals = kernel.batch(nft.transaction(messages)[:-1], "try the guard")
    return refusals[0].code if refusals else 0


def _forwarding() -> list[Finding]:
    if not setting("ipv4/ip_forward"):
        return []
    passed_on = "is on, and there is no guard: a standby passes on what comes for a VIP, which may then go in circles"
    return [
        Finding(Level.WARNING, "net.ipv4.ip_forward", passed_on, "sysctl net.ipv4.ip_forward=0, if nothing needs it")
    ]
