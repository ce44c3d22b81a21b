"""Azure's SDK as this project uses it: who we are, which cloud, no retries of its own, and what its errors mean.

Imported only by plugins for Azure. The SDK's own retries are off: `providers.cloud.calls` retries within the grant.
"""

from __future__ import annotations

import logging
import time
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, Self
from urllib.parse import urlsplit

from azure.core import AzureClouds
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import (
    AzureAuthorityHosts,
    EnvironmentCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.mgmt.core.tools import get_arm_endpoints
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FilePath, model_validator

from providers.azure.tokens import Credential, Tokens
from providers.cloud.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.mgmt.network import NetworkManagementClient

# They tell each request and each token at INFO; what matters of that is said by us.
for _name in ("azure", "msal"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_CLOUDS: Final = {  # by the configuration's name: the SDK's name, and the host that signs in
    "public": (AzureClouds.AZURE_PUBLIC_CLOUD, AzureAuthorityHosts.AZURE_PUBLIC_CLOUD),
    "usgovernment": (AzureClouds.AZURE_US_GOVERNMENT, AzureAuthorityHosts.AZURE_GOVERNMENT),
    "china": (AzureClouds.AZURE_CHINA_CLOUD, AzureAuthorityHosts.AZURE_CHINA),
}
# 429 and 409 with these codes mean that the resource is being written, not that we ask too often.
BUSY: Final = frozenset({"RetryableErrorDueToAnotherOperation", "AnotherOperationInProgress"})
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})  # HTTP statuses of what may succeed in a moment


def _https(url: str) -> str:
    if urlsplit(url).scheme != "https" or not urlsplit(url).hostname:
        raise ValueError("an https:// URL: the SDK sends no token over anything else")
    return url.rstrip("/")


HttpsUrl = Annotated[str, AfterValidator(_https)]
Seconds = Annotated[float, Field(ge=0.1, le=60)]


class Cloud(StrEnum):
    """Azure's clouds that have endpoints of their own."""

    PUBLIC = "public"
    USGOVERNMENT = "usgovernment"
    CHINA = "china"


class Identity(StrEnum):
    """Where the node's credential comes from."""

    MANAGED = "managed"
    WORKLOAD = "workload"
    ENVIRONMENT = "environment"


class AzureOptions(BaseModel):
    """The keys that all plugins for Azure have: who we are there, which cloud, and how long a call may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cloud: Cloud = Field(default=Cloud.PUBLIC, strict=False, description="public, usgovernment or china.")
    identity: Identity = Field(
        default=Identity.MANAGED,
        strict=False,
        description="managed: the virtual machine's managed identity; workload: a federated token (AZURE_TENANT_ID, "
        "AZURE_FEDERATED_TOKEN_FILE); environment: a service principal (AZURE_CLIENT_ID, AZURE_TENANT_ID and "
        "AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH).",
    )
    client_id: str | None = Field(
        default=None,
        min_length=1,
        description="Client id of a user-assigned managed identity; default: the system-assigned one.",
    )
    authority: HttpsUrl | None = Field(
        default=None,
        description="Where to sign in, in a cloud that is none of those named above (not used by managed identities).",
    )
    ca_file: FilePath | None = Field(
        default=None,
        strict=False,
        description="PEM file of the authority that signed the endpoints' certificates; default: the public ones.",
    )
    connect_timeout_seconds: Seconds = Field(default=2.0, description="Time for a connection to Azure.")
    read_timeout_seconds: Seconds = Field(
        default=5.0, description="Time for an answer of Azure. Long operations answer at once and are asked for again."
    )

    @model_validator(mode="after")
    def _client(self) -> Self:
        if self.client_id and self.identity is Identity.ENVIRONMENT:
            raise ValueError("client_id comes from AZURE_CLIENT_ID with identity: environment")
        return self

    def connection(self) -> dict[str, Any]:
        """What every client of the SDK is made with: timeouts in seconds, no retries, whose certificates count."""
        return {
            "connection_timeout": self.connect_timeout_seconds,
            "read_timeout": self.read_timeout_seconds,
            "retry_total": 0,
            "connection_verify": str(self.ca_file) if self.ca_file else True,
        }


class ArmOptions(AzureOptions):
    """The keys of plugins that ask Azure Resource Manager."""

    subscription: str | None = Field(
        default=None, min_length=1, description="Subscription id; default: the virtual machine's own."
    )
    endpoint: HttpsUrl | None = Field(
        default=None, description="Azure Resource Manager's URL, where it is none of the cloud's own."
    )
    audience: HttpsUrl | None = Field(
        default=None, description="What tokens are asked for; default: the cloud's, or the given endpoint."
    )
    api_version: str | None = Field(
        default=None,
        pattern=r"^\d{4}-\d\d-\d\d$",
        description="Version of Microsoft.Network to speak, where a cloud does not know the SDK's yet.",
    )
    polling_seconds: Annotated[float, Field(ge=0.1, le=30)] = Field(
        default=0.5, description="Pause between questions after an operation under way, unless Azure asks for more."
    )

    @property
    def arm(self) -> str:
        """Azure Resource Manager's URL, without a slash at its end."""
        endpoints = get_arm_endpoints(_CLOUDS[self.cloud][0])
        return self.endpoint or str(endpoints["resource_manager"]).rstrip("/")

    @property
    def scope(self) -> str:
        """What a token for Azure Resource Manager is asked for."""
        if self.audience or self.endpoint:
            return f"{self.audience or self.endpoint}/.default"
        return str(get_arm_endpoints(_CLOUDS[self.cloud][0])["credential_scopes"][0])


