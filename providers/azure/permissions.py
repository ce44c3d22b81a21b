"""The permissions that a move needs on each resource, and whether they exist ("Azure role-based access control").

Writing a NIC needs permission to join everything that the NIC refers to, even where the reference does not change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Final

from providers.azure.network import AzureNetwork
from providers.azure.nic import Json, configurations
from providers.base import Finding, Level, ProviderError
from providers.cloud.calls import CallRefused, together
from providers.cloud.deadline import Deadline

Need = tuple[str, str]  # a resource's id, and an action on it

READ_NIC: Final = "Microsoft.Network/networkInterfaces/read"
WRITE_NIC: Final = "Microsoft.Network/networkInterfaces/write"
READ_TABLE: Final = "Microsoft.Network/routeTables/read"
WRITE_ROUTE: Final = "Microsoft.Network/routeTables/routes/write"
READ_PUBLIC_IP: Final = "Microsoft.Network/publicIPAddresses/read"
JOIN_PUBLIC_IP: Final = "Microsoft.Network/publicIPAddresses/join/action"
READ_SECURITY_GROUP: Final = "Microsoft.Network/networkSecurityGroups/read"
READ_SUBNET: Final = "Microsoft.Network/virtualNetworks/subnets/read"
_JOINS: Final = {
    "networkSecurityGroup": "Microsoft.Network/networkSecurityGroups/join/action",
    "subnet": "Microsoft.Network/virtualNetworks/subnets/join/action",
    "publicIPAddress": JOIN_PUBLIC_IP,
    "loadBalancerBackendAddressPools": "Microsoft.Network/loadBalancers/backendAddressPools/join/action",
    "loadBalancerInboundNatRules": "Microsoft.Network/loadBalancers/inboundNatRules/join/action",
    "applicationSecurityGroups": "Microsoft.Network/applicationSecurityGroups/joinIpConfiguration/action",
}


def to_write(nic: Json) -> Iterator[Need]:
    """Yield what writing this NIC needs."""
    yield nic["id"], READ_NIC
    yield nic["id"], WRITE_NIC
    for part in (nic["properties"], *(each["properties"] for each in configurations(nic))):
        for key, action in _JOINS.items():
            joined = part.get(key) or []
            for each in joined if isinstance(joined, list) else [joined]:
                yield each["id"], action


def is_allowed(action: str, permissions: Iterable[Mapping[str, list[str]]]) -> bool:
    """Report whether one of these permissions grants the action without excluding it."""
    return any(
        _matches(action, each.get("actions") or []) and not _matches(action, each.get("notActions") or [])
        for each in permissions
    )


async def findings(network: AzureNetwork, needs: Iterable[Need], until: Deadline) -> list[Finding]:
    """Return a finding for each missing permission, or one that reports that all exist."""
    by_scope: dict[str, set[str]] = defaultdict(set)
    for scope, action in needs:
        by_scope[scope].add(action)
    answers = await together(_missing(network, scope, actions, until) for scope, actions in by_scope.items())
    found = [finding for answer in answers for finding in answer]
    return found or [Finding(Level.OK, "azure.permission", "permissions", f"complete on {len(by_scope)} resources")]


async def _missing(network: AzureNetwork, scope: str, actions: set[str], until: Deadline) -> list[Finding]:
    subject = f"permissions on {'/'.join(scope.split('/')[-2:])}"
    try:
        given = await network.permissions(scope, until)
    except ProviderError as error:
        status = getattr(error.error, "status_code", None) if isinstance(error, CallRefused) else None
        remedy = "allow Microsoft.Authorization/permissions/read" if status == 403 else "see docs/azure.md"
        return [Finding(Level.WARNING, "azure.permission", subject, f"cannot be checked: {error}", remedy)]
    return [
        Finding(
            Level.ERROR,
            "azure.permission",
            subject,
            f"{action} is missing",
            f"assign a role that has it for {scope} (docs/azure.md)",
        )
        for action in sorted(actions)
        if not is_allowed(action, given)
    ]


def _matches(action: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)
