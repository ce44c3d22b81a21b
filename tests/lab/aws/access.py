"""IAM for the fake: access keys, roles, and policy documents that allow or deny a request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.lab.aws.query import Refused

Policy = Mapping[str, Any]
ADMIN: Policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
_SCOPE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/\d{8}/([\w-]+)/(\w+)/aws4_request, SignedHeaders=\S+, Signature=\w{64}"
)


@dataclass
class Key:
    """An access key with its policies and its session token."""

    policy: Policy = field(default_factory=lambda: ADMIN)
    token: str | None = None
    expired: bool = False


@dataclass(frozen=True)
class Role:
    """A role: the access keys that can assume it, the external id that they need, and its policies."""

    arn: str
    trusted: frozenset[str]
    external_id: str | None
    policy: Policy


@dataclass
class Access:
    keys: dict[str, Key] = field(default_factory=lambda: {"AKIAEXAMPLE": Key()})
    roles: dict[str, Role] = field(default_factory=dict)
    region: str = "eu-central-1"

    def authenticate(self, headers: Mapping[str, str]) -> tuple[str, str]:
        """Return the access key and the service of a signed request. Raises Refused."""
        found = _SCOPE.fullmatch(headers.get("authorization", ""))
        if found is None:
            raise Refused("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        name, region, service = found.groups()
        key = self.keys.get(name)
        if key is None or key.token != headers.get("x-amz-security-token"):
            raise Refused("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
        if key.expired:
            raise Refused("RequestExpired", "Request has expired.")
        if region != self.region:
            raise Refused("SignatureDoesNotMatch", f"Credential should be scoped to a valid region, not {region}", 403)
        return name, service

    def authorize(self, key: str, action: str, resources: Iterable[str]) -> None:
        """Raise Refused with EC2's words if the key's policies do not allow the action."""
        for resource in resources:
            if not allowed(self.keys[key].policy, action, resource):
                message = (
                    "You are not authorized to perform this operation. Encoded authorization failure message: "
                    + "x" * 900
                )
                raise Refused("UnauthorizedOperation", message, 403)


def allowed(policy: Policy, action: str, resource: str) -> bool:
    """Report whether the policy allows an action. Conditions are not supported, so they are refused."""
    effects = set()
    for statement in policy["Statement"]:
        assert statement.keys() <= {"Sid", "Effect", "Action", "Resource"}, statement
        if _any(statement["Action"], action) and _any(statement["Resource"], resource):
            effects.add(statement["Effect"])
    return effects == {"Allow"}


def without(policy: Policy, action: str) -> Policy:
    """Return the policy without one action. Fails if the policy does not have the action."""
    assert any(action in statement["Action"] for statement in policy["Statement"]), action
    statements = [{**each, "Action": [a for a in each["Action"] if a != action]} for each in policy["Statement"]]
    return {**policy, "Statement": statements}


def _any(patterns: str | list[str], value: str) -> bool:
    return any(fnmatchcase(value, each) for each in ([patterns] if isinstance(patterns, str) else patterns))
