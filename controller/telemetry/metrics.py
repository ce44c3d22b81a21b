"""The metrics for Prometheus. Names and units follow its conventions: base units, `_total` for counters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    disable_created_metrics,
    generate_latest,
)

ROLES: Final = ("init", "standby", "promoting", "active", "demoting", "fault", "paused")
_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The metrics of one daemon, in their own registry."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would be a second series for each counter
        self.registry: Final = CollectorRegistry()
        self._groups: frozenset[str] = frozenset()
        gauge, counter = partial(Gauge, registry=self.registry), partial(Counter, registry=self.registry)
        group, step = ("group",), ("group", "step")
        self.active = gauge("anyvip_active", "1 while this node serves the group.", group)
        self.role = gauge("anyvip_role", "1 for the role that this node has in the group.", ("group", "role"))
        self.epoch = gauge("anyvip_epoch", "Epoch (fencing token) of the group's last transition.", group)
        self.healthy = gauge("anyvip_healthy", "1 while this node is fit to serve the group.", group)
        self.grant = gauge(
            "anyvip_grant_seconds_left", "Seconds for which this node may serve on its last renewal.", group
        )
        labels = ("group", "to", "reason")
        self.transitions = counter("anyvip_transitions", "Changes of this node's role in the group.", labels)
        self.drift = counter("anyvip_drift", "Times that the kernel or the cloud had to be corrected.", group)
        self.repairs = counter("anyvip_drift_repaired", "Times that the cloud was then seen to lead here again.", group)
        self.looks = counter("anyvip_looks", "Times that a cloud was asked where the group's VIPs are.", group)
        self.look_failures = counter("anyvip_look_failures", "Times that it gave no answer.", group)
        self.steps = Summary("anyvip_step_seconds", "How long steps took.", step, registry=self.registry)
        self.step_failures = counter("anyvip_step_failures", "Steps that failed.", step)
        self.requests = counter("anyvip_store_requests", "Requests to the store.", ("op", "outcome"))
        self.writes = counter("anyvip_store_writes", "Writes sent to the store, whatever their outcome.")
        self.request_seconds = Histogram(
            "anyvip_store_seconds",
            "How long requests to the store took.",
            ("op",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.reachable = gauge("anyvip_store_reachable", "1 while the store answers.")
        self._credentials: frozenset[str] = frozenset()
        self.credential_ends = gauge(
            "anyvip_store_credential_end_timestamp_seconds",
            "Unix time at which a certificate or a token for the store ends.",
            ("credential",),
        )
        self.blocked = gauge("anyvip_address_conflict", "1 while another group has one of its addresses.", group)
        self.differing = gauge("anyvip_configuration_differs", "Other nodes whose configuration differs from this one.")
        self.unreadable = gauge("anyvip_unreadable_records", "Keys in the store that cannot be read.")
        self.paused = gauge("anyvip_paused", "1 while the cluster is paused.")
        self.paused_seconds = gauge("anyvip_paused_seconds", "Seconds for which this node has seen the pause.")
        self.pause_left = gauge(
            "anyvip_pause_seconds_left",
            "Seconds until the pause ends by itself; +Inf if it does not, 0 without a pause.",
        )

    def paused_for(self, seconds: float, left: float) -> None:
        """Sets how long the cluster has been paused, and for how long it still will be. Both are 0 if it is not."""
        self.paused_seconds.set(max(seconds, 0.0))
        self.pause_left.set(max(left, 0.0))

    def credentials(self, ends: Mapping[str, float]) -> None:
        """Sets when each of the store's credentials ends, in Unix time, and removes the others."""
        for name in self._credentials.difference(ends):
            self.credential_ends.remove(name)
        for name, at in ends.items():
            self.credential_ends.labels(name).set(at)
        self._credentials = frozenset(ends)

    def watch(self, groups: Collection[str]) -> None:
        """Starts the series of new groups at zero, and removes those of groups that are gone."""
        for group in self._groups.difference(groups):
            self._forget(group)
        for group in frozenset(groups) - self._groups:
            for gauge in (self.active, self.epoch, self.healthy, self.grant, self.blocked):
                gauge.labels(group).set(0)
            for total in (self.drift, self.repairs, self.looks, self.look_failures):
                total.labels(group)
            self.in_role(group, "init")
        self._groups = frozenset(groups)

    def changed(self, group: str, role: str, reason: str, epoch: int) -> None:
        """Counts a transition. Ignores groups that left the configuration, so that their series stay removed."""
        if group in self._groups:
            self.in_role(group, role)
            self.epoch.labels(group).set(epoch)
            self.transitions.labels(group, role, reason).inc()

    def ran(self, group: str, step: str, seconds: float, *, failed: bool) -> None:
        """Counts a step that ended."""
        if group in self._groups:
            self.steps.labels(group, step).observe(seconds)
            self.step_failures.labels(group, step).inc(failed)

    def looked(self, group: str, *, failed: bool) -> None:
        """Counts a question to a cloud about the group's VIPs."""
        if group in self._groups:
            self.looks.labels(group).inc()
            self.look_failures.labels(group).inc(failed)

    def conflict(self, group: str, blocked: bool) -> None:
        """Sets whether another group has one of the group's addresses."""
        if group in self._groups:
            self.blocked.labels(group).set(blocked)

    def in_role(self, group: str, role: str) -> None:
        """Sets the group's role, and clears all others."""
        for one in ROLES:
            self.role.labels(group, one).set(one == role)
        self.active.labels(group).set(role == "active")

    def render(self, seconds_left: Mapping[str, float]) -> bytes:
        """Renders the text format 0.0.4. `seconds_left`: what is left of each group's grant; 0 for absent groups."""
        for group in self._groups:
            self.grant.labels(group).set(max(seconds_left.get(group, 0.0), 0.0))
        return generate_latest(self.registry)

    def _forget(self, group: str) -> None:
        for metric in (
            self.active,
            self.role,
            self.epoch,
            self.healthy,
            self.grant,
            self.blocked,
            self.transitions,
            self.drift,
            self.repairs,
            self.looks,
            self.look_failures,
            self.steps,
            self.step_failures,
        ):
            metric.remove_by_labels({"group": group})
