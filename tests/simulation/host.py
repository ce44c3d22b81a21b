"""A machine with its clock, its kernel, its state directory, and at most one daemon at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from controller.core.events import GuardLost, Judged, Tick
from controller.core.machine import GroupPolicy, Policy
from controller.core.records import SessionId
from controller.core.rules import Rules
from tests.simulation.world import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.core.events import Event
    from controller.core.state import State
    from tests.simulation.cluster import Cluster, HostPlan
    from tests.simulation.process import Process, Trap


class BrokenRules(Rules):
    """Raises an error in each decision about a group that this node owns."""

    def grant_ends(self, renewed_at: float, confirmed_at: float, renew_deadline: float) -> float:  # noqa: ARG002
        raise ZeroDivisionError("a bug")


class Host:
    """A machine. `name` is unique; `node` is the name that its daemon uses, which two machines can share."""

    def __init__(self, cluster: Cluster, plan: HostPlan) -> None:
        self.cluster, self.name, self.node = cluster, plan.name, plan.node
        self.groups = self.configured = plan.groups
        self.timing = cluster.mutant.stretched(plan.timing)
        self.healthy = dict.fromkeys(plan.groups, True)
        self.uses: dict[str, frozenset[str]] = {}  # what the daemon's groups move now
        self.settled_at = 0.0
        self.cut = False
        self.blind = self.broken = False
        self.traps: list[Trap] = []
        self.process: Process | None = None
        self.state_dir = cluster.state_dir / plan.name
        self._boots, self._lives, self._sessions = count(1), count(1), count(1)
        self.boot(plan.clock)

    def boot(self, clock: Clock) -> None:
        """Start the machine with a new clock, nothing bound, and no state of this boot."""
        self.clock = clock
        self.boot_id = f"{self.name}-boot-{next(self._boots)}"
        self.kernel = self.cluster.mutant.kernel(self.cluster.world, clock, self.cluster.overshoot)

    def policy(self) -> Policy:
        """Return the policy of the machine's daemon."""
        groups = {
            name: replace(own, claims=own.claims | uses, uses=uses, leaves=uses - own.claims)
            for name, own in self.configured.items()
            for uses in (self.uses[name],)
        }
        rules = BrokenRules() if self.broken else self.cluster.mutant.rules()
        return Policy(self.node, self.boot_id, self.timing, groups, rules)

    def mint(self) -> SessionId:
        """Return a session id that was never used before."""
        session = SessionId(f"{self.name}{next(self._sessions)}")
        self.cluster.invariants.sessions[session] = self
        return session

    def writer(self) -> str:
        """Return a nonce for one life of the daemon."""
        return f"{self.name}-life-{next(self._lives)}"

    # --- what can happen to it

    def start(self) -> None:
        """Start the daemon if none runs."""
        if self.process is not None:
            return
        self.uses = {name: own.claims for name, own in self.configured.items()}
        self._install()
        self.process = self.cluster.mutant.process(self)
        self.tell("daemon starts")
        self.settled_at = self.cluster.world.now

    def _install(self) -> None:
        """Install the guard for a new life: what it does not know is shut, and what moves more than before."""
        grown = {name for name, moved in self.uses.items() if not moved <= self.kernel.moves.get(name, frozenset())}
        self.kernel.shut((self.groups.keys() - self.configured.keys()) | grown)
        self.kernel.moves = dict(self.uses)

    def settle(self, state: State) -> None:
        """Put what the configuration moves now in place of what was moved before, where the core allows it."""
        ready = [
            name
            for name, own in self.configured.items()
            if self.uses[name] != own.claims and self.cluster.mutant.may_use(state, name, own.claims)
        ]
        for name in ready:
            self.uses[name] = self.kernel.moves[name] = self.configured[name].claims
            self.tell(f"{name} moves {' '.join(sorted(self.uses[name])) or 'nothing'} from now on")
            self.cluster.invariants.moves(self, name)
        if ready and self.process is not None:
            self.process.node.policy = self.policy()
            self.process.post(Tick())

    def kill(self) -> None:
        """Kill the daemon as SIGKILL does, without a clean stop. The kernel keeps its state."""
        if self.process is not None:
            self.tell("daemon killed")
            self.process.kill()
            self.process = None

    def forget(self) -> None:
        """Remove the state file."""
        (self.state_dir / "session.json").unlink(missing_ok=True)

    def reboot(self) -> None:
        """Reset the machine. Its daemon is not started yet."""
        self.kill()
        self.tell("machine reboots")
        self.boot(replace(self.clock, offset=-self.clock.rate * self.cluster.world.now))

    def left(self) -> None:
        """Record that the daemon has ended by itself."""
        if self.process is not None:
            self.tell("daemon has left")
            self.process.kill()
            self.process = None

    def freeze(self, seconds: float | None = None) -> None:
        """Freeze the daemon for a time, or until `thaw`."""
        if self.process is None:
            return
        self.tell("daemon frozen" + (f" for {seconds:.3f} s" if seconds is not None else ""))
        self.process.freeze()
        if seconds is not None:
            self.cluster.world.after(seconds, self._thaw, self.process)

    def thaw(self) -> None:
        """Let the frozen daemon continue."""
        if self.process is not None:
            self._thaw(self.process)

    def _thaw(self, process: Process) -> None:
        if process is self.process and not process.awake:
            self.tell("daemon thawed")
            process.thaw()

    def judge(self, group: str, healthy: bool) -> None:
        """Let the checks find the group fit or unfit."""
        self.tell(f"checks: {group} {'fit' if healthy else 'unfit'}")
        self.healthy[group] = healthy
        self.settled_at = self.cluster.world.now
        self.post(Judged(group, healthy, "checks"))

    def reload(self, groups: Mapping[str, GroupPolicy]) -> None:
        """Replace the configuration of the machine's daemon."""
        new = [name for name in groups if name not in self.configured]
        self._learn(groups)
        if groups != self.configured:
            told = (f"{name} priority {p.priority} {' '.join(sorted(p.claims))}".strip() for name, p in groups.items())
            self.tell(f"configured anew: {', '.join(told)}")
        self.configured = groups
        if self.process is not None:
            for name in new:
                if self.cluster.mutant.may_use(self.process.state, name, groups[name].claims):
                    self.uses[name] = self.kernel.moves[name] = groups[name].claims
            self.process.node.policy = self.policy()
            self.process.post(Tick())
            for name in new:
                self.process.post(Judged(name, self.healthy[name], "as before"))

    def _learn(self, groups: Mapping[str, GroupPolicy]) -> None:
        """Get ready for groups that the machine has not had before."""
        for name, own in groups.items():
            if name not in self.groups:
                self.groups = {**self.groups, name: own}
                self.healthy[name] = True
                if self.process is not None:
                    self.process.learn(name)

    def set_broken(self, broken: bool) -> None:
        """Make the daemon's decisions about the groups that it owns fail, as a bug would."""
        self.broken = broken
        if self.process is not None:
            self.process.node.policy = self.policy()

    def flush(self) -> None:
        """Flush the guard, as another program can. It is installed again, shut, and the daemon learns of it."""
        self.tell("guard flushed")
        self.kernel.clear()
        self.post(GuardLost())

    def post(self, event: Event) -> None:
        """Post an event to the daemon if one runs."""
        if self.process is not None:
            self.process.post(event)

    def spring(self, kind: str, detail: str) -> None:
        """Spring the first trap that waits for this micro-step."""
        for trap in self.traps:
            if trap.kind == kind and detail.startswith(trap.detail):
                self.traps.remove(trap)
                self._set_trapped()
                self.tell(f"(before the step: {kind} {detail})")
                trap.spring()
                return

    def trap(self, trap: Trap) -> None:
        """Wait for a step of the daemon."""
        self.traps.append(trap)
        self._set_trapped()

    def clear_traps(self) -> None:
        """Remove all traps."""
        self.traps.clear()
        self._set_trapped()

    def _set_trapped(self) -> None:
        if self.process is not None:
            self.process.loop.trapped = bool(self.traps)

    def tell(self, what: str) -> None:
        """Add a chapter about this machine to the story."""
        self.cluster.story.chapter(self.name, lambda: what)

    # --- what can be seen of it

    @property
    def awake(self) -> bool:
        """Whether a daemon runs here that is neither frozen nor dead."""
        return self.process is not None and self.process.awake

    def answers(self, group: str) -> bool:
        """Report whether the health endpoint answers 200 at this moment. A frozen daemon does not answer."""
        process = self.process
        return process is not None and process.awake and process.until.get(group, 0.0) > self.cluster.world.now

    def fit(self, group: str) -> bool:
        """Report whether the machine could serve the group now."""
        return self.awake and not self.cut and self.healthy[group]
