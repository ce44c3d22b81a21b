"""The fake of Compute Engine refuses what Compute Engine refuses: schemas, fingerprints, ranges in use, permissions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.lab.gcp.cloud import Route
from tests.lab.gcp.compute import Compute, Fault
from tests.lab.gcp.requests import TOKEN
from tests.lab.host.processes import LIVENESS
from tests.lab.http.rest import RestServer
from tests.providers.gcp.conftest import project

WHO = "anyvip@shop-1.iam.gserviceaccount.com"
NETWORK = "projects/shop-1/global/networks/vpc"
N1 = "projects/shop-1/zones/europe-west1-b/instances/n1"
ROUTE = {"name": "r1", "network": NETWORK, "destRange": "192.0.2.1/32", "priority": 900, "nextHopInstance": N1}
NIC = {"networkInterface": "nic1"}

Ask = Callable[..., requests.Response]


@pytest.fixture
def compute() -> Compute:
    return Compute(project())


@pytest.fixture
def ask(compute: Compute) -> Iterator[Ask]:
    with RestServer(compute.answer) as server, requests.Session() as session:

        def ask(method: str, path: str, body: Any = None, token: str = TOKEN + WHO, **query: str) -> requests.Response:
            return session.request(
                method,
                f"{server.url}/compute/v1/{path}",
                json=body,
                params=query,
                headers={"Authorization": f"Bearer {token}"},
                timeout=LIVENESS,
            )

        try:
            yield ask
        finally:
            compute.close()  # before the server waits for its requests


def reason(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["errors"][0]["reason"]


def fingerprint(ask: Ask, nic: int = 1) -> str:
    return str(ask("GET", N1).json()["networkInterfaces"][nic]["fingerprint"])


def done(ask: Ask, started: requests.Response) -> Any:
    """Return the operation when it is done."""
    assert started.status_code == 200, started.text
    path = started.json()["selfLink"].partition("/compute/v1/")[2]
    return ask("POST", f"{path}/wait").json()


def test_nobody_without_a_token_is_served(ask: Ask) -> None:
    assert reason(ask("GET", N1, token="stolen")) == (401, "authError")


@pytest.mark.parametrize(
    "asked",
    [
        ("GET", N1, None, {"colour": "blue"}),  # an unknown parameter
        ("PATCH", f"{N1}/updateNetworkInterface", {"fingerprint": "aGk="}, {}),  # a missing parameter
        ("PATCH", f"{N1}/updateNetworkInterface", {"finger": "aGk="}, NIC),  # an unknown field
        ("PATCH", f"{N1}/updateNetworkInterface", {"fingerprint": "?"}, NIC),  # not base64
        ("PATCH", f"{N1}/updateNetworkInterface", {"aliasIpRanges": {}}, NIC),  # not an array
        ("PATCH", f"{N1}/updateNetworkInterface", {"stackType": "IPV9"}, NIC),  # not in the enumeration
        ("PATCH", f"{N1}/updateNetworkInterface", {"kind": "compute#networkInterface"}, NIC),  # output only
        ("PATCH", f"{N1}/updateNetworkInterface", None, NIC),  # no body
        ("POST", "projects/shop-1/global/routes", {**ROUTE, "priority": "900"}, {}),  # not an integer
        ("POST", "projects/shop-1/global/routes", {**ROUTE, "priority": 2**32}, {}),  # more than 32 bits
        ("POST", "projects/shop-1/global/routes", {**ROUTE, "name": "Route_1"}, {}),  # not the pattern
        ("GET", "projects/shop-1/global/routes", None, {"maxResults": "0", "filter": "", "x": "1"}),
    ],
)
def test_what_is_not_in_the_discovery_document_is_refused(
    compute: Compute, ask: Ask, asked: tuple[str, str, Any, dict[str, str]]
) -> None:
    method, path, body, query = asked
    assert ask(method, path, body, **query).status_code == 400
    assert len(compute.mismatches) == 1


def test_a_path_that_there_is_not_is_not_found(ask: Ask) -> None:
    assert ask("POST", f"{N1}/teleport").status_code == 404
    assert reason(ask("GET", N1.replace("n1", "n9"))) == (404, "notFound")
    assert reason(ask("GET", N1.replace("shop-1", "shop-2"))) == (404, "notFound")


def test_an_answer_that_the_document_does_not_know_is_noticed(compute: Compute, ask: Ask) -> None:
    compute.cloud.machines[0].nics[1].aliases = [{"cidr": "10.0.0.9/32"}]
    assert ask("GET", N1).status_code == 500
    assert "cidr" in compute.mismatches[0]


# --- alias ranges -------------------------------------------------------------------------------------------------


def patched(ask: Ask, body: dict[str, Any], machine: str = N1) -> requests.Response:
    return ask("PATCH", f"{machine}/updateNetworkInterface", body, **NIC)


def test_an_interface_is_not_changed_without_its_fingerprint(ask: Ask) -> None:
    body = {"aliasIpRanges": [{"ipCidrRange": "10.0.0.9/32"}]}
    assert reason(patched(ask, body)) == (400, "required")
    fresh = fingerprint(ask)
    assert "error" not in done(ask, patched(ask, {**body, "fingerprint": fresh}))
    assert reason(patched(ask, {**body, "fingerprint": fresh})) == (412, "conditionNotMet")


def test_what_a_patch_does_not_name_stays(ask: Ask) -> None:
    """So a client that leaves out an empty list removes nothing."""
    body = {"aliasIpRanges": [{"ipCidrRange": "10.0.0.9/32"}], "fingerprint": fingerprint(ask)}
    done(ask, patched(ask, body))
    done(ask, patched(ask, {"fingerprint": fingerprint(ask)}))
    assert ask("GET", N1).json()["networkInterfaces"][1]["aliasIpRanges"] == [{"ipCidrRange": "10.0.0.9/32"}]
    done(ask, patched(ask, {"fingerprint": fingerprint(ask), "aliasIpRanges": []}))
    assert "aliasIpRanges" not in ask("GET", N1).json()["networkInterfaces"][1]


@pytest.mark.parametrize("taken", ["10.0.0.3", "10.0.0.3/32", "10.0.0.0/28"])
def test_a_range_in_use_ends_the_operation_in_an_error(ask: Ask, taken: str) -> None:
    body = {"aliasIpRanges": [{"ipCidrRange": taken}], "fingerprint": fingerprint(ask)}
    ended = done(ask, patched(ask, body))
    assert ended["error"]["errors"][0]["code"] == "IP_IN_USE_BY_ANOTHER_RESOURCE"
    assert "aliasIpRanges" not in ask("GET", N1).json()["networkInterfaces"][1]


@pytest.mark.parametrize(
    "alias",
    [
        {"ipCidrRange": "10.2.0.1/32"},
        {"ipCidrRange": "10.1.0.1/32"},  # in the secondary range, which is not named
        {"ipCidrRange": "10.0.0.9/32", "subnetworkRangeName": "vips"},
        {"ipCidrRange": "10.0.0.9/32", "subnetworkRangeName": "nobody"},
        {"ipCidrRange": "10.0.0.9/24"},
    ],
)
def test_a_range_outside_the_subnet_is_refused(ask: Ask, alias: dict[str, str]) -> None:
    assert reason(patched(ask, {"aliasIpRanges": [alias], "fingerprint": fingerprint(ask)})) == (400, "invalid")


def test_one_operation_at_a_time_on_an_instance(compute: Compute, ask: Ask) -> None:
    compute.seconds = 30.0
    assert patched(ask, {"fingerprint": fingerprint(ask), "aliasIpRanges": []}).status_code == 200
    assert reason(patched(ask, {"fingerprint": fingerprint(ask), "aliasIpRanges": []})) == (400, "resourceNotReady")


# --- routes ---------------------------------------------------------------------------------------------------------


def inserted(ask: Ask, **changed: Any) -> requests.Response:
    body = {name: value for name, value in {**ROUTE, **changed}.items() if value is not None}
    return ask("POST", "projects/shop-1/global/routes", body)


def test_a_route_takes_effect_when_its_operation_is_done(compute: Compute, ask: Ask) -> None:
    compute.seconds = 1000.0  # until the test ends it
    started = inserted(ask)
    assert compute.leads_to("192.0.2.1") == []
    compute.finish()
    done(ask, started)
    assert compute.leads_to("192.0.2.1") == ["n1"]


def test_a_route_cannot_be_changed_and_its_name_is_unique(ask: Ask) -> None:
    done(ask, inserted(ask))
    assert reason(inserted(ask, priority=800)) == (409, "alreadyExists")
    assert ask("PATCH", "projects/shop-1/global/routes/r1", ROUTE).status_code in {404, 501}


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"destRange": "10.0.0.100/32"}, 400),  # in a subnet
        ({"destRange": "10.1.0.100/32"}, 400),  # in a secondary range
        ({"destRange": "192.0.2.1/24"}, 400),
        ({"destRange": None}, 400),
        ({"network": None}, 400),
        ({"network": "projects/shop-1/global/networks/nowhere"}, 404),
        ({"priority": 65536}, 400),
        ({"nextHopInstance": None}, 400),
        ({"nextHopIp": "10.0.0.2"}, 400),  # two next hops
        ({"nextHopInstance": N1.replace("n1", "n9")}, 404),
    ],
)
def test_a_route_that_cannot_be_is_refused(ask: Ask, changed: dict[str, Any], status: int) -> None:
    assert inserted(ask, **changed).status_code == status


def test_two_routes_of_equal_priority_share_the_packets(compute: Compute, ask: Ask) -> None:
    done(ask, inserted(ask))
    done(ask, inserted(ask, name="r2", nextHopInstance=N1.replace("n1", "n2")))
    assert sorted(compute.leads_to("192.0.2.1")) == ["n1", "n2"]
    done(ask, inserted(ask, name="r3", priority=899))
    assert compute.leads_to("192.0.2.1") == ["n1"]


def test_deleting_a_route_that_is_not_there(ask: Ask) -> None:
    assert reason(ask("DELETE", "projects/shop-1/global/routes/r1")) == (404, "notFound")


def test_a_list_is_filtered_and_comes_in_pages(compute: Compute, ask: Ask) -> None:
    for number in range(5):
        compute.cloud.routes[f"r{number}"] = Route(f"r{number}", "vpc", f"192.0.2.{number}/32", 100, N1)
    compute.methods.page_size = 2
    path, some = "projects/shop-1/global/routes", '(destRange = "192.0.2.1/32") OR (destRange = "192.0.2.4/32")'
    assert [each["name"] for each in ask("GET", path, filter=some).json()["items"]] == ["r1", "r4"]
    assert "items" not in ask("GET", path, filter='destRange = "192.0.2.9/32"').json()
    first = ask("GET", path).json()
    assert len(first["items"]) == 2
    assert ask("GET", path, pageToken=first["nextPageToken"]).json()["items"][0]["name"] == "r2"
    assert reason(ask("GET", path, filter='destRange like "192"')) == (400, "invalid")
    assert reason(ask("GET", path, filter='colour = "blue"')) == (400, "invalid")


# --- external addresses ---------------------------------------------------------------------------------------------


def given_access(ask: Ask, machine: str, address: str) -> requests.Response:
    body = {"name": "External NAT", "type": "ONE_TO_ONE_NAT", "natIP": address}
    return ask("POST", f"{machine}/addAccessConfig", body, **NIC)


def test_an_external_address_is_on_one_interface_that_has_no_other(ask: Ask) -> None:
    done(ask, given_access(ask, N1, "203.0.113.7"))
    assert reason(given_access(ask, N1, "203.0.113.8")) == (400, "invalid")
    assert reason(given_access(ask, N1.replace("n1", "n2"), "203.0.113.7")) == (400, "externalIpAlreadyInUse")
    assert reason(given_access(ask, N1.replace("n1", "n2"), "203.0.113.99")) == (400, "invalid")
    users = ask("GET", "projects/shop-1/regions/europe-west1/addresses", filter='address = "203.0.113.7"').json()
    assert users["items"][0]["users"] == [f"https://www.googleapis.com/compute/v1/{N1}"]
    gone = ask("POST", f"{N1}/deleteAccessConfig", accessConfig="External NAT", **NIC)
    done(ask, gone)
    assert reason(ask("POST", f"{N1}/deleteAccessConfig", accessConfig="External NAT", **NIC)) == (400, "invalid")


# --- permissions, requests that are repeated, faults -----------------------------------------------------------------


def test_permissions_are_enforced_and_can_be_asked_for(compute: Compute, ask: Ask) -> None:
    compute.granted[WHO] = {"compute.routes.create", "compute.networks.updatePolicy"}
    assert reason(inserted(ask)) == (403, "forbidden")
    asked = {"permissions": ["compute.routes.create", "compute.instances.get"]}
    assert ask("POST", f"{N1}/testIamPermissions", asked).json() == {"permissions": ["compute.routes.create"]}
    compute.granted[WHO] = {*compute.granted[WHO], "compute.instances.use"}
    assert inserted(ask).status_code == 200


def test_a_request_id_is_carried_out_once(compute: Compute, ask: Ask) -> None:
    once = "0e7f3b1e-2a3c-4c58-9d7c-2f4b6a1d8e90"
    compute.faults.append(Fault("routes.insert", lost=True))
    with pytest.raises(requests.ConnectionError):
        ask("POST", "projects/shop-1/global/routes", ROUTE, requestId=once)
    assert "error" not in done(ask, ask("POST", "projects/shop-1/global/routes", ROUTE, requestId=once))
    assert reason(inserted(ask)) == (409, "alreadyExists")


def test_a_call_may_land_late(compute: Compute, ask: Ask) -> None:
    compute.faults.append(Fault("routes.insert", late=True))
    with ThreadPoolExecutor(1) as another:
        asked = another.submit(inserted, ask)
        end = time.monotonic() + LIVENESS
        while not compute.under_way:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert compute.leads_to("192.0.2.1") == []
        compute.land()
        assert compute.leads_to("192.0.2.1") == ["n1"]
        assert asked.result().status_code == 200
