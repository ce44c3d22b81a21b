"""The resources of the fake Azure Resource Manager, the writes that are running, and the writes that it refuses."""

from __future__ import annotations

import copy
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.lab.azure.network import KINDS, Json, Kind, Refused, check_nic, check_route
from tests.lab.azure.schema import Invalid, validate, writable

_RESOURCE = re.compile(
    r"(?P<id>/subscriptions/(?P<subscription>[^/]+)/resourcegroups/(?P<group>[^/]+)/providers/microsoft\.network"
    r"/(?P<type>[^/]+)/(?P<name>[^/]+)(/(?P<child>[^/]+)/(?P<child_name>[^/]+))?)$"
)


@dataclass(frozen=True)
class Place:
    """A resource's place: its id in lower case, its kind, and its last name."""

    key: str
    kind: Kind
    name: str


@dataclass
class Operation:
    """A running write: its resource, its end, the content before it, and its error."""

    key: str
    ends_at: float
    before: Json | None
    error: str = ""
    ended: bool = False


class Resources:
    """All resources. A write takes `seconds`. Not thread-safe: the owner holds a lock."""

    def __init__(self, seconds: float, changed: Callable[[], None]) -> None:
        """Make an empty set of resources. `changed` is called when a write has taken effect."""
        self.seconds = seconds
        self.operations: dict[str, Operation] = {}
        self.broken: list[str] = []  # the fake's answers that the SDK's models refuse
        self._changed = changed
        self._all: dict[str, Json] = {}

    def add(self, identifier: str, resource: Mapping[str, Any]) -> str:
        """Add a resource, and return its id."""
        fresh = {"id": identifier, "name": identifier.rpartition("/")[2], **copy.deepcopy(dict(resource))}
        validate(self.place(identifier).kind.model, fresh)
        self._all[identifier.lower()] = _finished(fresh, "Succeeded")
        return identifier

    # --- reading ---

    @staticmethod
    def place(path: str) -> Place:
        """Return the place that a path names. Raises Refused for an unknown type."""
        where = _RESOURCE.match(path.lower())
        kind = KINDS.get(f"{where['type']}/{where['child']}" if where["child"] else where["type"]) if where else None
        if where is None or kind is None:
            raise Refused(404, "InvalidResourceType", f"no such resource type: {path}")
        return Place(where["id"], kind, where["child_name"] or where["name"])

    def of(self, kind: Kind) -> Iterator[str]:
        """Return the keys of all resources of a kind."""
        return (key for key in list(self._all) if self.place(key).kind is kind)

    def existing(self, key: str) -> Json | None:
        return self._all.get(key) or self._route(key)

    def checked(self, kind: Kind, key: str) -> Json:
        """Return a resource as an answer, checked against the SDK's model."""
        shown = self.shown(key)
        try:
            validate(kind.model, shown)
        except Invalid as invalid:
            self.broken.append(str(invalid))
        return shown

    def shown(self, key: str) -> Json:
        found = self.existing(key)
        if found is None:
            raise Refused(404, "ResourceNotFound", f"The Resource '{key}' was not found.")
        shown = copy.deepcopy(found)
        if "/publicipaddresses/" in key:
            nics = (self.effective(nic) for nic in self.of(KINDS["networkinterfaces"]))
            for config in (config for nic in nics for config in nic["properties"]["ipConfigurations"]):
                if (config["properties"].get("publicIPAddress") or {}).get("id", "").lower() == key:
                    shown["properties"]["ipConfiguration"] = {"id": config["id"]}
        return shown

    def effective(self, key: str) -> Json:
        """Return what packets meet: while a write is running, the content before it."""
        under_way = self._busy(key)
        return copy.deepcopy(under_way.before if under_way and under_way.before else self.shown(key))

    def _route(self, key: str) -> Json | None:
        table, _, name = key.rpartition("/routes/")
        routes = self._all.get(table, {}).get("properties", {}).get("routes") or []
        return next((route for route in routes if route["name"].lower() == name), None)

    # --- writing ---

    def body(self, place: Place, content: bytes) -> Json:
        """Return the part of a request's content that the writer decides, as JSON. Raises Refused."""
        try:
            body = json.loads(content)
            validate(place.kind.model, body)
        except (ValueError, Invalid) as invalid:
            raise Refused(400, "InvalidRequestContent", f"The request content was invalid: {invalid}") from invalid
        return writable(place.kind.model, body)

    def fresh_nic(self, place: Place, body: Json) -> Json:
        """Return the NIC as a write would make it. Raises Refused."""
        old = self._all.get(place.key)
        if old is None:
            raise Refused(404, "ResourceNotFound", "this fake makes no NICs")
        if self._busy(place.key):
            said = "Operation was retried, as another operation on this or a dependent resource is in progress"
            raise Refused(429, "RetryableErrorDueToAnotherOperation", said)
        if not body.get("location"):
            raise Refused(400, "LocationRequired", "The location property is required for this definition.")
        if body["location"] != old["location"]:
            raise Refused(409, "InvalidResourceLocation", f"The resource is in {old['location']}")
        body.setdefault("properties", {}).setdefault("enableIPForwarding", False)
        others = {nic: self._all[nic] for nic in self.of(KINDS["networkinterfaces"]) if nic != place.key}
        held = {f"{nic} before": self.effective(nic) for nic in others}
        subnets = {subnet: self._all[subnet] for subnet in self.of(KINDS["virtualnetworks/subnets"])}
        check_nic(body, old, others | held, subnets)
        given = {
            name: old["properties"][name] for name in ("macAddress", "virtualMachine") if name in old["properties"]
        }
        body["properties"] |= given
        return body | {"id": old["id"], "name": old["name"], "type": "Microsoft.Network/networkInterfaces"}

    def fresh_route(self, place: Place, body: Json) -> Json:
        """Return the route as a write would make it. Raises Refused."""
        table = place.key.rpartition("/routes/")[0]
        if table not in self._all:
            raise Refused(404, "ResourceNotFound", f"The Resource '{table}' was not found.")
        if any(each.key.startswith(f"{table}/") and not each.ended for each in self.operations.values()):
            raise Refused(409, "AnotherOperationInProgress", "Another operation on this resource is in progress")
        check_route(place.name, body, self._all[table])
        return body | {"id": place.key, "name": place.name}

    def begin(self, place: Place, fresh: Json, failing: str) -> str:
        """Begin a write, and return the operation's name."""
        before = copy.deepcopy(self.existing(place.key))
        self._store(place.key, _finished(fresh, "Updating"))
        name = str(uuid.uuid4())
        self.operations[name] = Operation(place.key, time.monotonic() + self.seconds, before, failing)
        if not self.seconds:
            self.settle()
        return name

    def finish(self) -> None:
        """End all writes."""
        for operation in self.operations.values():
            operation.ends_at = 0.0
        self.settle()

    def settle(self) -> None:
        """End the writes that are due."""
        now = time.monotonic()
        for operation in self.operations.values():
            if not operation.ended and operation.ends_at <= now:
                operation.ended = True
                current = self.existing(operation.key)
                assert current is not None
                self._store(operation.key, _finished(current, "Failed" if operation.error else "Succeeded"))
                self._changed()

    def _busy(self, key: str) -> Operation | None:
        return next((each for each in self.operations.values() if each.key == key and not each.ended), None)

    def _store(self, key: str, fresh: Json) -> None:
        if "/routes/" not in key:
            self._all[key] = fresh
            return
        table = self._all[key.rpartition("/routes/")[0]]
        routes = [route for route in table["properties"].get("routes") or [] if route["name"].lower() != fresh["name"]]
        table["properties"]["routes"] = [*routes, fresh]
        table["etag"] = _etag()


def _finished(resource: Json, state: str) -> Json:
    """Return the resource with the fields that the platform sets."""
    resource["etag"] = _etag()
    properties = resource.setdefault("properties", {})
    properties["provisioningState"] = state
    for config in properties.get("ipConfigurations") or []:
        config["id"] = f"{resource['id']}/ipConfigurations/{config['name']}"
        config["etag"] = resource["etag"]
        config["properties"]["provisioningState"] = state
    for route in properties.get("routes") or []:
        route.setdefault("id", f"{resource['id']}/routes/{route['name']}")
        route.setdefault("etag", resource["etag"])
        route["properties"].setdefault("provisioningState", state)
    return resource


def _etag() -> str:
    return f'W/"{uuid.uuid4()}"'
