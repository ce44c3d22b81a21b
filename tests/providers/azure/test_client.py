"""The SDK's setup with the real SDK and real HTTP: clouds, identities, no retries, and the meaning of errors."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import AzureError
from pydantic import ValidationError

from providers.azure.client import ArmOptions, credential, management_client, retry_after, translate
from providers.cloud.refusal import Refusal
from tests.lab.azure.metadata import Metadata, token
from tests.lab.azure.world import SUBSCRIPTION
from tests.lab.http.rest import Answer, Dropped, Request, RestServer
from tests.providers.azure.conftest import USER_ASSIGNED, Tls


class Scripted:
    """A server that gives prepared answers and keeps the requests."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.answers: list[Answer | None] = []

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if answer is None:
            raise Dropped
        return answer


@pytest.fixture
def scripted(tls: Tls) -> Iterator[tuple[Scripted, dict[str, Any]]]:
    fake = Scripted()
    with RestServer(fake.answer, tls=tls.server) as server:
        yield fake, {"endpoint": server.url, "ca_file": tls.ca_file}


def options(**keys: Any) -> ArmOptions:
    """Return options as the configuration makes them: from JSON, strictly."""
    return ArmOptions.model_validate_json(json.dumps(keys), strict=True)


@contextmanager
def refused() -> Iterator[list[Refusal]]:
    found: list[Refusal] = []
    with pytest.raises(AzureError) as raised:
        yield found
    refusal = translate(raised.value)
    assert refusal is not None
    found.append(refusal)


def get_route(chosen: ArmOptions) -> Any:
    with closing(credential(chosen)) as who, management_client(chosen, SUBSCRIPTION, who) as client:
        return client.routes.get("rg", "table", "route")


ERROR = {"error": {"code": "AuthorizationFailed", "message": "The client does not\nhave authorization"}}


# --- clouds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cloud", "arm", "scope"),
    [
        ("public", "https://management.azure.com", "https://management.azure.com/.default"),
        (
            "usgovernment",
            "https://management.usgovcloudapi.net",
            "https://management.core.usgovcloudapi.net/.default",
        ),
        ("china", "https://management.chinacloudapi.cn", "https://management.chinacloudapi.cn/.default"),
    ],
)
def test_each_cloud_has_its_endpoint_and_its_audience(cloud: str, arm: str, scope: str) -> None:
    chosen = options(cloud=cloud)
    assert (chosen.arm, chosen.scope) == (arm, scope)


def test_a_cloud_of_ones_own_is_its_own_audience_unless_it_says_another() -> None:
    assert options(endpoint="https://arm.local/").scope == "https://arm.local/.default"
    assert options(endpoint="https://arm.local", audience="https://aud.local").scope == "https://aud.local/.default"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"endpoint": "http://arm.local"}, "https"),
        ({"cloud": "germany"}, "cloud"),
        ({"identity": "environment", "client_id": "x"}, "AZURE_CLIENT_ID"),
        ({"read_timeout_seconds": 0}, "read_timeout_seconds"),
        ({"api_version": "latest"}, "api_version"),
        ({"subscripton": "x"}, "subscripton"),
    ],
)
def test_what_cannot_be_meant_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        options(**keys)


# --- identities --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "who"), [(None, "system"), (USER_ASSIGNED, USER_ASSIGNED)])
def test_a_managed_identity_gets_a_token_for_the_audience(
    scripted: tuple[Scripted, dict[str, Any]], metadata: Metadata, client: str | None, who: str
) -> None:
    fake, where = scripted
    fake.answers = [Answer(200, {"name": "route"})]
    get_route(options(**where, client_id=client))
    assert fake.asked[0].headers["authorization"] == f"Bearer {token(who, where['endpoint'])}"


def test_an_identity_that_is_not_assigned_is_not_asked_for_again(
    scripted: tuple[Scripted, dict[str, Any]], metadata: Metadata
) -> None:
    with refused() as found:
        get_route(options(**scripted[1], client_id="bbbbbbbb-0000-0000-0000-000000000009"))
    assert not found[0].retry
    assert "Identity not found" in found[0].message
    assert len(metadata.requests) == 1


def test_a_metadata_service_that_fails_may_be_asked_again_but_not_by_the_sdk(
    scripted: tuple[Scripted, dict[str, Any]], metadata: Metadata
) -> None:
    metadata.failing = [500]
    with refused() as found:
        get_route(options(**scripted[1]))
    assert found[0].retry
    assert len(metadata.requests) == 1


