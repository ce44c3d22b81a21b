"""Where this node runs: found by what its firmware reports (DMI), else by which metadata service answers.

A machine whose firmware names any other vendor counts as metal, even if it is virtual, and no service is asked over the
network. Without DMI (containers, some architectures), all three services are asked at the same time, by address. A
service that has not answered in 0.2 s counts as absent. Each is recognised by an answer that only the real one gives.
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
_AZURE_ASSET: Final = "7783-7084-3265-9085-8269-3286-77"  # the vendor alone is not enough: any Hyper-V is Microsoft's
_ANSWER_SECONDS: Final = 0.2


class Platform(StrEnum):
    """The platform whose network carries this node's packets."""

    AWS = "aws"
    AZURE = "azure"
    GCP = "gcp"
    METAL = "metal"


@dataclass(frozen=True, slots=True)
class PlatformFound:
    """The platform, and how it was recognised."""

    platform: Platform
    why: str


@cache  # a machine does not change its platform while a process lives
def here() -> PlatformFound:
    """Return where this node runs. The first call can take 0.2 s."""
    return platform(_DMI)


def platform(dmi: Path) -> PlatformFound:
    """Return where this node runs, by the firmware's files in this directory, else by which service answers."""
    said = {name: text for name in _NAMES if (text := _read(dmi / name))}
    return _by_firmware(said) if said else _by_metadata()


def _by_firmware(said: dict[str, str]) -> PlatformFound:
    vendors = {said.get(name) for name in ("sys_vendor", "bios_vendor", "board_vendor")}
    if "Amazon EC2" in vendors:
        return PlatformFound(Platform.AWS, "its firmware says Amazon EC2")
    if "amazon" in said.get("bios_version", ""):  # on Xen
        return PlatformFound(Platform.AWS, f"its BIOS is version {said['bios_version']}")
    if "Google" in vendors:
        return PlatformFound(Platform.GCP, "its firmware says Google")
    if said.get("chassis_asset_tag") == _AZURE_ASSET:
        return PlatformFound(Platform.AZURE, "its chassis has the asset tag of Azure's virtual machines")
    return PlatformFound(
        Platform.METAL, f"its firmware says {said.get('sys_vendor') or next(iter(said.values()))}, no cloud"
    )


def _by_metadata() -> PlatformFound:
    services = {Platform.AWS: _is_aws, Platform.AZURE: _is_azure, Platform.GCP: _is_gcp}
    threads = ThreadPoolExecutor(len(services), "platform")
    asked = {threads.submit(answers): found for found, answers in services.items()}
    done, _ = wait(asked, timeout=_ANSWER_SECONDS)
    threads.shutdown(wait=False)  # calls under way end by their own timeouts
    for answer in done:
        if answer.exception() is None and answer.result():
            return PlatformFound(
                asked[answer], f"its firmware says nothing, and {asked[answer]}'s metadata service answers"
            )
    return PlatformFound(Platform.METAL, "its firmware says nothing, and no cloud's metadata service answers")


def _is_aws() -> bool:
    """Recognise EC2: others, such as OpenStack, imitate its paths but lack session tokens and the identity document."""
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
    except (OSError, UnicodeDecodeError):  # no DMI, or this process cannot read it
        return ""
