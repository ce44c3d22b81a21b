"""Which keys of the configuration are compared between nodes."""

from __future__ import annotations

from controller.config.facts import list_facts
from controller.config.loading import from_bytes

TEXT = """
cluster: shop
node: {node}
store: {{type: file, path: /nowhere}}
groups:
  web:
    vips: [10.77.0.101/24, 10.77.0.100/24]
    priority: {priority}
    providers: [{{type: load_balancer}}]
    checks: {{up: {{type: tcp, target: "127.0.0.1:80"}}, app: {{type: tcp, target: "127.0.0.1:81"}}}}
    hooks: {{promote: [/usr/bin/true]}}
"""


def test_they_are_the_same_whatever_a_node_has_for_itself() -> None:
    one, two = (from_bytes(TEXT.format(node=n, priority=p).encode(), "f") for n, p in (("n1", 100), ("n2", 50)))
    assert list_facts(one) == list_facts(two)


def test_they_name_checks_and_hooks_and_sort_what_has_no_order() -> None:
    facts = list_facts(from_bytes(TEXT.format(node="n1", priority=1).encode(), "f"))
    assert facts["web"] == {
        "vips": "10.77.0.100/24 10.77.0.101/24",
        "providers": "load_balancer",
        "checks": "app up",
        "hooks": "promote",
        "preempt": "false",
    }
    assert facts[""] == {"lease.duration_seconds": "3", "lease.clock_drift": "0.01", "store.type": "file"}
