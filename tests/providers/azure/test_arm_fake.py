"""The fake refuses what Azure refuses. The real SDK asks it over TLS and polls long operations itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ServiceResponseError
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.network import models as m

from providers.azure.client import ArmOptions, credential, error_code, management_client
from tests.lab.azure.arm import SDK_VERSION, Arm, Fault
from tests.lab.azure.metadata import Metadata, token
from tests.lab.azure.world import NETWORK, SUBSCRIPTION, Node, ip_config, nic, public_ip, route_table
from tests.providers.azure.conftest import Tls

ONE, TWO = Node(1), Node(2)
VIP = "10.7.0.100"


@pytest.fixture
def client(arm: Arm, tls: Tls) -> Iterator[NetworkManagementClient]:
    options = ArmOptions(endpoint=arm.audience, ca_file=Path(tls.ca_file), polling_seconds=0.1)
    with closing(credential(options)) as who, management_client(options, SUBSCRIPTION, who) as made:
        yield made


@contextmanager
def refused(status: int, code: str) -> Iterator[None]:
    with pytest.raises(HttpResponseError) as raised:
        yield
    assert (raised.value.status_code, error_code(raised.value)) == (status, code), raised.value


def begin(client: NetworkManagementClient, node: Node, body: Any, **headers: str) -> Any:
    return client.network_interfaces.begin_create_or_update("rg", f"nic{node.number}", body, headers=headers)


def put(client: NetworkManagementClient, node: Node, body: Any, **headers: str) -> Any:
    return begin(client, node, body, **headers).result()


def get(client: NetworkManagementClient, node: Node) -> Any:
    return client.network_interfaces.get("rg", f"nic{node.number}")


# --- the form ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"enableIpForwarding": True}, "enableIpForwarding"),
        ({"enableIPForwarding": "yes"}, "enableIPForwarding"),
        ({"nicType": "Fast"}, "nicType"),
        ({"ipConfigurations": {}}, "ipConfigurations"),
        ({"ipConfigurations": [{"name": "x", "properties": {"privateIPAllocationMethod": "static"}}]}, "Allocation"),
        ({"networkSecurityGroup": "nsg"}, "networkSecurityGroup"),
    ],
)
def test_what_is_not_in_the_model_is_refused(
    arm: Arm, client: NetworkManagementClient, properties: dict[str, Any], said: str
) -> None:
    body = nic(ONE)
    body["properties"].update(properties)
    with refused(400, "InvalidRequestContent"):
        put(client, ONE, body)
    assert arm.writes


def test_a_misspelt_next_hop_is_refused(arm: Arm, client: NetworkManagementClient) -> None:
    route_table(arm, "t", f"{VIP}/32", ONE.address)
    body: Any = {"properties": {"addressPrefix": f"{VIP}/32", "nextHopType": "VirtualApliance"}}
    with refused(400, "InvalidRequestContent"):
        client.routes.begin_create_or_update("rg", "t", "vip", body).result()


def ask(arm: Arm, tls: Tls, path: str, who: str | None = None, **query: str) -> str:
    headers = {} if who is None else {"Authorization": f"Bearer {who}"}
    answer = requests.get(arm.audience + path, headers=headers, params=query, verify=tls.ca_file, timeout=60)
    return f"{answer.status_code} {answer.json()['error']['code']}"


def test_who_asks_which_version_of_what(arm: Arm, tls: Tls) -> None:
    known, good = {"api-version": SDK_VERSION}, token("system", arm.audience)
    assert ask(arm, tls, ONE.nic, **known) == "401 AuthenticationFailed"
    assert ask(arm, tls, ONE.nic, "nonsense", **known) == "401 InvalidAuthenticationToken"
    other = token("system", "https://management.azure.com")
    assert ask(arm, tls, ONE.nic, other, **known) == "401 InvalidAuthenticationTokenAudience"
    assert ask(arm, tls, ONE.nic, good) == "400 MissingApiVersionParameter"
    assert ask(arm, tls, ONE.nic, good, **{"api-version": "1999-01-01"}) == "400 InvalidApiVersionParameter"
    assert ask(arm, tls, f"{NETWORK}/networkInterfaces/none", good, **known) == "404 ResourceNotFound"
    assert ask(arm, tls, f"{NETWORK}/toasters/t", good, **known) == "404 InvalidResourceType"


# --- NICs --------------------------------------------------------------------------------------------------------


def test_a_put_replaces_the_whole_nic(arm: Arm, client: NetworkManagementClient) -> None:
    body = nic(ONE)
    for name in ("networkSecurityGroup", "dnsSettings", "enableAcceleratedNetworking", "enableIPForwarding"):
        del body["properties"][name]
    del body["tags"]
    put(client, ONE, body)
    left = arm.written(ONE.nic)
    assert left["properties"]["enableIPForwarding"] is False
    assert left["properties"].keys().isdisjoint({"networkSecurityGroup", "dnsSettings", "enableAcceleratedNetworking"})
    assert "tags" not in left


def test_an_address_in_use_is_refused_until_its_removal_has_ended(arm: Arm, client: NetworkManagementClient) -> None:
    arm.add(ONE.nic, nic(ONE, ip_config("vip", VIP)))
    adding = nic(TWO, ip_config("vip", VIP))
    with refused(400, "PrivateIPAddressIsAllocated"):
        put(client, TWO, adding)
    arm.seconds = 1000.0  # until the test ends it
    removal = begin(client, ONE, nic(ONE))
    with refused(400, "PrivateIPAddressIsAllocated"):
        put(client, TWO, adding)
    arm.finish()
    removal.result()
    put(client, TWO, adding)
    assert arm.written(TWO.nic)["properties"]["ipConfigurations"][1]["properties"]["privateIPAddress"] == VIP


def test_a_nic_that_is_written_shows_it_and_refuses_the_next(arm: Arm, client: NetworkManagementClient) -> None:
    arm.seconds = 1000.0  # until the test ends it
    under_way = begin(client, ONE, nic(ONE))
    assert get(client, ONE).provisioning_state == "Updating"
    with refused(429, "RetryableErrorDueToAnotherOperation"):
        put(client, ONE, nic(ONE))
    arm.finish()
    assert under_way.result().provisioning_state == "Succeeded"
    assert put(client, ONE, nic(ONE)).provisioning_state == "Succeeded"


def test_an_operation_that_fails_says_so_where_it_is_polled_and_in_the_nic(
    arm: Arm, client: NetworkManagementClient
) -> None:
    arm.faults = [Fault("PUT", "nic1", "fails", code="InternalServerError")]
    with pytest.raises(HttpResponseError, match="it failed"):
        put(client, ONE, nic(ONE))
    assert get(client, ONE).provisioning_state == "Failed"


def test_an_etag_of_before_the_last_write_is_refused(arm: Arm, client: NetworkManagementClient) -> None:
    before = get(client, ONE).etag
    put(client, ONE, nic(ONE), **{"If-Match": before})
    with refused(412, "PreconditionFailed"):
        put(client, ONE, nic(ONE), **{"If-Match": before})
    arm.checks_etags = False
    put(client, ONE, nic(ONE), **{"If-Match": before})


def whole(*secondary: dict[str, Any], primary: bool = True, **more: Any) -> dict[str, Any]:
    body = nic(ONE, *secondary)
    body["properties"]["ipConfigurations"][0]["properties"]["primary"] = primary
    return body | more


VIP_CONFIG = ip_config("vip", VIP)
ELSEWHERE = ip_config("vip", VIP, subnet={"id": f"{NETWORK}/virtualNetworks/vnet/subnets/back"})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (nic(ONE, ipConfigurations=[]), 400, "NetworkInterfaceMustHaveIpConfiguration"),
        (nic(ONE, ipConfigurations=[VIP_CONFIG]), 400, "NetworkInterfaceMustHaveOnePrimaryIPConfig"),
        (whole(ip_config("vip", VIP, primary=True)), 400, "NetworkInterfaceMustHaveOnePrimaryIPConfig"),
        (whole(ip_config("vip", VIP, primary=True), primary=False), 400, "PrimaryIPConfigurationCannotBeChanged"),
        (whole(ip_config("Primary", VIP)), 400, "InvalidResourceName"),
        (whole(ip_config("vip", "10.8.0.1")), 400, "PrivateIPAddressNotInSubnet"),
        (whole(ip_config("vip", "")), 400, "StaticAddressNotSpecified"),
        (whole(ip_config("a", "fd07::a"), ip_config("b", "fd07::b")), 400, "MultipleIPv6ConfigurationsNotSupported"),
        (whole(VIP_CONFIG, ip_config("again", VIP)), 400, "PrivateIPAddressIsAllocated"),
        (whole(ELSEWHERE), 400, "IpConfigurationsOnSameNicCannotUseDifferentSubnets"),
        (whole(location=None), 400, "LocationRequired"),
        (whole(location="eastus"), 409, "InvalidResourceLocation"),
    ],
)
def test_a_nic_that_cannot_be_is_refused(
    client: NetworkManagementClient, body: dict[str, Any], status: int, code: str
) -> None:
    with refused(status, code):
        put(client, ONE, body)


def test_a_public_address_belongs_to_one_configuration(arm: Arm, client: NetworkManagementClient) -> None:
    public = {"id": public_ip(arm, "pip", "203.0.113.7")}
    arm.add(ONE.nic, nic(ONE, ip_config("vip", VIP, publicIPAddress=public)))
    shown = client.public_ip_addresses.get("rg", "pip")
    assert shown.ip_configuration.id == ONE.configuration("vip")
    with refused(400, "PublicIPAddressInUse"):
        put(client, TWO, nic(TWO, ip_config("x", "10.7.0.101", publicIPAddress=public)))
    with refused(400, "PublicIpReferencedByMultipleIPConfigs"):
        twice = [ip_config(name, f"10.7.0.{at}", publicIPAddress=public) for at, name in ((101, "x"), (102, "y"))]
        put(client, ONE, nic(ONE, *twice))


# --- routes ------------------------------------------------------------------------------------------------------


def route(next_hop: str | None, kind: str = "VirtualAppliance", prefix: str = f"{VIP}/32") -> m.Route:
    hop = {} if next_hop is None else {"nextHopIpAddress": next_hop}
    return m.Route({"properties": {"addressPrefix": prefix, "nextHopType": kind, **hop}})


def test_one_route_is_put_at_a_time_and_the_others_stay(arm: Arm, client: NetworkManagementClient) -> None:
    table = route_table(arm, "t", f"{VIP}/32", ONE.address, other="10.9.0.0/16")
    arm.seconds = 1000.0  # until the test ends it
    under_way = client.routes.begin_create_or_update("rg", "t", "vip", route(TWO.address))
    assert client.routes.get("rg", "t", "vip").provisioning_state == "Updating"
    with refused(409, "AnotherOperationInProgress"):
        client.routes.begin_create_or_update("rg", "t", "new", route(TWO.address, prefix="10.10.0.0/16")).result()
    arm.finish()
    under_way.result()
    shown = {r["name"]: r["properties"]["nextHopIpAddress"] for r in arm.resource(table)["properties"]["routes"]}
    assert shown == {"vip": TWO.address, "other": "10.7.0.99"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (route(None), "InvalidNextHopIpAddress"),
        (route("10.7.0.1", "Internet"), "InvalidNextHopIpAddress"),
        (route("ten"), "InvalidAddressPrefixFormat"),
        (route("10.7.0.1", prefix="10.7.0.100/8"), "InvalidAddressPrefixFormat"),
        (route("10.7.0.1", prefix=f"{VIP}/32"), "RoutesHaveSameAddressPrefix"),
    ],
)
def test_a_route_that_cannot_be_is_refused(arm: Arm, client: NetworkManagementClient, body: m.Route, code: str) -> None:
    route_table(arm, "t", f"{VIP}/32", ONE.address)
    with refused(400, code):
        client.routes.begin_create_or_update("rg", "t", "second", body).result()


def test_a_table_that_is_not_there_gets_no_route(client: NetworkManagementClient) -> None:
    with refused(404, "ResourceNotFound"):
        client.routes.begin_create_or_update("rg", "none", "vip", route(ONE.address)).result()


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_missing_permission_and_a_missing_join(arm: Arm, client: NetworkManagementClient) -> None:
    arm.actions = ["Microsoft.Network/networkInterfaces/read"]
    get(client, ONE)
    with refused(403, "AuthorizationFailed"):
        put(client, ONE, nic(ONE))
    arm.actions = ["Microsoft.Network/networkInterfaces/*"]
    with refused(403, "LinkedAuthorizationFailed"):
        put(client, ONE, nic(ONE))


def test_a_throttled_request_says_how_long_to_wait(arm: Arm, client: NetworkManagementClient) -> None:
    arm.faults = [Fault("GET", "nic1", "throttle", seconds=3)]
    with refused(429, "TooManyRequests"):
        get(client, ONE)
    get(client, ONE)


def test_a_lost_answer_has_landed_and_a_late_one_lands_later(
    arm: Arm, client: NetworkManagementClient, metadata: Metadata
) -> None:
    for kind in ("lost", "late"):
        arm.add(ONE.nic, nic(ONE))
        arm.faults = [Fault("PUT", "nic1", kind)]
        before = arm.resource(ONE.nic)["etag"]
        with pytest.raises(ServiceResponseError):
            put(client, ONE, nic(ONE, ip_config("vip", VIP)))
        assert (arm.resource(ONE.nic)["etag"] == before) is (kind == "late")
        arm.land()
        assert len(arm.written(ONE.nic)["properties"]["ipConfigurations"]) == 2
