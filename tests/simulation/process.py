"""One life of a daemon: the real core, and an executor whose every small step can be the one before which it freezes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.core import machine
from controller.core.events import (
    Action,
    Arm,
    Armed,
    Clear,
    Cleared,
    Event,
    Exit,
    Failed,
    Listed,
    Mint,
    Minted,
    Ran,
    Read,
    Refused,
    Run,
    Save,
    Started,
    StartTimer,
    Step,
    Tick,
    TimerStarted,
    Unsure,
    Write,
    Wrote,
)
from tests.simulation.network import Message
from tests.simulation.world import Violation

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.host import Host
    from tests.simulation.network import Answer

BUSY = 1000  # decisions in one retry_period: no work explains that many


@dataclass(frozen=True, slots=True)
class Trap:
    """Springs before a micro-step of this kind whose detail begins like this (see `Process.step`)."""

    kind: str
    detail: str
    spring: Callable[[], None]


class Process:
    """The daemon: events in, decisions out, actions carried out. Dead for ever once killed."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.cluster = host.cluster
        self.clock = host.clock
        self.policy = host.policy()
        self.state = machine.initial(self.policy)
        self.dead = False
        self.until = dict.fromkeys(host.groups, 0.0)
        self._frozen = 0
        self._backlog: list[tuple[str, str, Callable[..., None], tuple[Any, ...]]] = []
        self._waiting: dict[int, tuple[float, Read | Write]] = {}
        self._loop_free_at = 0.0
        self._wake_at: float | None = None
        self._busy = (0.0, 0)

    # --- being alive, more or less

    @property
    def awake(self) -> bool:
        """Whether it can do anything."""
        return not self.dead and not self._frozen

    def begin(self) -> None:
        """It holds the lock: look at what is left of the life before, and start."""
        passing, slot = self.host.kernel.inspect()
        saved = self.host.saved if self.host.saved and self.host.saved.boot_id == self.policy.boot_id else None
        wall_offset = self.cluster.unix_time() - self.clock.at(self.cluster.world.now)
        self.post(Started(self.host.mint(), self.host.writer(), saved, passing, slot, wall_offset))

    def freeze(self) -> None:
        """SIGSTOP, or no CPU: nothing of it runs until `thaw`."""
        self._frozen += 1

    def thaw(self) -> None:
        """Go on where it stopped, with everything that has become due."""
        self._frozen -= 1
        if not self.awake:
            return
        self.cluster.invariants.answers(self)
        backlog, self._backlog = self._backlog, []
        for kind, detail, call, args in backlog:
            self.cluster.world.after(0.0, self._due, kind, detail, call, args)

    def step(self, delay: float, kind: str, detail: str, call: Callable[..., None], *args: Any) -> None:
        """One micro-step in `delay` true seconds; it can freeze or die before each."""
        self.cluster.world.after(delay, self._due, kind, detail, call, args)

    def _due(self, kind: str, detail: str, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.host.traps and not self.dead and not self._frozen:
            self.host.spring(kind, detail)
        if self.dead:
            return
        if self._frozen:
            self._backlog.append((kind, detail, call, args))
        else:
            call(*args)

    # --- the loop

    def post(self, event: Event) -> None:
        """Put an event into the queue."""
        world = self.cluster.world
        self._loop_free_at = max(self._loop_free_at, world.now) + self.cluster.weather.loop()
        self.step(self._loop_free_at - world.now, "observe", type(event).__name__, self._observe, event)

    def _observe(self, event: Event) -> None:
        now = self.clock.at(self.cluster.world.now)
        state = machine.observe(self.state, event, now, self.policy)
        decision = machine.decide(state, now, self.policy)
        self.state = decision.state
        self.cluster.story.decided(self, event, decision)
        self._publish()
        for action in decision.actions:
            self._start(action)
        if decision.wake_at is not None and decision.wake_at != self._wake_at:
            self._set_alarm(decision.wake_at)

    def _publish(self) -> None:
        """What the health endpoint answers with from now on."""
        now, began = self.cluster.world.now, False
        for group, before in self.until.items():
            until = machine.serving_until(self.state, group)
            self.until[group] = after = 0.0 if until is None else self.clock.true(until)
            began = began or (after > now >= before)
        if began:
            self.cluster.invariants.answers(self)

    def _set_alarm(self, at: float) -> None:
        self._check_pace()
        self._wake_at = at
        self.cluster.world.after(max(self.clock.true(at) - self.cluster.world.now, 0.0), self._alarm, at)

    def _alarm(self, at: float) -> None:
        if at == self._wake_at:
            self._wake_at = None
            self.post(Tick())

    def _check_pace(self) -> None:
        since, decisions = self._busy
        if self.cluster.world.now > since + self.policy.timing.retry_period:
            since, decisions = self.cluster.world.now, 0
        if decisions > BUSY:
            raise Violation(f"{self.host.name} decides without end")
        self._busy = since, decisions + 1

    # --- the executor

    def _start(self, action: Action) -> None:
        match action:
            case Read() | Write():
                self._request(action)
            case Run() if action.step is not Step.SHUT:
                self._run(action)
            case StartTimer() | Arm() | Clear() | Run():
                self._call_kernel(action)
            case Save():
                self.host.saved = action.saved
            case Mint():
                self.post(Minted(self.host.mint()))
            case Exit():
                self.host.left(keep=action.keep)

    def _request(self, action: Read | Write) -> None:
        self._waiting[action.request] = self.clock.at(self.cluster.world.now), action
        self.step(self.policy.timing.call_timeout / self.clock.rate, "deadline", "", self._deadline, action.request)
        key = action.key if isinstance(action, Write) else "read"
        self.step(self.cluster.weather.loop(), "send", key, self._send, action)

    def _send(self, action: Read | Write) -> None:
        self.cluster.network.send(Message(self, action, self.cluster.world.now))

    def _deadline(self, request: int) -> None:
        if request in self._waiting:
            _, action = self._waiting.pop(request)
            self.post((Failed if isinstance(action, Read) else Unsure)(request, "no answer in time"))

    def answered(self, action: Read | Write, answer: Answer) -> None:
        """The answer is in the socket."""
        key = action.key if isinstance(action, Write) else "read"
        self.step(self.cluster.weather.loop(), "reply", key, self._reply, action.request, answer)

    def _reply(self, request: int, answer: Answer) -> None:
        if request not in self._waiting:
            return
        sent_at, _ = self._waiting.pop(request)
        if answer is None:
            self.post(Refused(request))
        elif isinstance(answer, str):
            self.post(Wrote(request, sent_at, answer))
        else:
            self.post(Listed(request, sent_at, answer))

    def _run(self, action: Run) -> None:
        seconds, error = self.cluster.weather.step(action.step)
        self.step(seconds, "step", action.step.value, self._ran, action, seconds, error)

    def _ran(self, action: Run, seconds: float, error: str | None) -> None:
        late = action.step in {Step.BIND, Step.REFRESH} and self.clock.at(self.cluster.world.now) >= action.expires_at
        self.post(Ran(action.group, action.epoch, action.step, "the grant has ended" if late else error, seconds))

    # --- the calls into the kernel: tasks of their own, so they may overtake each other

    def _call_kernel(self, action: StartTimer | Arm | Clear | Run) -> None:
        loop = self.cluster.weather.loop()
        match action:
            case StartTimer():
                self.step(loop, "clock", "", self._read_clock, action)
            case Arm():
                self.step(loop, "ready", "", self._prepare_arm, action)
            case Clear():
                self.step(loop, "clear", "", self._clear)
            case Run():
                self.step(loop, "shut", action.group, self._shut, action)

    def _said(self, event: Event, after: float = 0.0) -> None:
        """The kernel has answered; the daemon learns of it one micro-step later."""
        self.step(after + self.cluster.weather.loop(), "said", type(event).__name__, self.post, event)

    def _read_clock(self, action: StartTimer) -> None:
        at = self.clock.at(self.cluster.world.now)
        self.step(self.cluster.weather.loop(), "timer", "", self._start_timer, action, at)

    def _start_timer(self, action: StartTimer, at: float) -> None:
        done, error = self.cluster.weather.kernel()
        if done:
            self.host.kernel.start(action.slot, action.seconds)
        self._said(TimerStarted(action.slot, at, error))

    def _prepare_arm(self, action: Arm) -> None:
        self.step(self.cluster.weather.loop(), "arm", "", self._arm, action)

    def _arm(self, action: Arm) -> None:
        done, error = self.cluster.weather.kernel()
        if done:
            self.host.kernel.arm(action.slot, action.groups)
            self.cluster.invariants.armed(self.host, action.groups)
        self._said(Armed(action.slot, action.groups, error))

    def _shut(self, action: Run) -> None:
        done, error = self.cluster.weather.kernel()
        if done:
            self.host.kernel.shut({action.group})
        seconds, _ = self.cluster.weather.step(Step.SHUT)  # the addresses go after the guard is shut
        self._said(Ran(action.group, action.epoch, action.step, error, seconds), seconds)

    def _clear(self) -> None:
        done, error = self.cluster.weather.kernel()
        if done:
            self.host.kernel.clear()
        self._said(Cleared(error))