def credential(options: AzureOptions) -> Tokens:
    """Who this node is. Asks nobody yet. Raises ValueError where the environment does not say what it must."""
    return Tokens(lambda: _credential(options))


def _credential(options: AzureOptions) -> Credential:
    if options.identity is Identity.MANAGED:
        # A proxy in the environment is for the internet: the metadata service answers to this machine only.
        plain = {**options.connection(), "connection_verify": True, "use_env_settings": False}
        return ManagedIdentityCredential(client_id=options.client_id, **plain)
    signing_in = {
        **options.connection(),
        "authority": options.authority or f"https://{_CLOUDS[options.cloud][1]}",
        "disable_instance_discovery": options.authority is not None,  # a cloud of one's own is not in Microsoft's list
    }
    if options.identity is Identity.WORKLOAD:
        return WorkloadIdentityCredential(client_id=options.client_id, **signing_in)
    return EnvironmentCredential(**signing_in)


def management_client(options: ArmOptions, subscription: str, who: Tokens) -> NetworkManagementClient:
    """The SDK's client for Microsoft.Network. Connects when first used."""
    from azure.mgmt.network import NetworkManagementClient  # noqa: PLC0415  (30 MB that a store on blobs does not need)

    return NetworkManagementClient(
        who,
        subscription,
        base_url=options.arm,
        credential_scopes=[options.scope],
        polling_interval=options.polling_seconds,
        **options.connection(),
    )


def translate(error: Exception) -> Refusal | None:
    """What an error of the SDK means; None for one that is not the SDK's."""
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return Refusal(f"no answer: {_line(error)}", retry=True)
    if isinstance(error, ClientAuthenticationError) and error.response is None:
        # An identity that is not there stays so; a metadata service that is busy does not.
        return Refusal(f"no token: {_line(error)}", retry="invalid_request" not in str(error))
    if isinstance(error, HttpResponseError):
        code = error_code(error)
        passing = error.status_code in _PASSING or code in BUSY
        said = f"{error.status_code} {code}: {_message(error)}" if code else f"{error.status_code}: {_line(error)}"
        headers: Mapping[str, str] = getattr(error.response, "headers", {})
        return Refusal(said, retry=passing, after=retry_after(headers))
    return None


def error_code(error: HttpResponseError) -> str:
    """ARM's word for what went wrong, as `AuthorizationFailed`; empty where it says none."""
    return str(error.error.code or "") if error.error else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks us to wait (RFC 9110, 10.2.3, and Azure's own headers in milliseconds)."""
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if headers.get(name, "").isdigit():
            return int(headers[name]) / 1000
    said = headers.get("Retry-After", "")
    if said.isdigit():
        return float(said)
    try:
        return max(parsedate_to_datetime(said).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def _message(error: HttpResponseError) -> str:
    return " ".join(str(error.error.message if error.error else error.message).split())


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
