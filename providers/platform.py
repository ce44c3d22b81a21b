"""Where this node runs, by what its firmware says of itself (DMI). Asks nobody over the network."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

from providers.base import ProviderError
from providers.registry import known_providers

_DMI: Final = Path("/sys/class/dmi/id")
_AZURE_ASSET: Final = "7783-7084-3265-9085-8269-3286-77"  # Hyper-V elsewhere says Microsoft, too


class Platform(StrEnum):
    """Whose network carries this node's packets."""

    AWS = "aws"
    AZURE = "azure"
    GCP = "gcp"
    METAL = "metal"


def platform(dmi: Path = _DMI) -> Platform:
    """The platform; metal where nothing says otherwise, also in virtual machines of one's own."""
    vendors = {_read(dmi / name) for name in ("sys_vendor", "bios_vendor", "board_vendor")}
    if "Amazon EC2" in vendors or "amazon" in _read(dmi / "bios_version"):  # the latter: on Xen
        return Platform.AWS
    if "Google" in vendors:
        return Platform.GCP
    if _read(dmi / "chassis_asset_tag") == _AZURE_ASSET:
        return Platform.AZURE
    return Platform.METAL


def auto_type(dmi: Path = _DMI) -> str:
    """What `type: auto` stands for here. Raises ProviderError on a cloud that no installed provider serves.

    On a cloud the addresses must be moved in its network; to bind them to an interface alone would look right and reach
    nobody, so it has to be said.
    """
    found = platform(dmi)
    if found is Platform.METAL:
        return "baremetal"
    if found.value in known_providers():
        return found.value
    raise ProviderError(
        f"this is a virtual machine of {found.value}, and no provider for it is installed: "
        "name the providers; {type: baremetal} only binds addresses, for use behind a load balancer"
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # no DMI (containers, other architectures), or not readable by us
        return ""
