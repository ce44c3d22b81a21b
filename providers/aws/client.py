"""AWS credentials and clients through botocore, with calls that end before a deadline.

The AWS providers and the stores on DynamoDB and S3 share this module. botocore picks the endpoint: `endpoint_url` if it
is set, else `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL`, the shared configuration file or the region's own.
`providers.aws.errors` says what botocore's errors mean.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, Self

from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import NoCredentialsError
from botocore.handlers import add_expect_header
from botocore.loaders import Loader, create_loader
from botocore.session import Session, get_session
from botocore.utils import InstanceMetadataRegionFetcher
from pydantic import BaseModel, ConfigDict, Field, model_validator

from providers.base import ProviderError, StaleGrant
from providers.cloud.deadline import Deadline

LEAST_SECONDS = 0.05  # a call is not sent with less time than this to read its answer

# At DEBUG botocore logs signing keys and the answers of STS; at INFO it logs every time where it found credentials.
logging.getLogger("botocore").setLevel(logging.WARNING)


class AwsOptions(BaseModel):
    """The configuration keys of everything that talks to AWS. Credentials always come from botocore's chain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: str | None = Field(
        default=None,
        min_length=1,
        description="AWS region. Default: AWS_DEFAULT_REGION, the shared configuration file, the metadata service.",
    )
    endpoint_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/]+",
        description="URL of the service. Default: AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL, the region's endpoint.",
    )
    use_fips: bool = Field(default=False, description="Use the region's FIPS 140 endpoints.")
    role_arn: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/\S+$",
        description="Role to assume, for example in the account that owns a shared VPC. The region's STS grants it.",
    )
    external_id: str | None = Field(
        default=None, min_length=2, max_length=1224, description="External id that the role's trust policy requires."
    )
    connect_timeout_seconds: float = Field(
        default=0.5, gt=0, le=60, description="Timeout for a connection to AWS without its TLS handshake, in seconds."
    )

    @model_validator(mode="after")
    def _role_for_external_id(self) -> Self:
        if self.external_id is not None and self.role_arn is None:
            raise ValueError("external_id needs role_arn")
        return self


class _Calling(threading.local):
    until: Deadline | None = None


_calling = _Calling()


@contextmanager
def leaving_before(until: Deadline) -> Iterator[None]:
    """Make this thread's AWS calls end before `until`. A call that cannot is not sent and raises StaleGrant."""
    before, _calling.until = _calling.until, until
    try:
        yield
    finally:
        _calling.until = before


class Aws:
    """The clients that share one set of credentials. Safe for use by several threads.

    A client is made on first use and kept. Clients never retry by themselves, and no call waits longer for an answer
    than the timeouts allow.
    """

    def __init__(
        self,
        options: AwsOptions,
        *,
        read_timeout: float,
        connections: int = 10,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepare the clients without any request.

        `read_timeout`: the longest wait for one answer, in seconds.
        `connections`: the number of connections that each client keeps open.
        `settings`: further arguments of botocore's `Config`, for services that have settings of their own.
        """
        self._options = options
        self._read_timeout = read_timeout
        self._config = Config(
            connect_timeout=options.connect_timeout_seconds,
            read_timeout=read_timeout,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=connections,
            tcp_keepalive=True,
            use_fips_endpoint=options.use_fips or None,
            user_agent_extra="anyvip",
            **(settings or {}),
        )
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return the client of a service (`ec2`, `dynamodb`). Raises BotoCoreError, see `errors.translate`."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    @property
    def region(self) -> str:
        """The region that calls go to. Raises BotoCoreError, and ProviderError when no source names a region."""
        with self._lock:
            return self._region(self._signed_in())

    def forget(self, refused: Any) -> None:
        """Drop the credentials of a client that AWS refused, unless another thread has already done so."""
        with self._lock:
            current = refused in self._clients.values()
        if current:
            self.close()

    def close(self) -> None:
        """Close the connections. A later call to `client` makes a new client."""
        with self._lock:
            clients, self._clients, self._session = self._clients, {}, None
        for client in clients.values():
            client.close()

    def _make(self, service: str) -> Any:
        session = self._signed_in()
        # Without this check botocore can make a client that stays without credentials forever.
        if session.get_credentials() is None:
            raise NoCredentialsError
        endpoint = self._options.endpoint_url
        return session.create_client(
            service,
            region_name=self._region(session),
            endpoint_url=endpoint,
            config=self._config,
        )

    def _signed_in(self) -> Session:
        if self._session is None:
            own = self._fresh_session()
            self._session = own if self._options.role_arn is None else self._assume(own, self._options.role_arn)
        return self._session

    def _fresh_session(self) -> Session:
        session = get_session()
        session.register_component("data_loader", _loader())
        session.set_config_variable("ec2_metadata_v1_disabled", True)
        session.set_config_variable("sts_regional_endpoints", "regional")
        session.register("before-send", self._about_to_leave)
        waiting: Any = add_expect_header  # its declared type is narrower than what `unregister` takes
        session.unregister("before-call.s3", waiting)  # "100 Continue" costs a round trip, and the objects are small
        return session

    def _assume(self, own: Session, role_arn: str) -> Session:
        source = own.get_credentials()
        if source is None:
            raise NoCredentialsError
        named = {"RoleSessionName": "anyvip"}
        if self._options.external_id is not None:
            named["ExternalId"] = self._options.external_id
        make = partial(own.create_client, region_name=self._region(own), config=self._config)
        fetcher = AssumeRoleCredentialFetcher(make, source, role_arn, extra_args=named)
        session = self._fresh_session()
        resolver = CredentialResolver([_Assumed(fetcher)])
        session.register_component("credential_provider", resolver)
        return session

    def _region(self, session: Session) -> str:
        found = self._options.region or session.get_config_variable("region") or self._region_here(session)
        if not found:
            raise ProviderError("no AWS region: set `region` or AWS_REGION; the metadata service does not name one")
        return str(found)

    def _region_here(self, session: Session) -> str | None:
        names = ("ec2_metadata_service_endpoint", "ec2_metadata_service_endpoint_mode", "ec2_metadata_v1_disabled")
        config = {name: session.get_config_variable(name) for name in names}
        fetcher = InstanceMetadataRegionFetcher(timeout=1, num_attempts=1, config=config)
        region: str | None = fetcher.retrieve_region()
        return region

    def _about_to_leave(self, **event: Any) -> None:
        """Shorten the request's timeout to the deadline. botocore calls this when a signed request is about to leave.

        Raises StaleGrant when too little time is left to send it.
        """
        until = _calling.until
        if until is None:
            return
        left = until.seconds()
        reading = left - self._options.connect_timeout_seconds
        if reading < LEAST_SECONDS:
            raise StaleGrant(f"{left:.3f} s are left, which is too short for a call to AWS")
        context = getattr(event["request"], "context", None)  # requests of older botocore versions have no context
        if context is not None:
            context["read_timeout"] = min(self._read_timeout, reading)


class _Assumed(CredentialProvider):
    """Credentials of an assumed role, fetched on first use and renewed before they expire."""

    METHOD = "assume-role"

    def __init__(self, fetcher: AssumeRoleCredentialFetcher) -> None:
        super().__init__()
        self._fetcher = fetcher

    def load(self) -> DeferredRefreshableCredentials:
        """Return the credentials, as botocore's interface asks for them."""
        return DeferredRefreshableCredentials(self._fetcher.fetch_credentials, self.METHOD)


@cache  # reading the model of EC2 takes a quarter of a second, and all sessions can share it
def _loader() -> Loader:
    return create_loader(get_session().get_config_variable("data_path"))
