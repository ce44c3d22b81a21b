"""Azure's SDK as this project uses it: the node's identity, the choice of cloud, and the meaning of errors.

Only plugins for Azure import this module. The SDK's own retries are off, because `providers.cloud.calls` retries within
the grant.
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

# At INFO these loggers report each request and each token. This project logs what matters of that.
for _name in ("azure", "msal"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_CLOUDS: Final = {  # by the configuration's name: the SDK's name, and the host that signs in
    "public": (AzureClouds.AZURE_PUBLIC_CLOUD, AzureAuthorityHosts.AZURE_PUBLIC_CLOUD),
    "usgovernment": (AzureClouds.AZURE_US_GOVERNMENT, AzureAuthorityHosts.AZURE_GOVERNMENT),
    "china": (AzureClouds.AZURE_CHINA_CLOUD, AzureAuthorityHosts.AZURE_CHINA),
}
# 429 and 409 with these codes mean that the resource is being written, not that there are too many requests.
BUSY: Final = frozenset({"RetryableErrorDueToAnotherOperation", "AnotherOperationInProgress"})
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})  # HTTP statuses after which a retry can succeed


def _https(url: str) -> str:
    if urlsplit(url).scheme != "https" or not urlsplit(url).hostname:
        raise ValueError("use an https:// URL: the SDK sends tokens over nothing else")
    return url.rstrip("/")


HttpsUrl = Annotated[str, AfterValidator(_https)]
Seconds = Annotated[float, Field(ge=0.1, le=60)]


class Cloud(StrEnum):
    """Azure's clouds that have endpoints of their own."""

    PUBLIC = "public"
    USGOVERNMENT = "usgovernment"
    CHINA = "china"


class CredentialSource(StrEnum):
    """The source of the node's credential."""

    MANAGED = "managed"
    WORKLOAD = "workload"
    ENVIRONMENT = "environment"


class AzureOptions(BaseModel):
    """The keys that all plugins for Azure have: identity, cloud and timeouts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cloud: Cloud = Field(default=Cloud.PUBLIC, strict=False, description="public, usgovernment or china.")
    identity: CredentialSource = Field(
        default=CredentialSource.MANAGED,
        strict=False,
        description="managed: the virtual machine's managed identity; workload: a federated token (AZURE_TENANT_ID, "
        "AZURE_FEDERATED_TOKEN_FILE); environment: a service principal (AZURE_CLIENT_ID, AZURE_TENANT_ID and "
        "AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH).",
    )
    client_id: str | None = Field(
        default=None,
        min_length=1,
        description="Client id of a user-assigned managed identity. Default: the system-assigned identity.",
    )
    authority: HttpsUrl | None = Field(
        default=None,
        description="Sign-in URL of a cloud that `cloud` does not name. Managed identities do not use it.",
    )
    ca_file: FilePath | None = Field(
        default=None,
        strict=False,
        description="PEM file of the authority that signed the endpoints' certificates. Default: the public ones.",
    )
    connect_timeout_seconds: Seconds = Field(default=2.0, description="Timeout for a connection to Azure, in seconds.")
    read_timeout_seconds: Seconds = Field(
        default=5.0,
        description="Timeout for an answer of Azure, in seconds. Long operations answer immediately and are polled.",
    )

    @model_validator(mode="after")
    def _client(self) -> Self:
        if self.client_id and self.identity is CredentialSource.ENVIRONMENT:
            raise ValueError("with identity: environment, set AZURE_CLIENT_ID instead of client_id")
        return self

    def connection(self) -> dict[str, Any]:
        """Return the arguments for every client of the SDK: timeouts in seconds, no retries, trusted certificates."""
        return {
            "connection_timeout": self.connect_timeout_seconds,
            "read_timeout": self.read_timeout_seconds,
            "retry_total": 0,
            "connection_verify": str(self.ca_file) if self.ca_file else True,
        }


class ArmOptions(AzureOptions):
    """The keys of plugins that call Azure Resource Manager."""

    subscription: str | None = Field(
        default=None, min_length=1, description="Subscription id. Default: the virtual machine's subscription."
    )
    endpoint: HttpsUrl | None = Field(
        default=None, description="Azure Resource Manager's URL. Default: that of the cloud."
    )
    audience: HttpsUrl | None = Field(
        default=None, description="Audience of the tokens. Default: `endpoint` if it is set, else that of the cloud."
    )
    api_version: str | None = Field(
        default=None,
        pattern=r"^\d{4}-\d\d-\d\d$",
        description="API version of Microsoft.Network, for a cloud that does not know the SDK's version yet.",
    )
    polling_seconds: Annotated[float, Field(ge=0.1, le=30)] = Field(
        default=0.5, description="Longest pause between two polls of a running operation, in seconds."
    )

    @property
    def arm(self) -> str:
        """Azure Resource Manager's URL, without a trailing slash."""
        endpoints = get_arm_endpoints(_CLOUDS[self.cloud][0])
        return self.endpoint or str(endpoints["resource_manager"]).rstrip("/")

    @property
    def scope(self) -> str:
        """The scope of tokens for Azure Resource Manager."""
        if self.audience or self.endpoint:
            return f"{self.audience or self.endpoint}/.default"
        return str(get_arm_endpoints(_CLOUDS[self.cloud][0])["credential_scopes"][0])


def credential(options: AzureOptions) -> Tokens:
    """Return this node's credential, without any request yet. Raises ValueError when the environment is incomplete."""
    return Tokens(lambda: _credential(options))


def _credential(options: AzureOptions) -> Credential:
    if options.identity is CredentialSource.MANAGED:
        # A proxy in the environment is for the internet, but the metadata service answers this machine only.
        plain = {**options.connection(), "connection_verify": True, "use_env_settings": False}
        return ManagedIdentityCredential(client_id=options.client_id, **plain)
    signing_in = {
        **options.connection(),
        "authority": options.authority or f"https://{_CLOUDS[options.cloud][1]}",
        "disable_instance_discovery": options.authority is not None,  # Microsoft's list lacks private clouds
    }
    if options.identity is CredentialSource.WORKLOAD:
        return WorkloadIdentityCredential(client_id=options.client_id, **signing_in)
    return EnvironmentCredential(**signing_in)


def management_client(options: ArmOptions, subscription: str, who: Tokens) -> NetworkManagementClient:
    """Return the SDK's client for Microsoft.Network, which connects on first use."""
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
    """Translate an error of the SDK. Returns None for any other error."""
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return Refusal(f"no answer: {_line(error)}", retry=True)
    if isinstance(error, ClientAuthenticationError) and error.response is None:
        # A retry helps when the metadata service is busy, but not when the identity is missing.
        return Refusal(f"no token: {_line(error)}", retry="invalid_request" not in str(error))
    if isinstance(error, HttpResponseError):
        code = error_code(error)
        passing = error.status_code in _PASSING or code in BUSY
        said = f"{error.status_code} {code}: {_message(error)}" if code else f"{error.status_code}: {_line(error)}"
        headers: Mapping[str, str] = getattr(error.response, "headers", {})
        return Refusal(said, retry=passing, after=retry_after(headers))
    return None


def error_code(error: HttpResponseError) -> str:
    """Return ARM's code for the error, such as `AuthorizationFailed`, or an empty string without one."""
    return str(error.error.code or "") if error.error else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the server asks to wait, or None.

    Reads Retry-After (RFC 9110, 10.2.3) and Azure's own headers in milliseconds.
    """
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
