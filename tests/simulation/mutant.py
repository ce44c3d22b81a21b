"""What a simulated cluster can lack: one rule of the core, of the daemon, of the kernel or of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from controller.core import claims
from controller.core.rules import Rules
from controller.core.state import State
from controller.core.timing import Timing, longest_renew_deadline
from controller.daemon.executor import Executor
from controller.daemon.steps import GroupSteps
from tests.simulation.effects import SimulatedGuard
from tests.simulation.kernel import Kernel
from tests.simulation.process import Process


@dataclass(frozen=True, slots=True)
class Mutant:
    """A cluster without one rule. `happens` says in a few words what results from that."""

    name: str
    rule: str
    happens: str
    rules: type[Rules] = Rules
    guard: type[SimulatedGuard] = SimulatedGuard
    kernel: type[Kernel] = Kernel
    process: type[Process] = Process
    executor: type[Executor] = Executor
    steps: type[GroupSteps] = GroupSteps
    may_use: Callable[[State, str, frozenset[str]], bool] = claims.may_use
    stretch: float = 1.0  # multiplies the longest safe renew_deadline

    def stretched(self, timing: Timing) -> Timing:
        """Return the timing that this mutant allows."""
        if self.stretch == 1.0:
            return timing
        longest = longest_renew_deadline(timing.lease_duration, timing.drift, timing.overshoot)
        return replace(timing, renew_deadline=longest * self.stretch)


NONE = Mutant("none", "every rule holds", "nothing")
