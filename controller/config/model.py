"""The configuration file. Everything that is allowed in it is in this file; relations between keys in relations.py.

The models are strict: a number in quotes is a string and an error. Plugins bring their own keys (plugins.py).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path as FilePath

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from controller.config import paths
from controller.config.fields import Argv, HealthPath, Listen, Name, Seconds, SocketMode, StateDir, VipField, address_of
from controller.config.plugins import AUTO, Plugin, ProviderPlugin, StorePlugin
from controller.config.problem import Path, Problem
from controller.config.yaml_lines import Document
from controller.core.timing import ROUNDS_PER_GRANT, Timing
from health.checks import CheckOptions

GUARD_OVERSHOOT = 0.05  # seconds; how late the kernel's guard may end an address (measured: up to 0.02 under load)


class Section(BaseModel):
    """A mapping in the file: unknown keys are errors, nothing is converted, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Lease(Section):
    """The times of the election. Must be the same on all nodes of the cluster."""

    duration_seconds: float = Field(
        default=3.0,
        ge=0.5,
        le=3600,
        allow_inf_nan=False,
        description="Seconds a silent node is watched before another takes over. Failover takes about this long.",
    )
    renew_deadline_seconds: Seconds | None = Field(
        default=None,
        description="Seconds a node may serve after it has sent a renewal. Default: 0.7 of duration_seconds.",
    )
    retry_period_seconds: Seconds | None = Field(
        default=None,
        description="Seconds between renewals. Default: a quarter of renew_deadline_seconds, so that two may be lost.",
    )
    clock_drift: float = Field(
        default=0.01,
        ge=0,
        lt=0.5,
        allow_inf_nan=False,
        description="How far the rate of a node's clock may be off, as a ratio. NTP slews by 0.0005, chrony by more.",
    )

    def timing(self, overshoot: float) -> Timing:
        """The durations, with the missing ones derived. `overshoot`: seconds the kernel may end an address late."""
        derived = Timing.derive(self.duration_seconds, drift=self.clock_drift, overshoot=overshoot)
        deadline = self.renew_deadline_seconds or derived.renew_deadline
        retry = self.retry_period_seconds or deadline / ROUNDS_PER_GRANT
        return Timing(self.duration_seconds, deadline, retry, self.clock_drift, overshoot)


class Health(Section):
    """The endpoint that load balancers and Prometheus ask."""

    listen: tuple[Listen, ...] = Field(
        default=("0.0.0.0:9010", "[::]:9010"),
        min_length=1,
        description="Where the health endpoint listens. IPv4 and IPv6 are listed apart.",
    )

    def addresses(self) -> tuple[tuple[str, int], ...]:
        """`listen` as hosts and ports."""
        return tuple(address_of(text) for text in self.listen)


class Admin(Section):
    """Who may use the local API, the unix socket `anyvip.sock` in state_dir."""

    mode: SocketMode = Field(
        default="0660",
        description="Mode of the socket, octal. Whoever may write to it may move VIPs.",
    )
    owner: Name | None = Field(
        default=None, description="Owner of the socket, a user's name. Default: the daemon's user."
    )
    group: Name | None = Field(default=None, description="Group of the socket, by name. Default: the daemon's group.")

    @property
    def permissions(self) -> int:
        """`mode` as a number."""
        return int(self.mode, 8)


class Reconcile(Section):
    """How often this node may ask clouds where VIPs are, all its groups together. Each provider has its own period."""

    looks_per_minute: float = Field(
        default=0.5,
        gt=0,
        le=6000,
        allow_inf_nan=False,
        description="Looks per minute in the long run: 100 nodes of one account then ask less than once per second. "
        "A node with more than one group in a cloud looks at each less often, unless this is raised.",
    )
    burst: int = Field(
        default=20, ge=1, le=10000, description="Looks that may come at once, as after a failover, when each counts."
    )


class Hooks(Section):
    """Programs to run when this node takes the group on or gives it up. No shell; output goes to the log."""

    promote: Argv = Field(
        default=(), description="Run after the addresses are here and before the health endpoint says 200."
    )
    demote: Argv = Field(default=(), description="Run before the addresses go; after, if the lease has ended already.")
    timeout_seconds: Seconds = Field(
        default=10.0, description="Seconds after which a hook is killed and counts as failed."
    )


class Group(Section):
    """VIPs that move together, and what decides where they are."""

    vips: tuple[VipField, ...] = Field(min_length=1, description="The virtual IPs, each with its prefix length.")
    priority: int = Field(
        default=100, ge=0, le=255, description="The highest takes over first; 0: this node is never active."
    )
    preempt: bool = Field(
        default=False,
        description="Whether a node of higher priority takes the group from a healthy active one. Needs no failure.",
    )
    preempt_delay_seconds: float = Field(
        default=10.0,
        ge=0,
        le=86400,
        allow_inf_nan=False,
        description="Seconds a node must have been healthy before it preempts.",
    )
    providers: tuple[ProviderPlugin, ...] = Field(
        default=(Plugin(AUTO),),
        description="What makes the VIPs lead to the active node. `auto` finds out where it runs.",
        json_schema_extra={"default": [{"type": AUTO}]},
    )
    checks: Mapping[Name, CheckOptions] = Field(
        default_factory=dict,
        description="What must be well for this node to serve, by a name of your choice.",
    )
    hooks: Hooks = Field(default_factory=Hooks, description="Programs to run on promotion and demotion.")
    health_path: HealthPath | None = Field(
        default=None,
        description="A path of its own on the health endpoint, beside /health/<group>, so that a probe keeps its URL.",
    )


class Config(Section):
    """anyvip's configuration. All durations are in seconds."""

    cluster: Name = Field(description="Name of the cluster: the same on all its nodes, unique in the store.")
    node: Name = Field(
        default_factory=socket.gethostname,
        validate_default=True,
        description="Name of this node, unique in the cluster. Default: the hostname.",
    )
    state_dir: StateDir = Field(
        default=FilePath(paths.STATE_DIR),
        description="Directory of the lock, the session's state, the history and the socket. Must not outlive a boot.",
        json_schema_extra={"default": paths.STATE_DIR},
    )
    store: StorePlugin = Field(description="Where the nodes agree who is active. The same on all nodes.")
    lease: Lease = Field(default_factory=Lease, description="The times of the election. The same on all nodes.")
    health: Health = Field(default_factory=Health, description="The endpoint that load balancers ask.")
    admin: Admin = Field(default_factory=Admin, description="Who may use the local API.")
    reconcile: Reconcile = Field(default_factory=Reconcile, description="How often clouds may be asked.")
    groups: Mapping[Name, Group] = Field(min_length=1, description="The groups of VIPs, by name.")

    _document: Document = PrivateAttr(default_factory=lambda: Document(""))

    @property
    def file(self) -> str:
        """The file that this was read from, as it was named."""
        return self._document.file

    @property
    def history_path(self) -> FilePath:
        """Where the history is kept."""
        return self.state_dir / paths.HISTORY

    @property
    def socket_path(self) -> FilePath:
        """Where the local API listens."""
        return self.state_dir / paths.SOCKET

    def timing(self, overshoot: float = GUARD_OVERSHOOT) -> Timing:
        """The lease's durations. `overshoot`: seconds the kernel may end an address late."""
        return self.lease.timing(overshoot)

    def problem(self, path: Path, text: str) -> Problem:
        """A problem with the value at this path, for a `ConfigError`; it names file and line."""
        return self._document.problem(path, text)
