"""Reports what the daemon decides and does as log lines, metrics and history. No call waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from math import inf

from controller.core.events import Drifted, Judged, Ran, Step
from controller.core.group import Reason, Role, Transition
from controller.core.records import Cluster
from controller.core.state import State
from controller.stores.base import Credential
from controller.telemetry.chronicle import LEFT, OWNER, Chronicle, ChronicleEntry
from controller.telemetry.contact import Contact
from controller.telemetry.history import History, HistoryEntry
from controller.telemetry.logs import emit, utc
from controller.telemetry.metrics import Metrics

_log = logging.getLogger("anyvip")

_BAD = frozenset({Role.FAULT})
_MOST_KEYS = 20
# Why a node loses a group that it did not give up in good order.
_LOSSES = frozenset(
    {
        Reason.EXPIRED, Reason.TAKEN, Reason.DELETED, Reason.SESSION_OVER, Reason.RESTORED, Reason.STEP_FAILED,
        Reason.UNHEALTHY,
    }
)  # fmt: skip


class Op(StrEnum):
    """The kinds of requests to the store."""

    READ = "read"
    WRITE = "write"


class RequestOutcome(StrEnum):
    """The outcomes of a request. UNSURE is a write without an answer."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"
    UNSURE = "unsure"


class Telemetry:
    """The telemetry of one daemon. `now` reads CLOCK_BOOTTIME, `wall` reads Unix time, both in seconds."""

    def __init__(
        self,
        node: str,
        history: History,
        *,
        now: Callable[[], float],
        wall: Callable[[], float] = time.time,
        chronicle: Chronicle | None = None,
    ) -> None:
        self._node = node
        self._now = now
        self._wall = wall
        self._since: dict[str, float] = {}  # when each group's role began
        self._stages: dict[str, dict[str, float]] = {}  # the steps of that role, in seconds
        self._differing: dict[str, Sequence[str]] = {}  # in what other nodes' configurations differ
        self._blocked: dict[str, str] = {}  # who else claims the group's addresses
        self.contact = Contact()
        self._unreadable: frozenset[str] = frozenset()  # the keys that were logged
        self._ending: frozenset[str] = frozenset()  # the credentials that were logged
        self.history = history
        self.chronicle = chronicle or Chronicle(node, wall=wall)
        self.cut_off_since: float | None = None  # Unix time; None while the store answers
        self.metrics = Metrics()

    def watch(self, groups: Collection[str]) -> None:
        """Starts the series of these groups, and ends those of all others."""
        self.metrics.watch(groups)
        for group in self._since.keys() - set(groups):
            del self._since[group]
            self._stages.pop(group, None)
        self._blocked = {group: why for group, why in self._blocked.items() if group in groups}

    def transitioned(self, transitions: Iterable[Transition]) -> None:
        """Logs and counts each transition, and adds it to the history."""
        for transition in transitions:
            self._record_transition(transition)

    def noticed(self, state: State) -> None:
        """Notes what the store shows now of owners and members, and logs what is new."""
        for entry in self.chronicle.notice(state.store.sightings):
            _emit_event(entry)

    def _record_transition(self, transition: Transition) -> None:
        group, began = transition.group, self._since.get(transition.group)
        entry = HistoryEntry(
            time=utc(self._wall() - (self._now() - transition.at)),
            node=self._node,
            group=group,
            before=transition.before.value,
            after=transition.after.value,
            reason=transition.reason.value,
            detail=transition.detail,
            epoch=transition.epoch,
            seconds=None if began is None else round(transition.at - began, 6),
            stages=self._stages.pop(group, {}),
        )
        self._since[group] = transition.at
        self.history.record(entry)
        self.metrics.changed(group, entry["after"], entry["reason"], transition.epoch)
        emit(
            _log,
            _find_level(transition),
            "transition",
            time=entry["time"],
            **{"group": group, "from": entry["before"], "to": entry["after"], "reason": entry["reason"]},
            epoch=transition.epoch or None,
            detail=transition.detail,
            after_seconds=entry["seconds"],
            **{f"{name}_seconds": seconds for name, seconds in entry["stages"].items()},
        )

    def ran(self, event: Ran) -> None:
        """Counts and logs a step that ended. Refreshing is routine, so it is logged only when it fails."""
        self.metrics.ran(event.group, event.step.value, event.seconds, failed=event.error is not None)
        if event.step is not Step.REFRESH:
            stages = self._stages.setdefault(event.group, {})
            stages[event.step.value] = round(stages.get(event.step.value, 0.0) + event.seconds, 6)
        if event.error is not None:
            self._step(logging.WARNING, "step failed", event)
        elif event.step is not Step.REFRESH:
            self._step(logging.DEBUG, "step done", event)

    def _step(self, level: int, msg: str, event: Ran) -> None:
        fields = {"group": event.group, "step": event.step.value, "epoch": event.epoch, "error": event.error}
        emit(_log, level, msg, **fields, seconds=round(event.seconds, 6))

    def judged(self, event: Judged) -> None:
        """Reports that this node has become fit or unfit to serve the group."""
        self.metrics.healthy.labels(event.group).set(event.healthy)
        msg = "healthy" if event.healthy else "unhealthy"
        emit(_log, logging.INFO if event.healthy else logging.WARNING, msg, group=event.group, why=event.why)

    def drifted(self, event: Drifted) -> None:
        """Reports a drift, which is being corrected."""
        self.metrics.drift.labels(event.group).inc()
        emit(_log, logging.WARNING, "drift", group=event.group, what=event.what)

    def looked(self, group: str, error: str = "") -> None:
        """Counts a look. `error`: why the cloud gave no answer, which changes nothing; empty if it did."""
        self.metrics.looked(group, failed=bool(error))
        if error:
            emit(_log, logging.WARNING, "look failed", group=group, error=error)

    def repaired(self, group: str) -> None:
        """Reports that the cloud leads here again after a drift."""
        self.metrics.repairs.labels(group).inc()
        emit(_log, logging.INFO, "drift repaired", group=group)

    def requested(self, op: Op, outcome: RequestOutcome, seconds: float, error: str = "") -> None:
        """Counts a request to the store that ended. Logs when reads or writes are no longer answered, or again."""
        self.metrics.requests.labels(op.value, outcome.value).inc()
        self.metrics.request_seconds.labels(op.value).observe(seconds)
        if op is Op.WRITE:
            self.metrics.writes.inc()
        if outcome in (RequestOutcome.OK, RequestOutcome.REFUSED):
            if self.contact.answered(op.value, self._now()):
                emit(_log, logging.INFO, "store answers again", op=op.value)
        elif self.contact.failed(op.value, error):
            emit(_log, logging.WARNING, "store does not answer", op=op.value, error=error)
        self._follow_contact(seconds)

    def _follow_contact(self, seconds: float) -> None:
        reachable = self.contact.reachable is True
        self.metrics.reachable.set(reachable)
        if not reachable and self.cut_off_since is None:
            last = self._now() - seconds if self.contact.at is None else self.contact.at
            self.cut_off_since = self._wall() - (self._now() - last)
            self.chronicle.cut_off(self.cut_off_since)
        elif reachable and self.cut_off_since is not None:
            self.chronicle.cut_off(self.cut_off_since, self._wall())
            self.cut_off_since = None

    def claimed(self, groups: Mapping[str, str]) -> None:
        """Reports by whom each group's addresses are claimed in another group; empty: by nobody. Logs changes."""
        for group, blocked in groups.items():
            before = self._blocked.get(group, "")
            if blocked == before:
                continue
            self._blocked[group] = blocked
            self.metrics.conflict(group, bool(blocked))
            if blocked:
                emit(_log, logging.WARNING, "address claimed by another group", group=group, why=blocked)
            else:
                emit(_log, logging.INFO, "address no longer claimed by another group", group=group, was=before)

    def credentials(self, found: Sequence[Credential]) -> None:
        """Reports when the store's credentials end. Logs once those that end soon."""
        self.metrics.credentials({each.name: each.ends_at for each in found})
        soon = {each.name: each.ends_at for each in found if each.ends_soon(self._wall())}
        for name in sorted(soon.keys() - self._ending):
            emit(_log, logging.WARNING, "credential ends soon", credential=name, ends=utc(soon[name]))
        self._ending = frozenset(soon)

    def unreadable(self, problems: Mapping[str, str]) -> None:
        """Reports the keys of the store that cannot be read, and why: each key once, until it can be read or is gone.

        Only `_MOST_KEYS` of them are logged, because another program could write any number.
        """
        self.metrics.unreadable.set(len(problems))
        for key in sorted(self._unreadable.difference(problems)):
            emit(_log, logging.INFO, "record is readable again, or gone", key=key)
        known = self._unreadable.intersection(problems)
        fresh = sorted(problems.keys() - known)[: max(_MOST_KEYS - len(known), 0)]
        for key in fresh:
            emit(_log, logging.WARNING, "record cannot be read", key=key, problem=problems[key])
        self._unreadable = known.union(fresh)

    def differing(self, nodes: Mapping[str, Sequence[str]]) -> None:
        """Reports in what other nodes' configurations differ from this one. Logs each change once."""
        if nodes == self._differing:
            return
        for node in nodes.keys() - self._differing.keys() | {n for n in nodes if nodes[n] != self._differing.get(n)}:
            emit(_log, logging.WARNING, "configuration differs", of=node, differs="; ".join(nodes[node]))
        for node in self._differing.keys() - nodes.keys():
            emit(_log, logging.INFO, "configuration no longer differs", of=node)
        self._differing = dict(nodes)
        self.metrics.differing.set(len(nodes))

    def paused(self, pause: Cluster | None) -> None:
        """Reports that the cluster is paused, or paused anew, or resumed (None)."""
        self.metrics.paused.set(pause is not None)
        if pause is None:
            emit(_log, logging.INFO, "resumed")
            return
        told = {"by": pause.by, "node": pause.node, "seconds": pause.lasts, "why": pause.why}
        emit(_log, logging.WARNING, "paused", **{name: value or None for name, value in told.items()})

    def render(self, expires_at: Mapping[str, float | None], pause: tuple[float, float | None] | None = None) -> bytes:
        """Renders the metrics. `expires_at`: when each group's grant ends, None where there is none.

        `pause`: since when the cluster is paused, and when that ends by itself, if it does.
        """
        now = self._now()
        since, ends = pause or (now, now)
        self.metrics.paused_for(now - since, inf if ends is None else ends - now)
        return self.metrics.render({group: at - now for group, at in expires_at.items() if at is not None})


def _find_level(transition: Transition) -> int:
    lost = transition.after is Role.DEMOTING and transition.reason in _LOSSES
    return logging.WARNING if lost or transition.after in _BAD else logging.INFO


def _emit_event(entry: ChronicleEntry) -> None:
    """Logs one event of the cluster. Of a change of owner, only what was not logged before is new."""
    told = {name: entry[name] for name in ("was", "why", "detail", "asked_by", "since", "told_by", "shut")}
    if entry["kind"] == LEFT:
        emit(_log, logging.INFO, "member left", **told)
    elif entry["kind"] == OWNER:
        emit(
            _log, logging.INFO, "owner", group=entry["group"], epoch=entry["epoch"], owner=entry["owner"] or "nobody",
            **told, taken_as=entry["taken_as"], served=entry["served"], gap_seconds=entry["gap_seconds"],
        )  # fmt: skip
