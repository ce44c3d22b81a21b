"""The models of the configuration file. relations.py checks what must hold between keys.

The models are strict: a number in quotes is a string, and an error. Plugins bring their own keys (plugins.py).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path as FilePath

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from controller.config import paths
from controller.config.fields import (
    Argv,
    DataDir,
    HealthPath,
    Listen,
    Name,
    Seconds,
    SocketMode,
    StateDir,
    VipField,
    address_of,
)
from controller.config.plugins import AUTO, Plugin, ProviderPlugin, StorePlugin
from controller.config.problem import Path, Problem
from controller.config.yaml_lines import Document
from controller.core.timing import LONGEST_LEASE, ROUNDS_PER_GRANT, Timing
from health.checks import CheckOptions

GUARD_OVERSHOOT = 0.05  # seconds; how late the kernel's guard may end an address (measured: up to 0.02 under load)


class Section(BaseModel):
    """A mapping in the file. Unknown keys are errors, values are not converted, and instances are immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Lease(Section):
    """The durations of the election. They must be the same on all nodes of the cluster."""

    duration_seconds: float = Field(
        default=3.0,
        ge=0.5,
        le=LONGEST_LEASE,
        allow_inf_nan=False,
        description="Seconds that a silent node is watched before another takes over. A failover takes about as long.",
    )
    renew_deadline_seconds: Seconds | None = Field(
        default=None,
        description="Seconds that a node may serve after it has sent a renewal. Default: 0.7 of duration_seconds.",
    )
    retry_period_seconds: Seconds | None = Field(
        default=None,
        description="Seconds between renewals. Default: a quarter of renew_deadline_seconds, so that two can be lost.",
    )
    clock_drift: float = Field(
        default=0.01,
        ge=0,
        lt=0.5,
        allow_inf_nan=False,
        description="How far the rate of a node's clock may be off, as a ratio. NTP slews by 0.0005, chrony by more.",
    )

    def timing(self, overshoot: float) -> Timing:
        """Returns the durations, and derives the absent ones. `overshoot`: how late the kernel ends an address (s)."""
        derived = Timing.derive(self.duration_seconds, drift=self.clock_drift, overshoot=overshoot)
        deadline = self.renew_deadline_seconds or derived.renew_deadline
        retry = self.retry_period_seconds or deadline / ROUNDS_PER_GRANT
        return Timing(self.duration_seconds, deadline, retry, self.clock_drift, overshoot)


