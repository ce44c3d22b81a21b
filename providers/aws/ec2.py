"""What the AWS providers share: their configuration keys, our network interface, and EC2 asked within the grant."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import Field

from providers.aws.client import Aws, AwsOptions, leaving_before
from providers.aws.errors import EXPIRED, code_of, translate
from providers.aws.identity import Imds, Nic, nic
from providers.baremetal.provider import InterfaceName
from providers.base import ProviderError, Vip
from providers.cloud.calls import CallRefused, Calls
from providers.cloud.deadline import Deadline
from providers.cloud.mechanism import Mechanism
from providers.cloud.moving import Mover, MovingOptions
from providers.cloud.refusal import Refusal

_log = logging.getLogger(__name__)

_THREADS: Final = 32  # calls at once; a thread begins when it is needed


class Ec2Options(AwsOptions, MovingOptions):
    """The configuration keys that all providers of AWS have."""

    interface: InterfaceName | None = Field(
        default=None,
        description="Interface of this host that the VIPs lead to; its MAC address names the network interface in EC2. "
        "Default: where the VIPs are bound, else the instance's primary one.",
    )
    read_timeout_seconds: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="Longest that one answer of EC2 may take, in seconds; never longer than what is left of the grant.",
    )
    probe_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port that load balancers probe: `anyvip doctor` looks whether a security group lets anybody in.",
    )


class Ec2:
    """EC2, asked by one provider; and which network interface is ours. `own`: never by an assumed role."""

    def __init__(self, options: Ec2Options, calls: Calls, *, interface: str | None) -> None:
        """`interface`: of this host; None: the instance's primary one."""
        self.calls = calls
        self._interface = interface
        self._imds = Imds()
        self._nic: Nic | None = None
        self._aws = Aws(options, read_timeout=options.read_timeout_seconds, connections=_THREADS)
        self._own = self._aws
        if options.role_arn is not None:
            plain = options.model_copy(update={"role_arn": None, "external_id": None})
            self._own = Aws(plain, read_timeout=options.read_timeout_seconds)

    def close(self) -> None:
        """Close the connections."""
        self._aws.close()
        self._own.close()

    async def nic(self, until: Deadline) -> Nic:
        """Our network interface, as it was last asked for. Raises ProviderError."""
        return self._nic or await self._ask_nic(until)

    async def warm(self, until: Deadline) -> None:
        """Ask again who we are: the interface may be another by now. What was known stays, if nobody answers."""
        try:
            await self._ask_nic(until)
        except ProviderError as error:
            if self._nic is None:
                raise
            _log.warning("asking who we are: %s", error)

    async def _ask_nic(self, until: Deadline) -> Nic:
        what = "ask which network interface this is"
        self._nic = await self.calls.run(what, lambda: nic(self._imds, self._interface), until=until)
        return self._nic

    async def interface(self, eni: str, until: Deadline, *, own: bool = False) -> Mapping[str, Any]:
        """What EC2 says of a network interface. Raises CallRefused, ProviderError."""
        answer = await self.ask("describe_network_interfaces", until, own=own, NetworkInterfaceIds=[eni])
        found: list[Mapping[str, Any]] = answer["NetworkInterfaces"]
        if not found:
            raise ProviderError(f"EC2 describes no {eni}")
        return found[0]

    async def instance_type(self, until: Deadline) -> str:
        """Ours, such as t4g.small. Raises ProviderError."""
        path = "/latest/meta-data/instance-type"
        return await self.calls.run("ask for the instance type", lambda: self._imds.text(path), until=until)

    async def ask(self, operation: str, until: Deadline, *, own: bool = False, **params: Any) -> Mapping[str, Any]:
        """The answer to one operation, by its name in Python (`describe_subnets`). Raises CallRefused, ProviderError.

        What may pass is tried again until then. `own`: by the instance's credentials, whatever role is configured.
        """
        aws = self._own if own else self._aws
        return await self.calls.run(
            _said(operation, params), lambda: self._asked(aws, operation, until, params), until=until
        )

    async def list(self, operation: str, key: str, until: Deadline, *, own: bool = False, **params: Any) -> list[Any]:
        """All that a Describe operation has under `key`, page by page."""
        found: list[Any] = []
        answer = await self.ask(operation, until, own=own, **params)
        found += answer[key]
        while token := answer.get("NextToken"):
            answer = await self.ask(operation, until, own=own, **params, NextToken=token)
            found += answer[key]
        return found

    def _asked(self, aws: Aws, operation: str, until: Deadline, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """In a thread: one request."""
        with leaving_before(until):
            client = aws.client("ec2")
            try:
                answer: Mapping[str, Any] = getattr(client, operation)(**params)
            except ClientError as error:
                if code_of(error) in EXPIRED:
                    aws.forget(client)
                raise
            return answer


class Ec2Mechanism(Mechanism):
    """How a mover of EC2 is opened."""

    @classmethod
    def make_calls(
        cls,
        options: Any,  # noqa: ARG003  (those of other clouds count)
        group: str,
        vips: tuple[Vip, ...],  # noqa: ARG003  (likewise)
        clock: Callable[[], float],
    ) -> Calls:
        """See `calls`."""
        return calls(group, clock)

    @classmethod
    def make_mover(
        cls,
        options: Any,
        *,
        group: str,  # noqa: ARG003  (EC2 knows no groups)
        vips: tuple[Vip, ...],
        calls: Calls,
        interfaces: frozenset[str],
    ) -> Mover:
        """Asks nobody yet. Raises ProviderError."""
        kind: Any = cls
        made: Mover = kind(Ec2(options, calls, interface=wire(interfaces, options.interface)), vips, options)
        return made


def calls(group: str, clock: Callable[[], float]) -> Calls:
    """The threads that a group's calls to EC2 are made in."""
    return Calls(f"aws-{group}", clock=clock, translate=_refusal, threads=_THREADS)


def code(refused: CallRefused) -> str:
    """EC2's own name of the error; empty where it did not answer."""
    return code_of(refused.error)


def wire(interfaces: Iterable[str], given: str | None) -> str | None:
    """The interface of this host that EC2 knows by its MAC; None: the primary one. Raises ProviderError."""
    if given is not None:
        return given
    found = sorted(set(interfaces) - {"lo"})
    if len(found) > 1:
        raise ProviderError(f"the VIPs are on {' and '.join(found)}: one provider for each, with its `interface`")
    return found[0] if found else None


def _refusal(error: Exception) -> Refusal | None:
    return translate(error) if isinstance(error, ClientError | BotoCoreError) else None


def _said(operation: str, params: Mapping[str, Any]) -> str:
    about = params.get("RouteTableId") or params.get("AllocationId") or params.get("NetworkInterfaceId")
    return f"{operation.replace('_', ' ')} {about}" if about else operation.replace("_", " ")
