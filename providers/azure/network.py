"""Azure's network as the movers use it: read a resource, write it, and wait until the write is complete.

Waiting reads the resource that the operation writes. That needs only the permission to read, also notices the end of an
operation that another process began, and the last answer verifies the write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Final, TypeVar

from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.network import models as m

from providers.azure.client import ArmOptions, credential, management_client
from providers.azure.identity import Machine, this_machine
from providers.azure.nic import SETTLED, UNDER_WAY, Json, state
from providers.azure.tokens import Tokens
from providers.base import ProviderError
from providers.cloud.calls import CallRefused, Calls
from providers.cloud.deadline import Deadline

T = TypeVar("T")
_PERMISSIONS_VERSION: Final = "2022-04-01"
_FIRST_PAUSE_SECONDS: Final = 0.2  # then twice that, up to `polling_seconds`
CHANGED_PAUSE_SECONDS: Final = 0.1  # before a resource that another process also writes is read again


@dataclass(frozen=True, slots=True)
class Named:
    """A resource of Microsoft.Network: its subscription, resource group, type and name."""

    subscription: str
    group: str
    type: str
    name: str

    @classmethod
    def of(cls, given: str, kind: str, machine: Machine) -> Named:
        """Return the resource with an id, or with a name in the machine's own resource group. Raises ProviderError."""
        if "/" not in given:
            return cls(machine.subscription, machine.resource_group, kind, given)
        parts = given.strip("/").split("/")
        keys = [part.lower() for part in parts[::2]]
        known = keys[:3] == ["subscriptions", "resourcegroups", "providers"] and len(parts) >= 8
        if not known or parts[5].lower() != "microsoft.network" or parts[6].lower() != kind.lower():
            raise ProviderError(f"{given!r} is not an id of Microsoft.Network/{kind}")
        return cls(parts[1], parts[3], kind, parts[7])

    @property
    def id(self) -> str:
        """The resource's id, as Azure writes it."""
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
            f"/providers/Microsoft.Network/{self.type}/{self.name}"
        )


class Changed(ProviderError):  # noqa: N818  (an answer that the caller acts on)
    """Another process has written the resource since it was read; the caller reads it again."""


@dataclass(slots=True)
class _Written:
    """The URL that reports on the operation behind a write."""

    operation: str = ""


