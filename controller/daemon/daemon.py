"""Builds one daemon from its configuration, runs it, reloads it, and stops it in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

from controller.api.socket import AdminError, SocketAccess
from controller.config.host_checks import lasting_problems
from controller.config.loading import load
from controller.config.model import Config
from controller.config.problem import ConfigError, StartError
from controller.core import events as ev
from controller.core.machine import Role, State, serving_until
from controller.core.records import Cluster
from controller.daemon.clock import boot_id, boottime
from controller.daemon.credentials import watch_credentials
from controller.daemon.executor import Executor, Surroundings, new_session_id
from controller.daemon.fitness import Fitness
from controller.daemon.following import Follower
from controller.daemon.hints import post_hints
from controller.daemon.host import Local, LocalError
from controller.daemon.life import Life, LifeError
from controller.daemon.node import Node
from controller.daemon.notify import notify, ping_watchdog
from controller.daemon.readiness import why_not_ready
from controller.daemon.reconcile import Budget, Reconciler
from controller.stores.base import Credentialed, Store, StoreError, Watcher
from controller.stores.registry import store_type
from controller.telemetry.chronicle import Chronicle
from controller.telemetry.history import History
from controller.telemetry.logs import emit
from controller.telemetry.telemetry import Telemetry
from health.answers import GroupStatus, HealthStatus
from health.checks import Checker, CheckOptions
from health.endpoint import Endpoint, EndpointError, PortInUse

if TYPE_CHECKING:
    from controller.api.server import AdminApi

_log = logging.getLogger("anyvip")

_STORES_SHARE = 0.95  # of a call's time: the store's own deadline must end first, because it knows what went wrong


def run(config: Config) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code; raises ConfigError, StartError."""
    try:
        return asyncio.run(Daemon(config).run())
    except (PortInUse, LifeError, LocalError, AdminError) as error:  # these can end while the file stays the same
        raise StartError(str(error)) from error
    except EndpointError as error:
        text = str(error).removeprefix("health.listen ")  # the problem's path already names the key
        raise ConfigError([config.problem(("health", "listen"), text)]) from error


