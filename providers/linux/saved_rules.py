"""Finds the guard in the files that nftables loads at boot. Reads files only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from providers.base import Finding, Level

_PLACES: Final = ("etc/nftables.conf", "etc/nftables.d/*", "etc/nftables/*", "etc/sysconfig/nftables.conf")
_OURS: Final = "table netdev anyvip_"
_LARGEST: Final = 1 << 24  # bytes read of a file


def saved_guards(root: Path = Path("/")) -> list[Finding]:
    """Return a finding for each file below `root` that the guard was saved in.

    While the daemon owns the table, the kernel refuses a file that changes it, and with it the whole file: the
    administrator's own rules are not loaded either.
    """
    return [_report(path) for path in _files(root) if _holds_guard(path)]


def _files(root: Path) -> Iterator[Path]:
    for place in _PLACES:
        yield from sorted(root.glob(place))


def _holds_guard(path: Path) -> bool:
    try:
        with path.open(errors="replace") as file:
            return _OURS in file.read(_LARGEST)
    except OSError:  # a directory, or not ours to read
        return False


def _report(path: Path) -> Finding:
    return Finding(
        Level.WARNING,
        "linux.guard_saved",
        f"{path}",
        "the guard was saved in this file, and nft refuses to load the whole file while the daemon runs",
        f"delete each `{_OURS}...` from it; docs/bare-metal.md shows how to save the rules without the guard",
    )
