"""moto as `terraform apply` needs it: ``python -m tests.lab.stores.moto_at_once HOST PORT``.

Resources that take AWS minutes are ready immediately. Descriptions of rules that name a group are kept, which moto
forgets. Elastic IPs are public addresses, while moto's are loopback addresses.
"""

from __future__ import annotations

import sys
from itertools import count
from typing import Any

from moto.ec2.models import elastic_ip_addresses
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.elbv2.models import ELBv2Backend

from tests.lab.stores import moto_server

_numbers = count(1)
_create_load_balancer = ELBv2Backend.create_load_balancer


def _active(backend: ELBv2Backend, *given: Any, **named: Any) -> Any:
    made = _create_load_balancer(backend, *given, **named)
    made.activate()
    return made


def _public_address() -> str:
    return f"203.0.113.{next(_numbers)}"


def _described(rule: SecurityGroupRule) -> str | None:
    return {**rule.source_group, **rule.ip_range}.get("Description")


if __name__ == "__main__":
    ELBv2Backend.create_load_balancer = _active
    elastic_ip_addresses.random_ip = _public_address
    SecurityGroupRule.description = property(_described)
    moto_server.main(*sys.argv[1:])
