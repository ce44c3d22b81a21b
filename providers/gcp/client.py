"""Access to Google Cloud: this node's identity, an authorized HTTP session, and the meaning of errors.

Only plugins for Google Cloud import this module. It costs some 25 MB. google-cloud-compute, which costs over 100 MB and
seconds, is imported by the providers that need it (`providers.gcp.compute`), not here.
"""

from __future__ import annotations

import json
import threading
import time
from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Any, Final

import requests
from google.auth import credentials as auth
from google.auth import jwt
from google.auth.crypt import RSASigner
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from google.auth.transport.requests import AuthorizedSession
from pydantic import BaseModel, ConfigDict, Field, FilePath

from providers.cloud.metadata_service import MetadataError, gcp_endpoint
from providers.cloud.refusal import Refusal
from providers.gcp.metadata import Metadata, WrongAnswer

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_PASSING_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})  # HTTP statuses after which a retry can succeed
# 403 means both "forbidden" and "too often"; a resource that another caller is changing is free again in a moment.
_PASSING_REASONS: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "resourceNotReady"})
_TOKEN_SECONDS: Final = 3600
_CONNECTIONS: Final = 32  # kept open; there can be one call per route at a time

HttpUrl = Annotated[str, Field(pattern=r"^https?://[^/?#]+$")]


class GcpOptions(BaseModel):
    """The keys that all plugins for Google Cloud share: this node's identity there, and the timeouts of calls."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    credentials_file: FilePath | None = Field(
        default=None,
        strict=False,
        description="JSON key file of a service account. Default: the virtual machine's service account.",
    )
    metadata_endpoint: HttpUrl | None = Field(
        default=None, description="The metadata server. Default: GCE_METADATA_HOST, else its link-local address."
    )
    call_timeout_seconds: float = Field(
        default=5.0, ge=0.1, le=60, description="Time for an answer of the API, and for a connection to it."
    )
    metadata_timeout_seconds: float = Field(
        default=1.0, ge=0.1, le=10, description="Time for an answer of the metadata server, which is on the host."
    )

    def metadata(self) -> Metadata:
        """Return the metadata server as configured."""
        return Metadata(self.metadata_endpoint or gcp_endpoint(), self.metadata_timeout_seconds)


class ComputeOptions(GcpOptions):
    """The keys of providers that call Compute Engine: which virtual machine this is, and where the API is."""

    project: str | None = Field(default=None, min_length=1, description="Project id. Default: the virtual machine's.")
    zone: str | None = Field(default=None, min_length=1, description="Zone. Default: the virtual machine's.")
    instance: str | None = Field(default=None, min_length=1, description="Its name. Default: by the metadata server.")
    nic: str | None = Field(
        default=None,
        pattern=r"^nic\d+(\.\d+)?$",
        description="The network interface's name in Compute Engine. Default: the one with the MAC address of the "
        "interface that the VIPs are bound to, else nic0.",
    )
    endpoint: HttpUrl = Field(default="https://compute.googleapis.com", description="Compute Engine's API.")
    resource_manager_endpoint: HttpUrl = Field(
        default="https://cloudresourcemanager.googleapis.com",
        description="Cloud Resource Manager's API, which `doctor` asks for the service account's permissions.",
    )


class _Credentials(auth.Credentials):
    """Credentials whose token is fetched once, by the first of several threads that needs one.

    google-auth's own classes retry with pauses that no deadline cuts short, and look up other things on the internet.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # google-auth is typed in part
        self._fetching = threading.Lock()
        # A token that is still valid is renewed in the background, so that no call waits for it.
        self.with_non_blocking_refresh()  # type: ignore[no-untyped-call]

    def refresh(self, request: Any) -> None:  # noqa: ARG002  (google-auth's signature)
        """Fetch a token. Raises google.auth.exceptions.RefreshError."""
        before = self.token
        with self._fetching:
            if self.token == before:
                self.token, seconds = self._fetch()
                # Without a zone, as google-auth has it.
                self.expiry = (datetime.now(UTC) + timedelta(seconds=seconds)).replace(tzinfo=None)

    @abstractmethod
    def _fetch(self) -> tuple[str, float]:
        """Fetch a token. Return it and the number of seconds for which it is valid."""


