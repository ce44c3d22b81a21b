"""Compute Engine through google-cloud-compute: one identity, no SDK retries, operations awaited with their errors.

Importing this module costs seconds and over 100 MB (docs/gcp.md). So it is imported with the provider that needs it,
before the node campaigns, and never while it takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self, TypeVar
from uuid import uuid4

import requests
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import compute_v1
from google.cloud.compute_v1 import AliasIpRange, Instance, NetworkInterface, Operation

from providers.base import ProviderError
from providers.cloud.calls import CallRefused, Calls
from providers.cloud.deadline import Deadline
from providers.cloud.refusal import Refusal
from providers.gcp import client
from providers.gcp.client import ComputeOptions

T = TypeVar("T")

DONE: Final = Operation.Status.DONE
Terms = dict[str, Any]  # keyword arguments for every method of the SDK
Change = Callable[[str, Terms], Operation]  # begins an operation with a request id


@dataclass(frozen=True, slots=True)
class InstanceName:
    """The name of a virtual machine, with its project and zone."""

    project: str
    zone: str
    name: str

    @classmethod
    def parse(cls, text: str, beside: InstanceName) -> Self:
        """Parse `name`, `zone/name`, `project/zone/name` or any URL of an instance; `beside` fills in missing parts."""
        parts = [part for part in text.split("/") if part not in {"projects", "zones", "instances"}][-3:]
        return cls(*(beside.project, beside.zone)[: 3 - len(parts)], *parts)

    @property
    def path(self) -> str:
        """Return the path by which the API refers to the instance."""
        return f"projects/{self.project}/zones/{self.zone}/instances/{self.name}"

    def __str__(self) -> str:
        return f"{self.zone}/{self.name}"


class OperationFailed(ProviderError):  # noqa: N818  (an answer that the caller acts on)
    """An operation began, and ended with an error. `codes` are Compute Engine's error codes."""

    def __init__(self, what: str, operation: Operation) -> None:
        """`what` names the operation."""
        told = [f"{each.code}: {each.message}" for each in operation.error.errors]
        super().__init__(f"{what}: {'; '.join(told) or operation.http_error_message}")
        self.codes = frozenset(str(each.code) for each in operation.error.errors)


