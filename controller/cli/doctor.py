"""Finds what would break a failover to this node before there is one. Needs no daemon, and changes nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from controller.cli.others import compare_with_others
from controller.cli.store_latency import latency_problems, store_latency
from controller.config.host_checks import host_problems
from controller.config.plugins import AUTO
from controller.config.problem import join_path
from controller.config.relations import timing_problems
from controller.daemon.clock import boottime
from controller.daemon.host import LIFETIME_OVERSHOOT
from controller.daemon.opening import choose_provider, open_provider
from controller.stores.base import Credential, Credentialed, StoreError
from controller.stores.registry import store_type
from providers.base import Closer, Finding, Level
from providers.linux import kernel

if TYPE_CHECKING:
    from controller.config.model import Config, Group
    from controller.config.plugins import Plugin

_PREFLIGHT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding. `about` names its subject: the kernel, the configuration, the store, or a group's provider."""

    about: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class Report:
    """All findings about one node."""

    node: str
    cluster: str
    remarks: tuple[Remark, ...]

    def count(self, level: Level) -> int:
        """Returns the number of findings of this level."""
        return sum(remark.finding.level is level for remark in self.remarks)

    @property
    def text(self) -> str:
        """One line for each finding, with the remedy below it, and a summary."""
        lines = [line for remark in self.remarks for line in _lines(remark)]
        errors, warnings = self.count(Level.ERROR), self.count(Level.WARNING)
        verdict = "a failover to this node would break" if errors else "nothing would break a failover to this node"
        return "\n".join(
            [*lines, "", f"{self.node} of {self.cluster}: errors {errors}, warnings {warnings}: {verdict}"]
        )

    @property
    def json(self) -> str:
        """The same as JSON, on one line."""
        findings = [{"about": remark.about, **asdict(remark.finding)} for remark in self.remarks]
        sums = {"errors": self.count(Level.ERROR), "warnings": self.count(Level.WARNING)}
        return json.dumps({"node": self.node, "cluster": self.cluster, **sums, "findings": findings})


async def examine(config: Config) -> Report:
    """Examines kernel, configuration, store and providers. Reports what fails while it examines as a finding, too."""
    wanted = [(name, group, plugin) for name, group in config.groups.items() for plugin in group.providers]
    parts = [_kernel(config), _list_named(config), await _store(config)]  # SDK imports would delay the store
    parts.append(await _others(config))
    parts += await asyncio.gather(*(_provider(name, group, plugin) for name, group, plugin in wanted))
    return Report(config.node, config.cluster, tuple(_once(remark for part in parts for remark in part)))


def _kernel(config: Config) -> list[Remark]:
    needed = any(timing_problems(config, LIFETIME_OVERSHOOT))
    return [Remark("kernel", finding) for finding in kernel.findings(guard_needed=needed)]


def _list_named(config: Config) -> list[Remark]:
    """Reports the interfaces, users and programs that the configuration names and this node does not have."""
    problems = host_problems(config)
    return [Remark("configuration", Finding(Level.ERROR, "config.host", join_path(p.path), p.text)) for p in problems]


async def _store(config: Config) -> list[Remark]:
    found = [await _contact(config), *_credentials(config, time.time())]
    return [Remark(f"store {config.store.type}", finding) for finding in found]


async def _contact(config: Config) -> Finding:
    """Report whether the store answers, and fast enough for the lease."""
    try:
        latency = await store_latency(config)
    except (StoreError, TimeoutError) as error:
        remedy = "without the store no node takes over, and the active node stops serving when its lease ends"
        return Finding(Level.ERROR, "store.reachable", "reachable", f"{error or 'no answer in time'}", remedy)
    for problem in latency_problems(config, latency):
        return Finding(Level.ERROR, "store.latency", join_path(problem.path), problem.text)
    answers = (
        f"answers in {latency.typical * 1000:.1f} ms, nine times out of ten within {latency.slow * 1000:.1f} ms; "
        f"a call of this lease may take {config.timing().call_timeout * 1000:.0f} ms"
    )
    return Finding(Level.OK, "store.reachable", "reachable", answers)


def _credentials(config: Config, now: float) -> list[Finding]:
    """Report when the store's credentials end."""
    plugin = config.store
    try:
        store = store_type(plugin.type).open(plugin.options, cluster=config.cluster, call_timeout=1.0)
    except StoreError:  # which is why it is not reachable
        return []
    return [describe_credential(each, now) for each in store.credentials()] if isinstance(store, Credentialed) else []


def describe_credential(credential: Credential, now: float) -> Finding:
    """Returns the finding about one credential. `now` in Unix time."""
    days = (credential.ends_at - now) / 86400
    ends = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(credential.ends_at))
    level, said, remedy = Level.OK, f"ends at {ends}, in {days:.0f} days", ""
    if credential.ends_soon(now):
        level, said = Level.WARNING, f"ends at {ends}, in {days:.1f} days"
        remedy = "replace it; the daemon reads it anew"
    if days <= 0:
        level, said = Level.ERROR, f"ended at {ends}: new connections to the store fail"
    return Finding(level, "store.credentials", credential.name, said, remedy)


async def _others(config: Config) -> list[Remark]:
    """Compares this node's file with the other nodes'. A store that does not answer is reported already."""
    try:
        return [Remark("configuration", finding) for finding in await compare_with_others(config)]
    except (StoreError, TimeoutError):
        return []


async def _provider(name: str, group: Group, plugin: Plugin) -> list[Remark]:
    about = f"group {name}, {plugin.type}"
    try:
        async with asyncio.timeout(_PREFLIGHT_SECONDS):
            return [Remark(about, finding) for finding in await _preflight(name, group, plugin)]
    except TimeoutError:
        return [
            Remark(
                about,
                Finding(
                    Level.ERROR, "provider.preflight", "preflight", f"did not finish within {_PREFLIGHT_SECONDS:g} s"
                ),
            )
        ]
    except Exception as error:  # noqa: BLE001  (a plugin can raise anything, and the operator must see it)
        return [
            Remark(about, Finding(Level.ERROR, "provider.preflight", "preflight", f"{error}" or type(error).__name__))
        ]


async def _preflight(name: str, group: Group, plugin: Plugin) -> Sequence[Finding]:
    found = [_chosen(name, group)] if plugin.type == AUTO else []
    provider = open_provider(plugin, group=name, vips=group.vips, clock=boottime)
    try:
        return [*found, *await provider.preflight()]
    finally:
        if isinstance(provider, Closer):
            await provider.close()


def _chosen(name: str, group: Group) -> Finding:
    choice = choose_provider(name, group.vips)
    return Finding(Level.OK, "provider.auto", AUTO, f"is {choice.type}: {choice.why}")


def _once(remarks: Iterable[Remark]) -> Iterable[Remark]:
    """Drops repetitions of a finding: several providers report the same about the host."""
    first: dict[Finding, Remark] = {}
    for remark in remarks:
        first.setdefault(remark.finding, remark)
    return first.values()


def _lines(remark: Remark) -> Iterable[str]:
    finding = remark.finding
    yield f"{finding.level:<8} {remark.about}: {finding.subject}: {finding.message} [{finding.code}]"
    if finding.remedy:
        yield f"{'':<8}   -> {finding.remedy}"
