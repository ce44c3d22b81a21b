"""Where this node runs: by what its firmware says of itself (DMI), else by which metadata service answers.

A machine whose firmware names somebody else is metal, also if it is virtual: nobody is asked over the network then.
Where there is no DMI (containers, some architectures) all three services are asked at once, by address, and what has
not answered in 0.2 s is not there. Each is known by what only the real one says.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from providers.aws import identity as aws_identity
from providers.azure import identity as azure_identity
from providers.cloud.metadata_service import gcp_endpoint
from providers.gcp.metadata import Metadata

_DMI: Final = Path("/sys/class/dmi/id")
_NAMES: Final = ("sys_vendor", "bios_vendor", "board_vendor", "bios_version", "chassis_asset_tag")
_AZURE_ASSET: Final = "7783-7084-3265-9085-8269-3286-77"  # Hyper-V elsewhere says Microsoft, too
_ANSWER_SECONDS: Final = 0.2


class Platform(StrEnum):
    """Whose network carries this node's packets."""

    AWS = "aws"
    AZURE = "azure"
    GCP = "gcp"
    METAL = "metal"


@dataclass(frozen=True, slots=True)
class Here:
    """The platform, and how that is known."""

    platform: Platform
    why: str


@cache  # a machine stays where it is while a process lives
def here() -> Here:
    """Where this node runs. The first time it may take 0.2 s."""
    return platform(_DMI)


def platform(dmi: Path) -> Here:
    """Where this node runs, by the firmware's words in this directory, else by who answers."""
    said = {name: text for name in _NAMES if (text := _read(dmi / name))}
    return _by_firmware(said) if said else _by_metadata()


def _by_firmware(said: dict[str, str]) -> Here:
    vendors = {said.get(name) for name in ("sys_vendor", "bios_vendor", "board_vendor")}
    if "Amazon EC2" in vendors:
        return Here(Platform.AWS, "its firmware says Amazon EC2")
    if "amazon" in said.get("bios_version", ""):  # on Xen
        return Here(Platform.AWS, f"its BIOS is version {said['bios_version']}")
    if "Google" in vendors:
        return Here(Platform.GCP, "its firmware says Google")
    if said.get("chassis_asset_tag") == _AZURE_ASSET:
        return Here(Platform.AZURE, "its chassis has the asset tag of Azure's virtual machines")
    return Here(Platform.METAL, f"its firmware says {said.get('sys_vendor') or next(iter(said.values()))}, no cloud")


def _by_metadata() -> Here:
    services = {Platform.AWS: _is_aws, Platform.AZURE: _is_azure, Platform.GCP: _is_gcp}
    threads = ThreadPoolExecutor(len(services), "platform")
    asked = {threads.submit(answers): found for found, answers in services.items()}
    done, _ = wait(asked, timeout=_ANSWER_SECONDS)
    threads.shutdown(wait=False)  # those under way end by their own timeouts
    for answer in done:
        if answer.exception() is None and answer.result():
            return Here(asked[answer], f"its firmware says nothing, and {asked[answer]}'s metadata service answers")
    return Here(Platform.METAL, "its firmware says nothing, and no cloud's metadata service answers")


def _is_aws() -> bool:
    """OpenStack and others imitate the paths of EC2's, but have no session tokens and no identity document."""
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return False
    said = json.loads(aws_identity.Imds(_ANSWER_SECONDS).text("/latest/dynamic/instance-identity/document"))
    return isinstance(said, dict) and "accountId" in said and "region" in said


def _is_azure() -> bool:
    return azure_identity.this_machine(_ANSWER_SECONDS).environment != ""


def _is_gcp() -> bool:
    return Metadata(gcp_endpoint(), _ANSWER_SECONDS).text("project/project-id") != ""


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):  # no DMI, or not readable by us
        return ""
