"""Whether this process has the rights that bare metal needs. It does not need root, only two capabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Final

NEEDED: Final = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}  # linux/capability.h


def missing_capabilities(status: Path = Path("/proc/self/status")) -> tuple[str, ...]:
    """Return the needed capabilities that are not effective in this process."""
    effective = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("CapEff:"))
    return tuple(name for name, bit in NEEDED.items() if not int(effective, 16) >> bit & 1)


def explain(missing: tuple[str, ...]) -> str:
    """Return one line on which capabilities are missing and how to get them."""
    names = " and ".join(missing)
    granted = " ".join(NEEDED)
    return f"{names} missing: run as root, or in the systemd unit set AmbientCapabilities={granted}"
