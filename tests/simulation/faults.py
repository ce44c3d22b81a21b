"""What goes wrong in a seed, and when. Each public method of `Faults` after `heal` is one kind of fault."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from controller.core.events import Asked, Drifted, PauseAsked, Stop, Withdrawn
from controller.core.records import CLUSTER, GROUPS, SESSIONS
from tests.simulation.invariants import ownership_in
from tests.simulation.loop import STEP
from tests.simulation.network import Hold
from tests.simulation.process import Trap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from controller.core.events import Event
    from controller.core.machine import GroupPolicy
    from tests.simulation.cluster import Cluster
    from tests.simulation.host import Host
    from tests.simulation.profiles import Setting
    from tests.simulation.world import Storm

Groups: TypeAlias = "Mapping[str, GroupPolicy]"
STEPS = (  # the micro-steps before which a fault does the most harm
    ("timer", ""), ("observe", "TimerStarted"), ("send", "sessions/"), ("reply", "sessions/"), ("observe", "Wrote"),
    ("send", "read"), ("reply", "read"), ("observe", "Listed"), ("arm", ""), ("observe", "Armed"), ("shut", ""),
    ("observe", "Ran"), ("send", "groups/"), ("reply", "groups/"), ("observe", "Unsure"), ("observe", "Refused"),
    ("observe", "Started"), ("observe", "Cleared"), ("step", "demote"), ("step", "bind"), ("step", "shut"),
    ("observe", "Judged"), ("observe", "Tick"), *((STEP, ""),) * 5,
)  # fmt: skip


class Faults:
    """Draws one fault after another until `heal`."""

    def __init__(self, cluster: Cluster, setting: Setting, storm: Storm, rng: Random) -> None:
        self._cluster, self._setting, self._storm, self._rng = cluster, setting, storm, rng
        self._world = cluster.world
        self._lease = cluster.timing.lease_duration
        self._stopped = False
        self._kinds = list(setting.profile.faults)
        self._weights = list(setting.profile.faults.values())

    def begin(self) -> None:
        """Start the machines one after another, then the faults."""
        for host in self._cluster.hosts.values():
            self._later(self._rng.choice((0.0, self._span(0, 2))), host.start)
        self._setting.profile.set_weather(self._storm, self._rng, self._lease)
        self._world.after(self._span(1, 2.5), self._next)

    def _next(self) -> None:
        if self._stopped:
            return
        kind = self._rng.choices(self._kinds, self._weights)[0]
        getattr(self, kind)(self._some_host())
        self._world.after(self._rng.expovariate(1 / (self._setting.profile.pause * self._lease)), self._next)

    def heal(self) -> None:
        """Stop the faults and undo those that last."""
        self._stopped = True
        cluster = self._cluster
        cluster.story.chapter("", lambda: "all faults are healed")
        self._storm.settle()
        cluster.network.holds.clear()
        cluster.network.forget()
        cluster.store.down = 0
        for key in [key for key, entry in cluster.store.entries.items() if entry.value == b"oops"]:
            cluster.delete(key)
        for host in cluster.hosts.values():
            self._heal_host(host)
        for leases in (0.2, 0.6):  # a daemon that was frozen while it left still waits for its calls
            self._world.after(leases * self._lease, self._heal_again)

    def _heal_again(self) -> None:
        """Undo what thawed daemons have done since: a stop or a pause that they were asked for while frozen."""
        for host in self._cluster.hosts.values():
            host.start()
            host.post(PauseAsked(paused=False))

    def _heal_host(self, host: Host) -> None:
        host.clear_traps()
        host.cut = host.blind = False
        while host.process is not None and not host.process.awake:
            host.thaw()
        host.reload(host.groups)
        host.start()
        for group in host.groups:
            host.judge(group, True)
        host.post(PauseAsked(paused=False))

    # --- daemons

    def freeze(self, host: Host) -> None:
        host.freeze(self._span(0, 2.5))

    def freeze_at(self, host: Host) -> None:
        self._trap(host, lambda: host.freeze(self._span(0.1, 2.5)))

    def kill(self, host: Host) -> None:
        host.kill()
        self._revive(host)

    def kill_at(self, host: Host) -> None:
        self._trap(host, lambda: self.kill(host))

    def stop(self, host: Host) -> None:
        host.post(Stop())
        self._later(self._span(0.3, 2), host.start)

    def fail(self, _: Host) -> None:
        """Make steps and calls into the kernel fail for a while."""
        before = self._storm.fail, self._storm.kernel_fail
        self._storm.fail, self._storm.kernel_fail = 0.5, self._rng.choice((0.0, 0.2))
        self._later(self._span(0.2, 1), self._end_failing, *before)

    def _end_failing(self, fail: float, kernel_fail: float) -> None:
        self._storm.fail, self._storm.kernel_fail = fail, kernel_fail

    def reload(self, host: Host) -> None:
        """Change the host's configuration for a while: change a group's priority, or remove the group."""
        group = self._some_group()
        changed = dict(host.groups)
        if self._rng.random() < 0.5:
            del changed[group]
        else:
            changed[group] = replace(changed[group], priority=self._rng.choice((0, 1, 200)))
        host.reload(changed)
        self._later(self._span(0.3, 2), host.reload, host.groups)

    def edit(self, host: Host) -> None:
        """Edit what the host's groups move, as an operator does on one node after the other, or on one by mistake."""
        one, two = self._rng.sample(self._cluster.groups, 2)
        how = self._rng.choice((self._renamed, self._exchanged, self._moved, self._grown))
        hosts = [host] if self._rng.random() < 0.5 else list(self._cluster.hosts.values())
        delay = 0.0
        for each in hosts:
            self._later(delay, each.reload, how(each.groups, one, two))
            delay += self._span(0, 1)
        for each in hosts:
            self._later(delay + self._span(0, 2), each.reload, each.groups)

    @staticmethod
    def _renamed(groups: Groups, one: str, two: str) -> Groups:
        rest = {name: own for name, own in groups.items() if name != one}
        return {**rest, two: replace(groups[two], claims=groups[one].claims)}

    @staticmethod
    def _exchanged(groups: Groups, one: str, two: str) -> Groups:
        first, second = (replace(groups[a], claims=groups[b].claims) for a, b in ((one, two), (two, one)))
        return {**groups, one: first, two: second}

    @staticmethod
    def _moved(groups: Groups, one: str, two: str) -> Groups:
        moved = frozenset({min(groups[one].claims)})
        less, more = groups[one].claims - moved, groups[two].claims | moved
        return {**groups, one: replace(groups[one], claims=less), two: replace(groups[two], claims=more)}

    @staticmethod
    def _grown(groups: Groups, one: str, two: str) -> Groups:  # noqa: ARG004
        return {**groups, one: replace(groups[one], claims=groups[one].claims | {"new"})}

    def flush(self, host: Host) -> None:
        host.flush()

    def drift(self, host: Host) -> None:
        host.post(Drifted(self._some_group(), "address gone"))

    def _revive(self, host: Host) -> None:
        """Start a daemon again, early enough to adopt or later.

        It comes back with its state, without it, after a reboot, or under another name.
        """
        how = self._rng.choices(("adopt", "fresh", "reboot", "renamed"), (4, 2, 2, 1))[0]
        delay = self._rng.choice((self._span(0, 0.3), self._span(0, 2)))
        if how == "fresh":
            host.forget()
        elif how == "reboot":
            host.reboot()
        elif how == "renamed":
            host.node = f"{host.name}{self._rng.randrange(100)}"
        self._later(delay, host.start)

    # --- what people ask for, and checks

    def ask(self, host: Host) -> None:
        to = self._rng.choice((None, self._some_host().node))
        group = self._some_group()
        host.post(Asked(group, to))
        self._later(0.5 * self._lease, host.post, Withdrawn(0, group))

    def unfit(self, host: Host) -> None:
        group = self._some_group()
        host.judge(group, healthy=False)
        self._later(self._span(0.3, 2), host.judge, group, True)

    def pause(self, host: Host) -> None:
        host.post(PauseAsked(paused=True, lasts=1.5 * self._lease))
        self._later(0.3 * self._lease, host.post, Withdrawn(0))
        self._later(self._span(0.5, 2), self._ask_all, PauseAsked(paused=False))

    def _ask_all(self, event: Event) -> None:
        for host in self._cluster.hosts.values():
            host.post(event)

    # --- the network

    def cut(self, host: Host) -> None:
        self._set_cut(host, cut=True)
        self._later(self._span(0, 2.5), self._set_cut, host, False)

    def _set_cut(self, host: Host, cut: bool) -> None:
        host.tell(f"({'cut off from' if cut else 'reaches'} the store)")
        host.cut = cut

    def blind(self, host: Host) -> None:
        """Lose the host's reads for a while, as a store that throttles them does. Its writes still land."""
        self._set_blind(host, blind=True)
        self._later(self._span(0.5, 3), self._set_blind, host, False)

    def _set_blind(self, host: Host, blind: bool) -> None:
        host.tell(f"({'cannot read' if blind else 'reads'} the store)")
        host.blind = blind

    def late_beat(self, host: Host) -> None:
        """Make a renewal land late, and perhaps freeze its node until then."""
        self._hold(host, SESSIONS)
        if self._rng.random() < 0.5:
            self._later(0.01, host.freeze, self._span(0.5, 2))

    def late_answer(self, host: Host) -> None:
        self._hold(host, self._rng.choice((SESSIONS, GROUPS, "read", "read")), reply=True)

    def late_take(self, host: Host) -> None:
        """Make the host's next write about a group land late, perhaps just when it is about to lose its groups."""
        self._hold(host, GROUPS)
        other = self._some_host()
        if self._rng.random() < 0.7:
            self._rng.choice((self.kill, self.unfit, self.stop))(other)

    def late_give_up(self, _: Host) -> None:
        """Make an owner's giving up of a group land late, and perhaps kill the owner and let it adopt until then."""
        group = self._some_group()
        owner = self._owner(group)
        if owner is None:
            return
        self._hold(owner, GROUPS + group, what="lost" if self._rng.random() < 0.1 else "held")
        if self._rng.random() < 0.5:
            owner.trap(Trap("send", GROUPS, lambda: self._later(0.01, self.kill, owner)))
        self._rng.choice((self._ask_away, self.unfit, self.stop))(owner)

    def _ask_away(self, owner: Host) -> None:
        for group in owner.groups:
            owner.post(Asked(group, None))

    # --- the store

    def outage(self, _: Host) -> None:
        self._cluster.stop_store()
        self._later(self._span(0, 2), self._cluster.start_store)

    def restore(self, _: Host) -> None:
        """Restore a backup after the store has been down for a lease."""
        backup = self._cluster.store.snapshot()
        self._later(self._span(0.2, 2), self._restore_safely, backup)

    def _restore_safely(self, backup: object) -> None:
        self._cluster.stop_store()
        self._later(self._lease * 1.1 + self._span(0, 0.5), self._end_restore, backup)

    def _end_restore(self, backup: object) -> None:
        self._cluster.restore(backup, rewind=self._rng.random() < 0.5)  # type: ignore[arg-type]
        self._cluster.start_store()

    def delete_group(self, _: Host) -> None:
        self._cluster.delete(GROUPS + self._some_group())

    def delete_session(self, _: Host) -> None:
        keys = [key for key in self._cluster.store.entries if key.startswith(SESSIONS)]
        if keys:
            self._cluster.delete(self._rng.choice(keys))

    def wipe(self, _: Host) -> None:
        for key in list(self._cluster.store.entries):
            self._cluster.delete(key)

    def scribble(self, _: Host) -> None:
        key = self._rng.choice([*self._cluster.store.entries, CLUSTER])
        self._cluster.scribble(key)
        self._later(self._span(0.2, 2), self._clean, key)

    def _clean(self, key: str) -> None:
        entry = self._cluster.store.entries.get(key)
        if entry is not None and entry.value == b"oops":
            self._cluster.delete(key)

    # --- drawing

    def _some_host(self) -> Host:
        return self._rng.choice(list(self._cluster.hosts.values()))

    def _some_group(self) -> str:
        return self._rng.choice(self._cluster.groups)

    def _owner(self, group: str) -> Host | None:
        entry = self._cluster.store.entries.get(GROUPS + group)
        owner = ownership_in(entry.value) if entry else None
        return None if owner is None or owner.session is None else self._cluster.invariants.sessions[owner.session]

    def _span(self, least: float, most: float) -> float:
        return self._rng.uniform(least, most) * self._lease

    def _hold(self, host: Host, prefix: str, *, reply: bool = False, what: str = "held") -> None:
        self._cluster.network.holds.append(Hold(host.name, prefix, self._span(0, 3), reply, what))

    def _trap(self, host: Host, spring: Callable[[], None]) -> None:
        kind, detail = self._rng.choice(STEPS)
        host.trap(Trap(kind, detail, spring))

    def _later(self, delay: float, call: Callable[..., None], *args: object) -> None:
        self._world.after(delay, self._unless_stopped, call, args)

    def _unless_stopped(self, call: Callable[..., None], args: tuple[object, ...]) -> None:
        if not self._stopped:
            call(*args)
