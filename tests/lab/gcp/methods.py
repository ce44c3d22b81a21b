"""The methods of Compute Engine that the fake has, and the permissions that they need."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.lab.gcp.answers import shown_address, shown_machine, shown_route, shown_subnet
from tests.lab.gcp.cloud import PROJECT, Cloud, Machine, Refused, Route
from tests.lab.gcp.refusals import check_access, check_has_access, check_nic, check_route

# The permissions of each method (Google: "Method: ...", IAM permissions).
PERMISSIONS: Mapping[str, tuple[str, ...]] = {
    "instances.get": ("compute.instances.get",),
    "instances.aggregatedList": ("compute.instances.list",),
    "instances.updateNetworkInterface": ("compute.instances.updateNetworkInterface", "compute.subnetworks.use"),
    "instances.addAccessConfig": (
        "compute.instances.addAccessConfig",
        "compute.subnetworks.useExternalIp",
        "compute.addresses.use",
    ),
    "instances.deleteAccessConfig": ("compute.instances.deleteAccessConfig",),
    "instances.getEffectiveFirewalls": ("compute.instances.getEffectiveFirewalls",),
    "instances.testIamPermissions": (),
    "routes.list": ("compute.routes.list",),
    "routes.get": ("compute.routes.get",),
    "routes.insert": ("compute.routes.create", "compute.networks.updatePolicy", "compute.instances.use"),
    "routes.delete": ("compute.routes.delete", "compute.networks.updatePolicy"),
    "subnetworks.get": ("compute.subnetworks.get",),
    "subnetworks.aggregatedList": ("compute.subnetworks.list",),
    "addresses.list": ("compute.addresses.list",),
    "firewalls.list": ("compute.firewalls.list",),
    "zoneOperations.wait": ("compute.zoneOperations.get",),
    "globalOperations.wait": ("compute.globalOperations.get",),
    "projects.testIamPermissions": (),
}


READS = frozenset(name for name in PERMISSIONS if re.search(r"\.(get\w*|list|aggregatedList|test\w+)$", name))


@dataclass
class Operation:
    """A change under way. `land` runs at `due`, and can raise Refused."""

    name: str
    kind: str
    zone: str | None
    target: str
    due: float
    land: Callable[[], None]
    user: str
    error: Refused | None = None
    done: bool = False

    @property
    def path(self) -> str:
        place = f"zones/{self.zone}" if self.zone else "global"
        return f"projects/{PROJECT}/{place}/operations/{self.name}"


class Methods:
    """The API's methods on one project. `begin(kind, zone, target, who, land)` begins a change."""

    def __init__(self, cloud: Cloud, may: Callable[[str, str], bool], begin: Callable[..., Operation]) -> None:
        self.cloud = cloud
        self.page_size = 500
        self._may = may
        self._begin = begin

    # --- methods: reading ---

    def instances_get(self, given: Mapping[str, str], _who: str, _body: Any) -> Any:
        return shown_machine(self.cloud, self._machine(given))

    def instances_aggregated_list(self, given: Mapping[str, str], _who: str, _body: Any) -> Any:
        machines, more = self._page(self.cloud.machines, given)
        items: dict[str, Any] = {f"zones/{each.zone}": {"instances": []} for each in machines}
        for each in machines:
            items[f"zones/{each.zone}"]["instances"].append(shown_machine(self.cloud, each))
        warning = {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for scope 'zones/us-east1-b'."}
        items["zones/us-east1-b"] = {"warning": warning}
        return {"kind": "compute#instanceAggregatedList", "items": items, **more}

    def instances_test_iam_permissions(self, _given: Mapping[str, str], who: str, body: Any) -> Any:
        held = [each for each in body["permissions"] if self._may(who, each)]
        return {"permissions": held} if held else {}

    projects_test_iam_permissions = instances_test_iam_permissions

    def instances_get_effective_firewalls(self, given: Mapping[str, str], _who: str, _body: Any) -> Any:
        self.cloud.nic(self._machine(given), given["networkInterface"])
        return {"firewalls": self.cloud.firewalls} if self.cloud.firewalls else {}

    def routes_list(self, given: Mapping[str, str], _who: str, _body: Any) -> Any:
        found = [shown_route(each) for each in self.cloud.routes.values()]
        return self._listing("route", found, given)

    def routes_get(self, given: Mapping[str, str], _who: str, _body: Any) -> Any:
        return shown_route(self._route(given["route"]))

    def subnetworks_get(self, given: Mapping[str, str], _who: str, _body: Any) -> Any:
        for subnet in self.cloud.subnets:
            if (subnet.region, subnet.name) == (given["region"], given["subnetwork"]):
                return shown_subnet(subnet)
        raise Refused(404, "notFound", f"The resource '{given['subnetwork']}' was not found")

    def subnetworks_aggregated_list(self, given: Mapping[str, str], _who: str, _body: Any) -> Any:
        subnets, more = self._page(self.cloud.subnets, given)
        items: dict[str, Any] = {f"regions/{each.region}": {"subnetworks": []} for each in subnets}
        for each in subnets:
            items[f"regions/{each.region}"]["subnetworks"].append(shown_subnet(each))
        return {"kind": "compute#subnetworkAggregatedList", "items": items, **more}

    def addresses_list(self, given: Mapping[str, str], _who: str, _body: Any) -> Any:
        found = [shown_address(self.cloud, each) for each in self.cloud.addresses if each.region == given["region"]]
        return self._listing("address", found, given)

    def _listing(self, kind: str, found: list[dict[str, Any]], given: Mapping[str, str]) -> dict[str, Any]:
        page, more = self._page([each for each in found if _fits(each, given.get("filter", ""))], given)
        return {
            "kind": f"compute#{kind}List",
            "id": f"projects/{PROJECT}/{kind}",
            **({"items": page} if page else {}),
            **more,
        }

    def _page(self, found: list[Any], given: Mapping[str, str]) -> tuple[list[Any], dict[str, str]]:
        begin = int(given.get("pageToken") or 0)
        size = min(int(given.get("maxResults", 500)), self.page_size)
        more = {"nextPageToken": str(begin + size)} if begin + size < len(found) else {}
        return found[begin : begin + size], more

    # --- methods: changing ---

    def instances_update_network_interface(self, given: Mapping[str, str], who: str, body: Any) -> Operation:
        machine = self._machine(given)
        nic = self.cloud.nic(machine, given["networkInterface"])
        check_nic(self.cloud, nic, body)

        def land() -> None:
            if "aliasIpRanges" in body:  # a PATCH keeps absent fields
                self.cloud.set_aliases(machine, nic, body["aliasIpRanges"])

        return self._begin("updateNetworkInterface", machine.zone, machine.path, who, land)

    def instances_add_access_config(self, given: Mapping[str, str], who: str, body: Any) -> Operation:
        machine = self._machine(given)
        nic = self.cloud.nic(machine, given["networkInterface"])
        check_access(self.cloud, nic, body)

        def land() -> None:
            check_access(self.cloud, nic, body)
            self.cloud.add_access(nic, body)

        return self._begin("addAccessConfig", machine.zone, machine.path, who, land)

    def instances_delete_access_config(self, given: Mapping[str, str], who: str, _body: Any) -> Operation:
        machine = self._machine(given)
        nic = self.cloud.nic(machine, given["networkInterface"])
        check_has_access(nic, given["accessConfig"])
        return self._begin(
            "deleteAccessConfig",
            machine.zone,
            machine.path,
            who,
            lambda: self.cloud.delete_access(nic, given["accessConfig"]),
        )

    def routes_insert(self, _given: Mapping[str, str], who: str, body: Any) -> Operation:
        route = check_route(self.cloud, body)
        path = f"projects/{PROJECT}/global/routes/{route.name}"
        return self._begin("insert", None, path, who, lambda: self.cloud.add_route(route))

    def routes_delete(self, given: Mapping[str, str], who: str, _body: Any) -> Operation:
        name = self._route(given["route"]).name
        path = f"projects/{PROJECT}/global/routes/{name}"
        return self._begin("delete", None, path, who, lambda: self.cloud.delete_route(name))

    def _machine(self, given: Mapping[str, str]) -> Machine:
        return self.cloud.machine(given["zone"], given.get("instance", given.get("resource", "")))

    def _route(self, name: str) -> Route:
        if name not in self.cloud.routes:
            raise Refused(404, "notFound", f"The resource 'projects/{PROJECT}/global/routes/{name}' was not found")
        return self.cloud.routes[name]


def _fits(item: Mapping[str, Any], asked: str) -> bool:
    """Report whether an item matches a filter. Only alternatives of `(field = "value")` are supported."""
    if not asked:
        return True
    terms = [re.fullmatch(r'\(?(\w+) ?= ?"([^"]*)"\)?', term) for term in asked.split(" OR ")]
    if any(term is None or term[1] not in item for term in terms):
        raise Refused(400, "invalid", f"Invalid value for field 'filter': '{asked}'. Invalid list filter expression.")
    return any(term is not None and str(item[term[1]]) == term[2] for term in terms)