@dataclass
class AzureNetwork:
    """One provider's requests to Azure, sent through its `calls`. The owner calls `close` when it is done."""

    options: ArmOptions
    calls: Calls
    _machine: Machine | None = None
    _who: Tokens | None = None
    _clients: dict[str, NetworkManagementClient] = field(default_factory=dict)
    _making: Lock = field(default_factory=Lock)  # clients are made in the threads that need them

    async def machine(self, until: Deadline) -> Machine:
        """Return this virtual machine. The metadata service is asked only once. Raises ProviderError."""
        if self._machine is None:
            found = await self.calls.run("asking which machine this is", this_machine, until=until)
            self._machine = replace(found, subscription=self.options.subscription or found.subscription)
        return self._machine

    def close(self) -> None:
        """Close the connections."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()
        if self._who is not None:
            self._who.close()
            self._who = None

    # --- reading ---

    async def nic(self, which: Named, until: Deadline) -> Json:
        """Read a network interface."""
        return await self._read(which, lambda c, k: c.network_interfaces.get(which.group, which.name, **k), until)

    async def nics(self, subscription: str, group: str, until: Deadline) -> list[Json]:
        """Read every network interface of a resource group."""

        def work(client: NetworkManagementClient, keys: dict[str, Any]) -> list[Json]:
            return [_json(nic) for nic in client.network_interfaces.list(group, **keys)]

        what = f"listing the network interfaces of {group}"
        return await self._run(what, subscription, work, until)

    async def route_table(self, which: Named, until: Deadline) -> Json:
        """Read a route table with its routes."""
        return await self._read(which, lambda c, k: c.route_tables.get(which.group, which.name, **k), until)

    async def public_ip(self, which: Named, until: Deadline) -> Json:
        """Read a public IP address and where it is."""
        return await self._read(which, lambda c, k: c.public_ip_addresses.get(which.group, which.name, **k), until)

    async def security_group(self, which: Named, until: Deadline) -> Json:
        """Read a network security group with its rules."""
        return await self._read(which, lambda c, k: c.network_security_groups.get(which.group, which.name, **k), until)

    async def subnet(self, network: Named, name: str, until: Deadline) -> Json:
        """Read a subnet of a virtual network."""
        return await self._read(network, lambda c, k: c.subnets.get(network.group, network.name, name, **k), until)

    async def permissions(self, scope: str, until: Deadline) -> list[Json]:
        """Read this node's permissions on the resource with this id: pairs of `actions` and `notActions`."""

        def work(client: NetworkManagementClient, keys: dict[str, Any]) -> list[Json]:
            url = f"{self.options.arm}{scope}/providers/Microsoft.Authorization/permissions"
            keys.pop("api_version", None)
            request = HttpRequest("GET", url, params={"api-version": _PERMISSIONS_VERSION})
            answer = client.send_request(request, **keys)
            if answer.status_code != 200:
                raise HttpResponseError(response=answer)
            return list(answer.json().get("value", ()))

        return await self._run(f"reading the permissions on {scope}", scope.split("/")[2], work, until)

    # --- writing ---

    async def write_nic(self, which: Named, nic: Json, until: Deadline) -> Json:
        """Write a whole NIC, as it was read and then changed, and return it as it is when the write is complete.

        Raises Changed when another process has written it since, and ProviderError when Azure refuses the write or the
        write fails.
        """

        def put(client: NetworkManagementClient, keys: dict[str, Any]) -> None:
            body = m.NetworkInterface(nic)  # the model leaves out read-only fields
            client.network_interfaces.begin_create_or_update(which.group, which.name, body, polling=False, **keys)

        return await self._write(which, put, nic.get("etag"), lambda: self.nic(which, until), until)

    async def write_route(self, table: Named, name: str, route: Json, until: Deadline) -> Json:
        """Write one route of a table, and return it as it is when the write is complete. Raises as `write_nic` does."""

        def put(client: NetworkManagementClient, keys: dict[str, Any]) -> None:
            client.routes.begin_create_or_update(table.group, table.name, name, m.Route(route), polling=False, **keys)

        async def read() -> Json:
            routes = (await self.route_table(table, until))["properties"].get("routes") or []
            return next((each for each in routes if each["name"].lower() == name.lower()), {})

        return await self._write(table, put, route.get("etag"), read, until)

    async def settled(self, read: Callable[[], Awaitable[Json]]) -> Json:
        """Return the resource when no operation on it is under way.

        Raises what `read` raises, which is StaleGrant when the grant ends.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            resource = await read()
            if state(resource) not in UNDER_WAY:
                return resource
            await asyncio.sleep(pause)
            pause = min(2 * pause, self.options.polling_seconds)

    async def _write(
        self,
        which: Named,
        put: Callable[[NetworkManagementClient, dict[str, Any]], None],
        etag: str | None,
        read: Callable[[], Awaitable[Json]],
        until: Deadline,
    ) -> Json:
        what = f"writing {which.type}/{which.name}"
        written = _Written()

        def work(client: NetworkManagementClient, keys: dict[str, Any]) -> None:
            headers = {"If-Match": etag} if etag else {}
            put(client, {**keys, "headers": headers, "raw_response_hook": _keep(written)})

        try:
            await self._run(what, which.subscription, work, until)
        except CallRefused as refused:
            if getattr(refused.error, "status_code", None) == 412:
                raise Changed(f"{what}: another process has written it since it was read") from refused
            raise
        resource = await self.settled(read)
        if state(resource) != SETTLED:
            raise ProviderError(f"{what}: {state(resource)}: {await self._why(which, written, until)}")
        return resource

    async def _why(self, which: Named, written: _Written, until: Deadline) -> str:
        """Ask the operation behind a write why it failed."""
        if not written.operation.startswith(f"{self.options.arm}/"):  # the token must not go anywhere else
            return "Azure does not say why"

        def work(client: NetworkManagementClient, keys: dict[str, Any]) -> Json:
            keys.pop("api_version", None)
            answer: Json = client.send_request(HttpRequest("GET", written.operation), **keys).json()
            return answer

        try:
            error = (await self._run("asking why", which.subscription, work, until)).get("error") or {}
        except ProviderError as unknown:
            return f"Azure does not say why ({unknown})"
        return f"{error.get('code', '')}: {error.get('message', '')}"

    # --- calls ---

    async def _read(
        self,
        which: Named,
        get: Callable[[NetworkManagementClient, dict[str, Any]], m.Resource | m.Subnet],
        until: Deadline,
    ) -> Json:
        what = f"reading {which.type}/{which.name}"
        return await self._run(what, which.subscription, lambda client, keys: _json(get(client, keys)), until)

    async def _run(
        self,
        what: str,
        subscription: str,
        work: Callable[[NetworkManagementClient, dict[str, Any]], T],
        until: Deadline,
    ) -> T:
        def asking() -> T:
            client, who = self._client(subscription)
            return who.asked(lambda: work(client, self._keys(until)))

        return await self.calls.run(what, asking, until=until)

    def _client(self, subscription: str) -> tuple[NetworkManagementClient, Tokens]:
        with self._making:
            try:
                if self._who is None:
                    self._who = credential(self.options)
                if subscription not in self._clients:
                    self._clients[subscription] = management_client(self.options, subscription, self._who)
            except ValueError as error:
                raise ProviderError(f"no credential: {error}") from error
            return self._clients[subscription], self._who

    def _keys(self, until: Deadline) -> dict[str, Any]:
        """Return the arguments that make one call of the SDK end before the grant does.

        The call is not sent if too little time is left when its token has been fetched.
        """
        left = until.left()
        version = {} if self.options.api_version is None else {"api_version": self.options.api_version}
        return {
            "read_timeout": min(self.options.read_timeout_seconds, left),
            "connection_timeout": min(self.options.connect_timeout_seconds, left),
            "raw_request_hook": lambda _: until.left(),
            **version,
        }


def _keep(written: _Written) -> Callable[[Any], None]:
    def hook(response: Any) -> None:
        headers: Mapping[str, str] = response.http_response.headers
        written.operation = headers.get("Azure-AsyncOperation", "")

    return hook


def _json(resource: Any) -> Json:
    found: Json = resource.as_dict()
    return found
