"""The subcommands. Each returns its exit code, or raises ConfigError, NotThere or Declined, which main.py prints."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from controller.api.client import Client, NotThere
from controller.cli.narrative import chronicle_text, tell
from controller.cli.output import check_text, complain, duration, history_text, say, status_text
from controller.config import paths
from controller.config.problem import ConfigError, describe_found
from controller.config.yaml_lines import read
from health.errors import AnyvipError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from controller.api.status import GroupView
    from controller.config.model import Config, Group
    from controller.config.plugins import Plugin

DONE, FAILED, USAGE = 0, 1, 2
UNKNOWN = 3  # of `anyvip status --check`, as monitoring plugins have it

_WATCH_SECONDS = 1.0
_CLEAR = "\x1b[2J\x1b[H"
_SPARE_SECONDS = 5.0  # beyond the time limit, so that the daemon itself can report that it has passed


def run(options: argparse.Namespace) -> int:
    """Runs the daemon until a signal stops it."""
    gc.disable()  # imported modules stay, and searching them for garbage takes a tenth of the start
    try:
        config = _config(options.config or paths.CONFIG_FILE, on_this_node=True)

        from controller.daemon import daemon  # noqa: PLC0415  (other commands start without it)
        from controller.telemetry import logs  # noqa: PLC0415  (other commands start without it)
    finally:
        gc.enable()

    logs.configure(options.log_format, options.log_level)
    return daemon.run(config)


def check_config(options: argparse.Namespace) -> int:
    """Checks the configuration and prints a summary of it, or prints its JSON Schema."""
    if options.schema:
        say(json.dumps(_schema(), indent=2))
        return DONE
    config = _config(options.config or paths.CONFIG_FILE, on_this_node=not options.no_host_checks)
    choose_provider = [] if options.no_host_checks else _places(config)
    asked = _describe_request(config) if options.ask_store else ""
    timing = config.timing()
    vips = sum(len(group.vips) for group in config.groups.values())
    say(
        f"{config.file}: ok: node {config.node} of cluster {config.cluster}, groups {len(config.groups)}, VIPs {vips}, "
        f"lease {timing.lease_duration:g} s (serves {timing.renew_deadline:g} s after it has sent a renewal, "
        f"sends one every {timing.retry_period:g} s){asked}",
    )
    for line in choose_provider:
        say(line)
    return DONE


def doctor(options: argparse.Namespace) -> int:
    """Reports what would break a failover to this node. Returns FAILED when it finds an error."""
    config = _config(options.config or paths.CONFIG_FILE, on_this_node=False)

    import asyncio  # noqa: PLC0415

    from controller.cli.doctor import examine  # noqa: PLC0415
    from providers.base import Level  # noqa: PLC0415

    report = asyncio.run(examine(config))
    say(report.json if options.json else report.text)
    return FAILED if report.count(Level.ERROR) else DONE


def status(options: argparse.Namespace) -> int:
    """Prints the state of this node and what it knows of the others, once or every second."""
    if options.check:
        return _check(options)
    client = _client(options)
    if not options.watch:
        say(_status(client, as_json=options.json))
        return DONE
    while True:
        try:
            text = _status(client, as_json=options.json)
        except NotThere as error:  # the daemon may be restarting, so keep watching
            text = json.dumps({"error": str(error)}) if options.json else str(error)
        say((_CLEAR if sys.stdout.isatty() else "") + text)
        time.sleep(_WATCH_SECONDS)


def _check(options: argparse.Namespace) -> int:
    """Prints one line for monitoring. Returns 0 to 3: served with a standby, served without, not served, not known."""
    try:
        answer = _client(options).get("/v1/status")
    except (ConfigError, AnyvipError) as error:
        say(f"UNKNOWN: {' '.join(str(error).split())}")
        return UNKNOWN
    code, text = check_text(answer)
    say(json.dumps({"code": code, "text": text}) if options.json else text)
    return code


def explain(options: argparse.Namespace) -> int:
    """Tells how a group came to its owner, or to an earlier one."""
    entries = _client(options).get(f"/v1/chronicle?{urlencode({'group': options.group})}")
    chosen = [entry for entry in entries if options.epoch in (None, entry["epoch"])]
    if not chosen:
        epochs = ", ".join(dict.fromkeys(str(entry["epoch"]) for entry in entries)) or "nothing"
        what = options.group if options.epoch is None else f"epoch {options.epoch} of {options.group}"
        complain(f"anyvip: this node remembers no {what}; of {options.group}, it remembers {epochs}")
        return FAILED
    shown = chosen[-1:] if options.epoch is None else chosen
    for entry in shown:
        say(json.dumps(entry) if options.json else tell(entry))
    return DONE


def history(options: argparse.Namespace) -> int:
    """Prints the transitions that this node remembers, or what it has seen of the whole cluster."""
    query = f"?{urlencode({'group': options.group})}" if options.group else ""
    entries = _client(options).get(f"/v1/{'chronicle' if options.cluster else 'history'}{query}")
    if options.json:
        for entry in entries:
            say(json.dumps(entry))
        return DONE
    say(chronicle_text(entries) if options.cluster else history_text(entries))
    return DONE


def pause(options: argparse.Namespace) -> int:
    """Pauses the cluster."""
    body = {"for_seconds": options.seconds, "reason": options.reason}
    with _asking():
        _client(options).post("/v1/pause", body, 10.0 + _SPARE_SECONDS)
    until = "until `anyvip resume`"
    if options.seconds is not None:
        until = f"for {duration(options.seconds)}, or {until}"
    say(f"paused: every group stays where it is {until}")
    return DONE


def resume(options: argparse.Namespace) -> int:
    """Ends the pause."""
    with _asking():
        _client(options).post("/v1/resume", {}, 10.0 + _SPARE_SECONDS)
    say("resumed")
    return DONE


def switchover(options: argparse.Namespace) -> int:
    """Hands a group over, prints the changes meanwhile, and returns when the new node serves."""
    client = _client(options)
    progress = _Progress(client, options.group)
    progress.tell()
    body = {"group": options.group, "to": options.to, "timeout_seconds": options.timeout}
    with _asking():
        moved = client.post("/v1/switchover", body, options.timeout + _SPARE_SECONDS, progress.tell)
    say(f"{moved['group']}: {moved['to']} serves, epoch {moved['epoch']}, after {moved['seconds']:.3f} s")
    return DONE


@contextmanager
def _asking() -> Iterator[None]:
    """Says of a request without an answer that its outcome is not known. Raises NotThere, and what the request does."""
    try:
        yield
    except NotThere as error:
        if not error.sent:
            raise
        raise NotThere(f"{error}; whether it was done, `anyvip status` shows", sent=True) from error
    except KeyboardInterrupt:
        complain("interrupted: the request is withdrawn; what it has done before, `anyvip status` shows")
        raise


class _Progress:
    """Prints a line whenever this node's view of the group changes."""

    def __init__(self, client: Client, group: str) -> None:
        self._client = client
        self._group = group
        self._last = ""

    def tell(self) -> None:
        """Reads the status and prints a line when it has changed. Ignores NotThere: the wait goes on."""
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
    """Returns a client of the daemon in the configuration's state_dir. Ignores all other keys, which may be wrong.

    Whoever may use the socket need not be able to read the file: without a name for it, the usual socket is asked.
    """
    if options.socket is not None:
        return Client(Path(options.socket))
    file = options.config or paths.CONFIG_FILE
    if not options.config and not os.access(file, os.R_OK):
        return Client(Path(paths.STATE_DIR) / paths.SOCKET)
    document = read(file)
    data = document.data if isinstance(document.data, dict) else {}
    state_dir = data.get("state_dir", paths.STATE_DIR)
    if not isinstance(state_dir, str):
        text = describe_found(state_dir, "the absolute path of a directory, such as /run/anyvip")
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
    """Returns lines that say what `auto` became, and why.

    Raises ConfigError when the VIPs fit no interface of this node, NotThere when a cloud does not answer.
    """
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
    from controller.daemon.opening import choose_provider  # noqa: PLC0415
    from providers.baremetal.addresses import LocalVips  # noqa: PLC0415
    from providers.baremetal.provider import BareMetalOptions  # noqa: PLC0415

    local: object = plugin.options
    if plugin.type == AUTO:
        choice = choose_provider(name, group.vips)
        yield f"group {name}: auto is {choice.type}: {choice.why}"
        local = BareMetalOptions() if choice.type == "baremetal" else None
    if isinstance(local, BareMetalOptions):
        LocalVips(name, group.vips, local.interface).close()


def _describe_request(config: Config) -> str:
    """Returns a phrase that says which lease the store's answers allow.

    Raises ConfigError when the lease is too short for them, NotThere when the store does not answer.
    """
    import asyncio  # noqa: PLC0415

    from controller.cli.store_latency import latency_problems, shortest_lease, store_latency  # noqa: PLC0415
    from controller.stores.base import StoreError  # noqa: PLC0415

    try:
        latency = asyncio.run(store_latency(config))
    except (StoreError, TimeoutError) as error:
        reason = str(error) or "its answers take too long to be measured"
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