class Health(Section):
    """The health endpoint, which load balancers and Prometheus query."""

    listen: tuple[Listen, ...] = Field(
        default=("0.0.0.0:9010", "[::]:9010"),
        min_length=1,
        description="Addresses and ports on which the health endpoint listens. List IPv4 and IPv6 separately.",
    )

    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Returns `listen` as pairs of host and port."""
        return tuple(address_of(text) for text in self.listen)


class Admin(Section):
    """The permissions of the local API, which is the unix socket `anyvip.sock` in state_dir."""

    mode: SocketMode = Field(
        default="0660",
        description="Mode of the socket, octal. Users who may write to the socket may move VIPs.",
    )
    owner: Name | None = Field(default=None, description="Owner of the socket, by name. Default: the daemon's user.")
    group: Name | None = Field(default=None, description="Group of the socket, by name. Default: the daemon's group.")

    @property
    def permissions(self) -> int:
        """`mode` as a number."""
        return int(self.mode, 8)


class Reconcile(Section):
    """Limits how often this node asks clouds where its VIPs lead, for all groups together.

    Each provider also has a period of its own (`reconcile_seconds`).
    """

    looks_per_minute: float = Field(
        default=0.5,
        gt=0,
        le=6000,
        allow_inf_nan=False,
        description="Looks per minute in the long run. 100 nodes of one account then ask less than once per second. "
        "A node with several groups in a cloud asks about each less often, unless you raise this.",
    )
    burst: int = Field(default=20, ge=1, le=10000, description="How many looks may come together, as after a failover.")


class Hooks(Section):
    """Programs to run when this node takes or gives up the group. There is no shell. Output goes to the log."""

    prepare: Argv = Field(
        default=(),
        description="Runs when the addresses are bound and the guard is still shut, so that no client sees a service "
        "that is not ready. Only when it has succeeded does traffic pass.",
    )
    promote: Argv = Field(
        default=(), description="Runs when the addresses are announced, before the health endpoint answers 200."
    )
    demote: Argv = Field(
        default=(), description="Runs before the addresses go; if the lease has already ended, runs after."
    )
    cleanup: Argv = Field(
        default=(),
        description="Runs when the guard is shut and the addresses are gone, before the group is handed on.",
    )
    timeout_seconds: Seconds = Field(
        default=10.0, description="Seconds after which a hook is killed and counts as failed."
    )


class Group(Section):
    """VIPs that move together, and the keys that decide where they are."""

    vips: tuple[VipField, ...] = Field(min_length=1, description="The virtual IPs, each with its prefix length.")
    priority: int = Field(
        default=100,
        ge=0,
        le=255,
        description="The node with the highest priority takes over first. With 0 this node is never active.",
    )
    preempt: bool = Field(
        default=False,
        description="Whether a node of higher priority takes the group from a healthy active one.",
    )
    preempt_delay_seconds: float = Field(
        default=10.0,
        ge=0,
        le=86400,
        allow_inf_nan=False,
        description="Seconds for which a node must have been healthy before it preempts.",
    )
    providers: tuple[ProviderPlugin, ...] = Field(
        default=(Plugin(AUTO),),
        description="What makes the VIPs lead to the active node. `auto` finds out where the node runs.",
        json_schema_extra={"default": [{"type": AUTO}]},
    )
    checks: Mapping[Name, CheckOptions] = Field(
        default_factory=dict,
        description="What must pass for this node to serve, each by a name of your choice.",
    )
    hooks: Hooks = Field(default_factory=Hooks, description="Programs to run on promotion and demotion.")
    health_path: HealthPath | None = Field(
        default=None,
        description="Another path for this group on the health endpoint, so that an existing probe keeps its URL.",
    )


class Config(Section):
    """The whole configuration file of anyvip. All durations are in seconds."""

    cluster: Name = Field(description="Name of the cluster: the same on all its nodes, unique in the store.")
    node: Name = Field(
        default_factory=socket.gethostname,
        validate_default=True,
        description="Name of this node, unique in the cluster. Default: the hostname.",
    )
    state_dir: StateDir = Field(
        default=FilePath(paths.STATE_DIR),
        description="Directory of the lock, the session state and the socket. Must be empty after a boot.",
        json_schema_extra={"default": paths.STATE_DIR},
    )
    data_dir: DataDir | None = Field(
        default=None,
        description="Directory of what outlives a boot: the history of this node and of the cluster. "
        f"Default: {paths.DATA_DIR}; if state_dir is not {paths.STATE_DIR}, that directory.",
    )
    store: StorePlugin = Field(description="Where the nodes agree which of them is active. The same on all nodes.")
    lease: Lease = Field(default_factory=Lease, description="The durations of the election. The same on all nodes.")
    health: Health = Field(default_factory=Health, description="The endpoint that load balancers query.")
    admin: Admin = Field(default_factory=Admin, description="Which users may use the local API.")
    reconcile: Reconcile = Field(
        default_factory=Reconcile, description="How often this node may ask clouds where its VIPs lead."
    )
    groups: Mapping[Name, Group] = Field(min_length=1, description="The groups of VIPs, by name.")

    _document: Document = PrivateAttr(default_factory=lambda: Document(""))

    @property
    def file(self) -> str:
        """The name of the file that this was read from, as the caller gave it."""
        return self._document.file

    @property
    def history_path(self) -> FilePath:
        """The path of the history file."""
        return self._data_path / paths.HISTORY

    @property
    def chronicle_path(self) -> FilePath:
        """The path of the file with what this node saw of the cluster."""
        return self._data_path / paths.CHRONICLE

    @property
    def _data_path(self) -> FilePath:
        """`data_dir`, or its default. Daemons that share a host have state directories of their own."""
        usual = self.state_dir == FilePath(paths.STATE_DIR)
        return self.data_dir or (FilePath(paths.DATA_DIR) if usual else self.state_dir)

    @property
    def socket_path(self) -> FilePath:
        """The path of the local API's socket."""
        return self.state_dir / paths.SOCKET

    def timing(self, overshoot: float = GUARD_OVERSHOOT) -> Timing:
        """Returns the lease's durations. `overshoot`: how many seconds late the kernel may end an address."""
        return self.lease.timing(overshoot)

    def problem(self, path: Path, text: str) -> Problem:
        """Returns a problem with the value at this path, with file and line, for a `ConfigError`."""
        return self._document.problem(path, text)
