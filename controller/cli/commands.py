"""What each subcommand does. Returns the exit code; raises ConfigError, NotThere and Declined, which cli.py prints."""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from controller.api.client import Client, NotThere
from controller.cli.output import history_text, say, status_text
from controller.config import paths
from controller.config.problem import ConfigError, found
from controller.config.yaml_lines import read

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from controller.api.status import GroupView
    from controller.config.model import Config, Group
    from controller.config.plugins import Plugin

DONE, FAILED, USAGE = 0, 1, 2

_WATCH_SECONDS = 1.0
_CLEAR = "\x1b[2J\x1b[H"
_SPARE_SECONDS = 5.0  # for the daemon to say itself that the time is over


def run(options: argparse.Namespace) -> int:
    """The daemon, until it is told to stop."""
    gc.disable()  # what is imported stays: looking for garbage in it takes a tenth of the start
    try:
        config = _config(options.config, on_this_node=True)

        from controller.daemon import daemon  # noqa: PLC0415  (other commands start without it)
        from controller.telemetry import logs  # noqa: PLC0415  (other commands start without it)
    finally:
        gc.enable()

    logs.configure(options.log_format, options.log_level)
    return daemon.run(config)


def check_config(options: argparse.Namespace) -> int:
    """Read the configuration and say that it is fine, or print its schema."""
    if options.schema:
        say(json.dumps(_schema(), indent=2))
        return DONE
    config = _config(options.config, on_this_node=not options.no_host_checks)
    chosen = [] if options.no_host_checks else _places(config)
    asked = _asked(config) if options.ask_store else ""
    timing = config.timing()
    vips = sum(len(group.vips) for group in config.groups.values())
    say(
        f"{config.file}: ok: node {config.node} of cluster {config.cluster}, groups {len(config.groups)}, VIPs {vips}, "
        f"lease {timing.lease_duration:g} s (serves {timing.renew_deadline:g} s after it has sent a renewal, "
        f"sends one every {timing.retry_period:g} s){asked}",
    )
    for line in chosen:
        say(line)
    return DONE


def doctor(options: argparse.Namespace) -> int:
    """Look for what would break a failover to this node. Failed where something would."""
    config = _config(options.config, on_this_node=False)

    import asyncio  # noqa: PLC0415

    from controller.cli.doctor import examine  # noqa: PLC0415
    from providers.base import Level  # noqa: PLC0415

    report = asyncio.run(examine(config))
    say(report.json if options.json else report.text)
    return FAILED if report.count(Level.ERROR) else DONE


def status(options: argparse.Namespace) -> int:
    """This node and what it knows of the others, once or each second."""
    client = _client(options)
    if not options.watch:
        say(_status(client, as_json=options.json))
        return DONE
    while True:
        try:
            text = _status(client, as_json=options.json)
        except NotThere as error:  # a restart is what somebody may be watching
            text = json.dumps({"error": str(error)}) if options.json else str(error)
        say((_CLEAR if sys.stdout.isatty() else "") + text)
        time.sleep(_WATCH_SECONDS)


def history(options: argparse.Namespace) -> int:
    """The transitions that this node remembers."""
    query = f"?{urlencode({'group': options.group})}" if options.group else ""
    entries = _client(options).get(f"/v1/history{query}")
    if options.json:
        for entry in entries:
            say(json.dumps(entry))
        return DONE
    say(history_text(entries))
    return DONE


def pause(options: argparse.Namespace) -> int:
    """Pause the cluster."""
    _client(options).post("/v1/pause", {}, 10.0 + _SPARE_SECONDS)
    say("paused: every group stays where it is until `anyvip resume`")
    return DONE


def resume(options: argparse.Namespace) -> int:
    """End the pause."""
    _client(options).post("/v1/resume", {}, 10.0 + _SPARE_SECONDS)
    say("resumed")
    return DONE


def switchover(options: argparse.Namespace) -> int:
    """Hand a group over, tell what happens meanwhile, and return when the new node serves."""
    client = _client(options)
    progress = _Progress(client, options.group)
    progress.tell()
    body = {"group": options.group, "to": options.to, "timeout_seconds": options.timeout}
    moved = client.post("/v1/switchover", body, options.timeout + _SPARE_SECONDS, progress.tell)
    say(f"{moved['group']}: {moved['to']} serves, epoch {moved['epoch']}, after {moved['seconds']:.3f} s")
    return DONE


