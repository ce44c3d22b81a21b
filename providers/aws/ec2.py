"""What the AWS providers share: configuration keys, this node's network interface, and EC2 calls within the grant."""

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
from providers.cloud.mover import Mover, MovingOptions
from providers.cloud.refusal import Refusal

_log = logging.getLogger(__name__)

_THREADS: Final = 32  # calls at the same time; a thread starts when it is needed


class Ec2Options(AwsOptions, MovingOptions):
    """The configuration keys that all AWS providers have."""

    interface: InterfaceName | None = Field(
        default=None,
        description="Interface of this host that the VIPs lead to. Its MAC address identifies the network interface in "
        "EC2. Default: the interface on which the VIPs are bound, else the instance's primary one.",
    )
    read_timeout_seconds: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="Timeout for one answer of EC2, in seconds. A call never waits longer than the grant lasts.",
    )
    probe_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port that load balancers probe. `anyvip doctor` checks that a security group allows it.",
    )


class Ec2:
    """One provider's calls to EC2, and its knowledge of which network interface is this node's."""

    def __init__(self, options: Ec2Options, calls: Calls, *, interface: str | None) -> None:
        """Prepare the calls without any request. `interface` is this host's; None means the instance's primary one."""
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
        """Return this node's network interface, from the last answer if there is one. Raises ProviderError."""
        return self._nic or await self._ask_nic(until)

    async def warm(self, until: Deadline) -> None:
        """Ask for this node's network interface again, because it can be replaced at run time.

        Without an answer the known one is kept. Raises ProviderError when none is known.
        """
        try:
            await self._ask_nic(until)
        except ProviderError as error:
            if self._nic is None:
                raise
            _log.warning("asking for this node's network interface: %s", error)

    async def _ask_nic(self, until: Deadline) -> Nic:
        what = "ask which network interface this is"
        self._nic = await self.calls.run(what, lambda: nic(self._imds, self._interface), until=until)
        return self._nic

    async def interface(self, eni: str, until: Deadline, *, own: bool = False) -> Mapping[str, Any]:
        """Return EC2's description of a network interface. Raises CallRefused, ProviderError."""
        answer = await self.ask("describe_network_interfaces", until, own=own, NetworkInterfaceIds=[eni])
        found: list[Mapping[str, Any]] = answer["NetworkInterfaces"]
        if not found:
            raise ProviderError(f"EC2 does not know {eni}")
        return found[0]

    async def instance_type(self, until: Deadline) -> str:
        """Return this node's instance type, such as t4g.small. Raises ProviderError."""
        path = "/latest/meta-data/instance-type"
        return await self.calls.run("ask for the instance type", lambda: self._imds.text(path), until=until)

    async def ask(self, operation: str, until: Deadline, *, own: bool = False, **params: Any) -> Mapping[str, Any]:
        """Return the answer to an operation, named as in botocore (`describe_subnets`).

        Temporary errors are retried until `until`. `own` uses the instance's own credentials even if a role is
        configured. Raises CallRefused, ProviderError.
        """
        aws = self._own if own else self._aws
        return await self.calls.run(
            _describe_call(operation, params), lambda: self._ask(aws, operation, until, params), until=until
        )

    async def list(self, operation: str, key: str, until: Deadline, *, own: bool = False, **params: Any) -> list[Any]:
        """Return all items that a Describe operation has under `key`, from all of its pages."""
        found: list[Any] = []
        answer = await self.ask(operation, until, own=own, **params)
        found += answer[key]
        while token := answer.get("NextToken"):
            answer = await self.ask(operation, until, own=own, **params, NextToken=token)
            found += answer[key]
        return found

    def _ask(self, aws: Aws, operation: str, until: Deadline, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send one request. Runs in a thread of `calls`."""
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
    """Opens the movers of EC2."""

    @classmethod
    def make_calls(
        cls,
        options: Any,  # noqa: ARG003  (other clouds use them)
        group: str,
        vips: tuple[Vip, ...],  # noqa: ARG003  (likewise)
        clock: Callable[[], float],
    ) -> Calls:
        """Return the threads that a group's calls to EC2 run in, see `calls`."""
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
        """Return a mover, without any request yet. Raises ProviderError."""
        kind: Any = cls
        made: Mover = kind(Ec2(options, calls, interface=pick_interface(interfaces, options.interface)), vips, options)
        return made


def calls(group: str, clock: Callable[[], float]) -> Calls:
    """Return the threads that a group's calls to EC2 run in."""
    return Calls(f"aws-{group}", clock=clock, translate=_refusal, threads=_THREADS)


def code(refused: CallRefused) -> str:
    """Return EC2's code for the error, empty when EC2 did not answer."""
    return code_of(refused.error)


def pick_interface(interfaces: Iterable[str], given: str | None) -> str | None:
    """Return the interface of this host that EC2 knows by its MAC address, or None for the primary one.

    Raises ProviderError when the VIPs are on several interfaces.
    """
    if given is not None:
        return given
    found = sorted(set(interfaces) - {"lo"})
    if len(found) > 1:
        raise ProviderError(
            f"the VIPs are on {' and '.join(found)}: configure one provider for each, with its `interface`"
        )
    return found[0] if found else None


def _refusal(error: Exception) -> Refusal | None:
    return translate(error) if isinstance(error, ClientError | BotoCoreError) else None


def _describe_call(operation: str, params: Mapping[str, Any]) -> str:
    about = params.get("RouteTableId") or params.get("AllocationId") or params.get("NetworkInterfaceId")
    return f"{operation.replace('_', ' ')} {about}" if about else operation.replace("_", " ")