class MetadataCredentials(_Credentials):
    """The tokens of the virtual machine's service account, from its metadata server."""

    def __init__(self, metadata: Metadata) -> None:
        super().__init__()
        self._metadata = metadata

    def _fetch(self) -> tuple[str, float]:
        try:
            told = self._metadata.json("instance/service-accounts/default/token", {"scopes": SCOPE})
            return str(told["access_token"]), float(told["expires_in"])
        except MetadataError as error:
            raise RefreshError(f"no token: {error}", retryable=not isinstance(error, WrongAnswer)) from error
        except (KeyError, TypeError, ValueError) as error:
            raise RefreshError("no token: the metadata server's answer does not hold one", retryable=False) from error


class KeyFileCredentials(_Credentials):
    """Tokens that are signed here with a service account's key, without a call to any server (Google: AIP-4111)."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError when the file is not a service account's key."""
        super().__init__()
        try:
            told = json.loads(path.read_bytes())
            self._signer = RSASigner.from_service_account_info(told)
            self._email = str(told["client_email"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not the key file of a service account: {error}") from error

    def _fetch(self) -> tuple[str, float]:
        now = int(time.time())
        claims = {"iss": self._email, "sub": self._email, "iat": now, "exp": now + _TOKEN_SECONDS, "scope": SCOPE}
        return jwt.encode(self._signer, claims).decode(), _TOKEN_SECONDS


def credentials(options: GcpOptions) -> auth.Credentials:
    """Return this node's credentials as configured, without a call. Raises ValueError when the file holds no key."""
    if options.credentials_file is None:
        return MetadataCredentials(options.metadata())
    return KeyFileCredentials(options.credentials_file)


def session(who: auth.Credentials) -> AuthorizedSession:
    """Make an HTTP session with this identity, for requests that no SDK can make.

    It connects when first used, and does not retry.
    """
    made = AuthorizedSession(who)
    for scheme in ("https://", "http://"):
        made.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=0))
    return made


# --- what errors mean ---------------------------------------------------------------------------------------------


def translate(error: Exception) -> Refusal | None:
    """Return what an error of the HTTP client or of google-auth means, or None for any other error."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return to_refusal(error.response)
    if isinstance(error, requests.RequestException | TransportError):
        return Refusal(f"no answer: {line(error)}", retry=True)
    if isinstance(error, GoogleAuthError):
        return Refusal(line(error), retry=error.retryable)
    return None


def to_refusal(response: requests.Response) -> Refusal:
    """Return what an answer with an error status means."""
    message, reasons = _told(response)
    why = ", ".join(sorted(reasons)) or response.reason
    passing = response.status_code in _PASSING_STATUSES or bool(_PASSING_REASONS & reasons)
    after = retry_after(response.headers) if passing else None
    return Refusal(f"{response.status_code} {why}: {message}", retry=passing, after=after)


def _told(response: requests.Response) -> tuple[str, frozenset[str]]:
    """Return Google's message and its reasons (Google: "JSON error responses")."""
    try:
        error = response.json()["error"]
        reasons = frozenset(str(each.get("reason", "")) for each in error.get("errors", ()))
        return " ".join(str(error.get("message", "")).split()), reasons - {""}
    except (ValueError, KeyError, TypeError, AttributeError):  # a proxy's page
        return " ".join(response.text[:200].split()), frozenset()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks us to wait (RFC 9110, 10.2.3), or None when it does not."""
    said = headers.get("Retry-After", "")
    if said.isdigit():
        return float(said)
    try:
        return max(parsedate_to_datetime(said).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def line(error: BaseException) -> str:
    """Return an error's text as one line."""
    return " ".join(str(error).split())