class _Progress:
    """Prints a line whenever the group looks different from this node."""

    def __init__(self, client: Client, group: str) -> None:
        self._client = client
        self._group = group
        self._last = ""

    def tell(self) -> None:
        """Look, and say what has changed. A status that cannot be had is no reason to stop waiting."""
        try:
            view = self._client.get("/v1/status")["groups"].get(self._group)
        except NotThere:
            return
        line = "" if view is None else _summary(self._group, view)
        if line != self._last:
            self._last = line
            say(line)


def _summary(group: str, view: GroupView) -> str:
    return f"{group}: active: {view['active'] or 'nobody'}, epoch {view['epoch']}, here {view['role']}"


def _status(client: Client, *, as_json: bool) -> str:
    answer = client.get("/v1/status")
    if as_json:
        return json.dumps(answer)
    return status_text(answer)


def _client(options: argparse.Namespace) -> Client:
    """The daemon of the configuration's state_dir. Nothing else in it is looked at, so it may be wrong by now."""
    document = read(options.config)
    data = document.data if isinstance(document.data, dict) else {}
    state_dir = data.get("state_dir", paths.STATE_DIR)
    if not isinstance(state_dir, str):
        text = found(state_dir, "the absolute path of a directory, such as /run/anyvip")
        raise ConfigError([document.problem(("state_dir",), text)])
    return Client(Path(state_dir) / paths.SOCKET)


def _config(file: str, *, on_this_node: bool) -> Config:
    from controller.config.host_checks import host_problems  # noqa: PLC0415
    from controller.config.loading import load  # noqa: PLC0415

    config = load(file)
    problems = host_problems(config) if on_this_node else []
    if problems:
        raise ConfigError(problems)
    return config


def _places(config: Config) -> list[str]:
    """What `auto` stands for here, and why. Raises ConfigError where VIPs have no place, NotThere without answer."""
    from providers.base import ProviderError, Unanswered  # noqa: PLC0415

    lines: list[str] = []
    problems = []
    for name, group in config.groups.items():
        for plugin in group.providers:
            try:
                lines += _place(plugin, name, group)
            except Unanswered as error:
                raise NotThere(f"group {name}: {error}") from error
            except ProviderError as error:
                problems.append(config.problem(("groups", name, "providers"), str(error)))
    if problems:
        raise ConfigError(problems)
    return lines


def _place(plugin: Plugin, name: str, group: Group) -> Iterator[str]:
    from controller.config.plugins import AUTO  # noqa: PLC0415
    from controller.daemon.opening import chosen  # noqa: PLC0415
    from providers.baremetal.addresses import LocalVips  # noqa: PLC0415
    from providers.baremetal.provider import BareMetalOptions  # noqa: PLC0415

    local: object = plugin.options
    if plugin.type == AUTO:
        choice = chosen(name, group.vips)
        yield f"group {name}: auto is {choice.type}: {choice.why}"
        local = BareMetalOptions() if choice.type == "baremetal" else None
    if isinstance(local, BareMetalOptions):
        LocalVips(group.vips, local.interface).close()


def _asked(config: Config) -> str:
    """What the store's answers say of the lease. Raises ConfigError where they do not fit in, NotThere without any."""
    import asyncio  # noqa: PLC0415

    from controller.cli.store_latency import latency_problems, shortest_lease, store_latency  # noqa: PLC0415
    from controller.stores.base import StoreError  # noqa: PLC0415

    try:
        latency = asyncio.run(store_latency(config))
    except (StoreError, TimeoutError) as error:
        reason = str(error) or "too slow to be measured"
        raise NotThere(f"the {config.store.type} store did not answer: {reason}") from error
    if problems := list(latency_problems(config, latency)):
        raise ConfigError(problems)
    return (
        f"; the {config.store.type} store answers a read in {latency.slow:.3f} s, fast enough for a lease of "
        f"{shortest_lease(latency.call, config.lease.clock_drift):g} s"
    )


def _schema() -> dict[str, Any]:
    from controller.config.model import Config  # noqa: PLC0415

    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