class Compute:
    """The API's methods that providers need. `calls` makes the blocking calls."""

    def __init__(self, options: ComputeOptions, calls: Calls) -> None:
        """Connect later, with the first call. Raises ProviderError when the credentials cannot be read."""
        try:
            who = client.credentials(options)
        except ValueError as error:
            raise ProviderError(str(error)) from error
        self.calls = calls
        self.options = options
        self.session = client.session(who)
        common: dict[str, Any] = {
            "credentials": who,
            "client_options": ClientOptions(api_endpoint=options.endpoint),
        }
        self.instances = compute_v1.InstancesClient(**common)
        self.routes = compute_v1.RoutesClient(**common)
        self.addresses = compute_v1.AddressesClient(**common)
        self.subnetworks = compute_v1.SubnetworksClient(**common)
        self._zone_operations = compute_v1.ZoneOperationsClient(**common)
        self._global_operations = compute_v1.GlobalOperationsClient(**common)

    def close(self) -> None:
        """Close all connections."""
        self.session.close()
        clients: tuple[Any, ...] = (  # the SDK is typed in part
            self.instances,
            self.routes,
            self.addresses,
            self.subnetworks,
            self._zone_operations,
            self._global_operations,
        )
        for each in clients:
            each.transport.close()

    async def ask(self, what: str, work: Callable[[Terms], T], until: Deadline) -> T:
        """Return the answer of an SDK method. `work` calls it with the keyword arguments that it is given."""
        return await self.calls.run(what, lambda: work(self._terms(until)), until=until)

    async def change(self, what: str, zone: str | None, work: Change, until: Deadline) -> None:
        """Begin an operation and wait for its end. `zone` is None for a global one. Raises OperationFailed."""
        await self.end(what, zone, await self.begin(what, work, until), until)

    async def begin(self, what: str, work: Change, until: Deadline) -> Operation:
        """Begin an operation. Retries after a lost answer begin it only once."""
        return await self.ask(what, partial(work, str(uuid4())), until)

    async def end(self, what: str, zone: str | None, operation: Operation, until: Deadline) -> None:
        """Wait for an operation's end. Raises OperationFailed."""
        while operation.status != DONE:
            operation = await self.ask(f"{what}: wait", partial(self._wait, zone, operation), until)
        if operation.error.errors or operation.http_error_status_code:
            raise OperationFailed(what, operation)

    async def instance(self, name: InstanceName, until: Deadline) -> Instance:
        """Return the virtual machine as it is now."""
        return await self.ask(
            f"read {name}",
            lambda terms: self.instances.get(project=name.project, zone=name.zone, instance=name.name, **terms),
            until,
        )

    def aliases(self, name: InstanceName, nic: NetworkInterface, wanted: Sequence[AliasIpRange]) -> Change:
        """Make a change that gives an interface exactly these alias ranges.

        The API refuses it (412) when the interface has changed since it was read.
        """
        return partial(self._update_nic if wanted else self._clear_nic, name, nic, list(wanted))

    def _update_nic(
        self, name: InstanceName, nic: NetworkInterface, wanted: list[AliasIpRange], request_id: str, terms: Terms
    ) -> Operation:
        asked = compute_v1.UpdateNetworkInterfaceInstanceRequest(
            project=name.project,
            zone=name.zone,
            instance=name.name,
            network_interface=nic.name,
            network_interface_resource=NetworkInterface(fingerprint=nic.fingerprint, alias_ip_ranges=wanted),
            request_id=request_id,
        )
        return self.instances.update_network_interface_unary(asked, **terms)

    def _clear_nic(
        self, name: InstanceName, nic: NetworkInterface, _none: list[AliasIpRange], request_id: str, terms: Terms
    ) -> Operation:
        """Send the PATCH without the SDK, which leaves out an empty list, so that nothing would change."""
        answer = self.session.patch(
            f"{self.options.endpoint}/compute/v1/{name.path}/updateNetworkInterface",
            params={"networkInterface": nic.name, "requestId": request_id},
            json={"fingerprint": nic.fingerprint, "aliasIpRanges": []},
            timeout=terms["timeout"],
        )
        answer.raise_for_status()
        operation: Operation = Operation.from_json(answer.content, ignore_unknown_fields=True)
        return operation

    def _wait(self, zone: str | None, operation: Operation, terms: Terms) -> Operation:
        """Wait until the operation is done, or for as long as a call can take."""
        project = operation.self_link.partition("/projects/")[2].partition("/")[0]
        try:
            if zone is None:
                return self._global_operations.wait(project=project, operation=operation.name, **terms)
            return self._zone_operations.wait(project=project, zone=zone, operation=operation.name, **terms)
        except requests.ReadTimeout:
            return operation  # it takes longer, so the caller asks again

    def _terms(self, until: Deadline) -> Terms:
        return {"timeout": min(self.options.call_timeout_seconds, until.left()), "retry": None}


class Removals:
    """An operation that gives something up. Nothing waits for it, unless this node is to have it again."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._under_way: tuple[str, str, Operation] | None = None

    async def begin(self, what: str, zone: str, work: Change, until: Deadline) -> None:
        """Begin an operation that gives something up."""
        self._under_way = what, zone, await self._compute.begin(what, work, until)

    async def over(self, until: Deadline) -> None:
        """Wait until the operation that `begin` began can no longer take effect."""
        if self._under_way is not None:
            with suppress(OperationFailed):
                await self._compute.end(*self._under_way, until)
            self._under_way = None


def translate(error: Exception) -> Refusal | None:
    """Return what an error of the SDK, its HTTP client or google-auth means, or None for any other error."""
    if isinstance(error, GoogleAPICallError):
        if isinstance(error.response, requests.Response):
            return client.to_refusal(error.response)
        return Refusal(client.line(error), retry=False)
    return client.translate(error)


def status(refused: CallRefused) -> int | None:
    """Return the HTTP status of a refusal, or None when there was no answer."""
    error = refused.error
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return int(error.response.status_code)
    return int(error.code) if isinstance(error, GoogleAPICallError) and error.code is not None else None
