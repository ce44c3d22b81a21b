"""Checks of what in Azure would prevent VIPs from moving here, run before a failover needs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from providers.azure import probes
from providers.azure.identity import Machine
from providers.azure.network import AzureNetwork
from providers.azure.nic import SETTLED, Json, state
from providers.azure.own_nic import OwnNic
from providers.base import Finding, Level, ProviderError
from providers.cloud.deadline import Deadline

LOOK_SECONDS: Final = 20.0  # for one mover's preflight, which has no grant to respect
_ENVIRONMENTS: Final = {
    "AzurePublicCloud": "public",
    "AzureUSGovernmentCloud": "usgovernment",
    "AzureChinaCloud": "china",
}


async def machine_and_nic(network: AzureNetwork, own: OwnNic, until: Deadline) -> tuple[list[Finding], Json | None]:
    """Check what every mover needs: the metadata service, the cloud and this machine's NIC.

    Returns the findings and the NIC, or None for a NIC that cannot be read.
    """
    try:
        machine = await network.machine(until)
    except ProviderError as error:
        return [
            Finding(
                Level.ERROR,
                "azure.metadata",
                "metadata service",
                str(error),
                "allow traffic to 169.254.169.254, port 80",
            )
        ], None
    found = list(_machine(machine, network.options.cloud.value, own_endpoint=network.options.endpoint is not None))
    try:
        nic = await own.read(until)
    except ProviderError as error:
        remedy = "assign the identity and its role (docs/azure.md), or set `nic`"
        return [*found, Finding(Level.ERROR, "azure.own_nic", "network interface", str(error), remedy)], None
    return [*found, _nic(nic), *await probes.findings(network, nic, own.health_port, until)], nic


def _machine(machine: Machine, cloud: str, *, own_endpoint: bool) -> Iterator[Finding]:
    here = _ENVIRONMENTS.get(machine.environment, machine.environment)
    if here != cloud and not own_endpoint:
        yield Finding(
            Level.ERROR, "azure.cloud", "cloud", f"this machine is in {here}, not in {cloud}", f"set cloud: {here}"
        )
    else:
        yield Finding(
            Level.OK, "azure.metadata", "metadata service", f"this is {machine.name}, in {machine.resource_group}"
        )
    if machine.scale_set:
        yield Finding(
            Level.WARNING,
            "azure.scale_set",
            "scale set",
            f"this machine belongs to {machine.scale_set}",
            "use flexible orchestration: uniform orchestration does not allow writing single network interfaces",
        )


def _nic(nic: Json) -> Finding:
    subject = f"network interface {nic['name']}"
    if state(nic) != SETTLED:
        return Finding(
            Level.WARNING,
            "azure.own_nic",
            subject,
            f"is {state(nic)}",
            "wait, or repair it with: az network nic update",
        )
    return Finding(Level.OK, "azure.own_nic", subject, "can be read")