class Daemon:
    """The daemon of one node."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._life = Life(config.state_dir)
        self._local = Local(config, boottime)
        self._policy = self._local.policy(config, boot_id())
        history = History(config.history_path)
        history.load()
        chronicle = Chronicle(config.node, config.chronicle_path, wall=time.time)
        chronicle.load()
        self._telemetry = Telemetry(config.node, history, now=boottime, chronicle=chronicle)
        self._node = Node(self._policy, boottime, self._telemetry, self._follow)
        self._status = HealthStatus(groups={}, ready=False, live=True, detail="starting")
        self._pause: Cluster | None = None
        self._fitness = Fitness(self._node.post)
        self._local.look_at_links(self._fitness, config.groups)
        self._checker = Checker(self._checks(config), self._fitness.checked)
        self._endpoint = Endpoint(
            listen=config.health.addresses(),
            paths=_paths(config),
            status=self._health,
            clock=boottime,
            metrics=self._metrics,
        )
        self._reconciler = Reconciler(
            groups=self._local.groups,
            active=self._active,
            budget=_budget(config),
            clock=boottime,
            telemetry=self._telemetry,
            post=self._node.post,
        )
        self._reloading = asyncio.Event()

    async def run(self) -> int:
        """Start, serve until asked to stop, hand over, and clean up. Returns the exit code."""
        async with AsyncExitStack() as stack:
            stack.callback(self._life.close)
            self._handle_signals()
            starting = stack.enter_context(ExitStack())
            starting.callback(self._local.undo)
            await self._endpoint.start()
            stack.push_async_callback(self._endpoint.close)
            admin = self._admin()
            await admin.start()
            stack.push_async_callback(admin.close)
            store = self._store()
            stack.push_async_callback(store.close)
            self._telemetry.watch(self.config.groups)
            self._introduce()
            self._follow(self._node.state)
            starting.pop_all()
            left = await self._serve(store)
            if not left.keep:  # while we hold the lock: later both belong to the next life
                self._life.forget()
                self._local.remove()
        _log.info("left")
        return 0

    async def _serve(self, store: Store) -> ev.Exit:
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(self._checker.run(), name="checks"),
                tasks.create_task(self._telemetry.history.write(), name="history"),
                tasks.create_task(self._telemetry.chronicle.write(), name="chronicle"),
                tasks.create_task(self._local.run(self._node.post, self._fitness), name="configuration"),
                tasks.create_task(Follower(self._local, self._node.post, self._fitness).run(), name="kernel"),
                tasks.create_task(self._reconciler.run(), name="reconcile"),
                tasks.create_task(self._reload_when_asked(), name="reload"),
                tasks.create_task(ping_watchdog(self._alive), name="watchdog"),
            ]
            if isinstance(store, Credentialed):
                background.append(tasks.create_task(watch_credentials(store, self._telemetry), name="credentials"))
            if isinstance(store, Watcher):
                background.append(tasks.create_task(post_hints(store, self._node), name="watch"))
            executor = Executor(self._surroundings(store), self._telemetry, tasks, self._node.post)
            gc.freeze()  # objects made so far stay: collections skip them, and last microseconds
            self._node.post(await self._make_started())
            notify("READY=1")
            left = await self._node.run(executor)
            notify("STOPPING=1")
            for task in background:
                task.cancel()
            return left

    async def _make_started(self) -> ev.Started:
        found = await self._local.inspect()
        return ev.Started(
            session=new_session_id(self.config.node),
            writer=secrets.token_hex(8),
            saved=self._life.load(self._policy.boot_id),
            open_groups=found.open_groups,
            open_slot=found.slot,
            wall_offset=time.time() - boottime(),
        )

    # --- parts ---

    def _introduce(self) -> None:
        config, timing = self.config, self._policy.timing
        emit(
            _log, logging.INFO, "started", version=metadata.version("anyvip"), cluster=config.cluster, node=config.node,
            store=config.store.type, lease=timing.lease_duration, health=" ".join(config.health.listen),
            groups=len(config.groups),
        )  # fmt: skip

    def _store(self) -> Store:
        plugin = self.config.store
        timeout = _STORES_SHARE * self._policy.timing.call_timeout
        try:
            return store_type(plugin.type).open(plugin.options, cluster=self.config.cluster, call_timeout=timeout)
        except StoreError as error:  # such as unreadable certificates; the network has not been used yet
            raise ConfigError([self.config.problem(("store",), str(error))]) from error

    def _surroundings(self, store: Store) -> Surroundings:
        local = self._local
        return Surroundings(
            store=store,
            guard=local.guard,
            groups=local.groups,
            life=self._life,
            clock=boottime,
            mint=partial(new_session_id, self.config.node),
            call_timeout=self._policy.timing.call_timeout,
        )

    def _admin(self) -> AdminApi:
        from controller.api.server import AdminApi  # noqa: PLC0415  (aiohttp.web is slow to import; probes come first)
        from controller.daemon.control import Control  # noqa: PLC0415  (likewise)

        control = Control(self._node, lambda: self.config, boottime, self._telemetry)
        access = SocketAccess(self.config.admin.permissions, self.config.admin.owner, self.config.admin.group)
        return AdminApi(control, self.config.socket_path, access)

    @staticmethod
    def _checks(config: Config) -> Mapping[str, Mapping[str, CheckOptions]]:
        return {name: group.checks for name, group in config.groups.items()}

    # --- after each decision ---

    def _follow(self, state: State) -> None:
        groups = {name: GroupStatus(serving_until(state, name)) for name in self.config.groups}
        detail = why_not_ready(state, self._node.policy)
        self._status = HealthStatus(groups, not detail, live=True, detail=detail)
        pause = state.pause
        if (pause and pause.id) != (self._pause and self._pause.id):
            self._telemetry.paused(pause)
        self._pause = pause
        if self._local.settle(state):
            self._set_policy()

    def _set_policy(self) -> None:
        self._node.policy = self._policy = self._local.policy(self.config, self._policy.boot_id)
        self._node.post(ev.Tick())

    def _health(self) -> HealthStatus:
        return self._status

    def _active(self) -> Mapping[str, int]:
        """Return the groups that this node serves, with their epochs."""
        return {name: group.epoch for name, group in self._node.state.groups.items() if group.role is Role.ACTIVE}

    def _alive(self) -> bool:
        """Return whether the loop makes progress: it decides at least once per retry_period."""
        return boottime() - self._node.turned_at < self._policy.timing.lease_duration

    def _metrics(self) -> bytes:
        state = self._node.state
        pause = (state.pause_seen.since, state.pause_ends()) if state.paused else None
        return self._telemetry.render({name: serving_until(state, name) for name in self.config.groups}, pause)

    # --- signals ---

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reloading.set)

    def _stop(self, number: int) -> None:
        _log.info("stopping on %s: handing over", signal.Signals(number).name)
        self._node.post(ev.Stop())

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reloading.wait()
            self._reloading.clear()
            await self._reload()

    async def _reload(self) -> None:
        """Apply what has changed in the configuration file. A file with problems changes nothing."""
        try:
            fresh = await asyncio.to_thread(load, self.config.file)  # 200 groups take a quarter of a second
            problems = lasting_problems(fresh)
        except ConfigError as error:
            problems = list(error.problems)
        for problem in problems:
            _log.error("not reloaded: %s", problem)
        if problems:
            return
        for key in ("cluster", "node", "state_dir", "data_dir", "store", "lease", "admin"):
            if getattr(fresh, key) != getattr(self.config, key):
                _log.error("not reloaded: %s has changed, which needs a restart", key)
                return
        try:
            changed = await self._apply(fresh)
        except (EndpointError, LocalError) as error:
            _log.error("not reloaded: %s", error)
            return
        self.config = fresh
        self._set_policy()  # first: the core must know new groups before their checks report
        self._telemetry.watch(fresh.groups)
        self._fitness.keep(fresh.groups)
        self._local.look_at_links(self._fitness, changed)
        self._checker.reconfigure(self._checks(fresh))
        self._reconciler.budget = _budget(fresh)
        _log.info("reloaded %s", fresh.file)

    async def _apply(self, fresh: Config) -> list[str]:
        """Listen and bind as `fresh` says. Returns the groups that are bound differently now.

        Raises EndpointError and LocalError. Nothing has changed then.
        """
        await self._endpoint.reconfigure(listen=fresh.health.addresses(), paths=_paths(fresh))
        try:
            return self._local.reconfigure(fresh)
        except LocalError:
            await self._endpoint.reconfigure(listen=self.config.health.addresses(), paths=_paths(self.config))
            raise


def _paths(config: Config) -> dict[str, str]:
    return {group.health_path: name for name, group in config.groups.items() if group.health_path is not None}


def _budget(config: Config) -> Budget:
    return Budget(config.reconcile.looks_per_minute, config.reconcile.burst, boottime())