def test_a_proxy_in_the_environment_is_not_asked_for_tokens(
    scripted: tuple[Scripted, dict[str, Any]], metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    scripted[0].answers = [Answer(200, {"name": "route"})]
    get_route(options(**scripted[1]))
    assert metadata.requests


@pytest.mark.parametrize("identity", ["workload", "environment"])
def test_other_identities_sign_in_where_they_are_told_to(
    tls: Tls, identity: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "token").write_text("federated")
    monkeypatch.setenv("AZURE_TENANT_ID", "tenant")
    monkeypatch.setenv("AZURE_CLIENT_ID", "client")
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "secret")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    asked: list[Request] = []

    def sign_in(request: Request) -> Answer:
        asked.append(request)
        base = f"https://{request.headers['host']}/tenant"
        if request.path.endswith("openid-configuration"):
            oauth = f"{base}/oauth2/v2.0"
            return Answer(
                200,
                {
                    "authorization_endpoint": f"{oauth}/authorize",
                    "token_endpoint": f"{oauth}/token",
                    "issuer": base,
                },
            )
        return Answer(200, {"token_type": "Bearer", "expires_in": 3600, "access_token": "signed"})

    with RestServer(sign_in, tls=tls.server) as server:
        chosen = options(identity=identity, authority=server.url, ca_file=tls.ca_file)
        with closing(credential(chosen)) as who:
            assert who.get_token(chosen.scope).token == "signed"
    assert "scope=https%3A%2F%2Fmanagement.azure.com%2F.default" in asked[-1].body.decode()


def test_an_environment_that_says_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="tenant_id"):
        credential(options(identity="workload"))


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "retry", "after", "said"),
    [
        (Answer(429, None, {"Retry-After": "2"}), True, 2.0, "429"),
        (Answer(429, {"error": {"code": "RetryableErrorDueToAnotherOperation", "message": "m"}}), True, None, "Retry"),
        (Answer(409, {"error": {"code": "AnotherOperationInProgress", "message": "m"}}), True, None, "Another"),
        (Answer(409, {"error": {"code": "Conflict", "message": "m"}}), False, None, "Conflict"),
        (Answer(503, b"<html>", {"x-ms-retry-after-ms": "1500"}), True, 1.5, "503"),
        (Answer(403, ERROR), False, None, "AuthorizationFailed: The client does not have authorization"),
        (Answer(412, {"error": {"code": "PreconditionFailed", "message": "m"}}), False, None, "Precondition"),
        (Answer(404, {"error": {"code": "NotFound", "message": "m"}}), False, None, "NotFound"),
        (None, True, None, "no answer"),
    ],
)
def test_what_azure_answers_is_said_and_asked_once(
    scripted: tuple[Scripted, dict[str, Any]],
    metadata: Metadata,
    *,
    answer: Answer | None,
    retry: bool,
    after: float | None,
    said: str,
) -> None:
    fake, where = scripted
    fake.answers = [answer]
    with refused() as found:
        get_route(options(**where))
    assert (found[0].retry, found[0].after) == (retry, after)
    assert said in found[0].message
    assert "\n" not in found[0].message
    assert len(fake.asked) == 1, "the SDK retries nothing"


def test_a_certificate_that_nobody_vouches_for_is_refused(
    scripted: tuple[Scripted, dict[str, Any]], metadata: Metadata
) -> None:
    with refused() as found:
        get_route(options(endpoint=scripted[1]["endpoint"]))
    assert "certificate" in found[0].message.lower()
    assert scripted[0].asked == []


def test_a_date_to_wait_for_is_understood_and_nonsense_is_not() -> None:
    assert 3000 < (retry_after({"Retry-After": formatdate(time.time() + 3600, usegmt=True)}) or 0) <= 3600
    assert retry_after({"Retry-After": formatdate(time.time() - 10, usegmt=True)}) == 0
    assert retry_after({"Retry-After": "soon"}) is None
    assert retry_after({}) is None


def test_an_error_of_somebody_else_is_not_translated() -> None:
    assert translate(ValueError("x")) is None


def test_a_daemon_that_is_not_configured_for_azure_does_not_load_its_sdk() -> None:
    loads = "import sys, controller.cli.main, controller.daemon.daemon, providers.auto.choice, providers.baremetal.provider; print(*sys.modules)"
    root = Path(__file__).parents[3]
    ran = subprocess.run([sys.executable, "-c", loads], cwd=root, capture_output=True, text=True, check=True)
    assert {name for name in ran.stdout.split() if name.split(".")[0] in {"azure", "msal", "requests"}} == set()
