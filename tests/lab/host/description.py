"""What a host is to its network: addresses, routes, and as whom it sends. Compared between hosts, with anyvip and not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_interface

OWN_PROTOCOL = "proto 118"  # of the routes that anyvip adds
# What changes by itself, or with the order of events, and not with who runs on the host.
_PASSING = re.compile(r" (expires \d+sec|tentative|uid \d+|pref medium|error -?\d+|\\)|(?<=eth0):\w+")


def describe(run: Callable[[str], str], vips: Sequence[str], away: Sequence[str]) -> list[str]:
    """The addresses and routes of eth0, and which way and as whom the host sends to the addresses `away`.

    `run` carries out one command there and returns its output. The VIPs themselves are left out.
    """
    hidden = [f" {ip_interface(vip).ip}/" for vip in vips]
    shown = [line.partition(" valid_lft")[0] for line in run("ip -o address show dev eth0").splitlines()]
    found = [line.split(maxsplit=1)[1] for line in shown if not any(vip in line for vip in hidden)]
    for version in "46":
        found += [f"route {line}" for line in run(f"ip -{version} route show dev eth0").splitlines()]
    for address in away:
        found.append(run(f"ip route get {address}").replace("cache", "").strip())
    return sorted(_PASSING.sub("", line).strip() for line in found)


def without_ours(described: Sequence[str]) -> list[str]:
    """The description without the routes that anyvip added."""
    return [line for line in described if not (line.startswith("route ") and OWN_PROTOCOL in line)]
