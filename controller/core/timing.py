"""The inequality that safety rests on: how long a lease, a grant and a pause between renewals may be. Pure."""

from __future__ import annotations

from dataclasses import dataclass

ROUNDS_PER_GRANT = 4  # renewals are sent this often in the time that one of them gives


@dataclass(frozen=True, slots=True)
class Timing:
    """The lease's durations in seconds, `drift` as a ratio. Same on all nodes of a cluster.

    - `lease_duration`: how long a standby must watch a session stay the same before it may fence it.
    - `renew_deadline`: how long after a renewal was *sent* its node may serve.
    - `retry_period`: pause between renewals.
    - `drift`: how far the rate of a clock may be off. NTP slews by up to 0.0005, chrony by more.
    - `overshoot`: how late the kernel may end an address: 0.05 for the guard, 1.0 for valid_lft alone.
    """

    lease_duration: float
    renew_deadline: float
    retry_period: float
    drift: float = 0.01
    overshoot: float = 0.05

    @classmethod
    def derive(cls, lease_duration: float, *, drift: float = 0.01, overshoot: float = 0.05) -> Timing:
        """Seven tenths of the lease to serve on one renewal, and a renewal each quarter of that.

        So a daemon that dies has over half a lease to be back and adopt, and what is left of the lease beyond the
        seven tenths, less drift and overshoot, is what a virtual machine may be stopped for unseen.
        """
        longest = longest_renew_deadline(lease_duration, drift, overshoot)
        renew_deadline = min(lease_duration * 0.7, longest)
        return cls(lease_duration, renew_deadline, renew_deadline / ROUNDS_PER_GRANT, drift, overshoot)

    def problems(self) -> list[str]:
        """Every relation that cannot be safe or cannot work, by the names the configuration uses."""
        found = []
        longest = longest_renew_deadline(self.lease_duration, self.drift, self.overshoot)
        if self.renew_deadline > longest:
            found.append(
                f"renew_deadline_seconds {self.renew_deadline:g} is too long for duration_seconds "
                f"{self.lease_duration:g}: at most {longest:.3f} "
                f"(clock drift {self.drift:g}, kernel overshoot {self.overshoot:g} s)",
            )
        if not 0 < self.retry_period < self.renew_deadline / 2:
            found.append(
                f"retry_period_seconds {self.retry_period:g} must be above 0 and below half of "
                f"renew_deadline_seconds {self.renew_deadline:g}",
            )
        return found

    @property
    def call_timeout(self) -> float:
        """How long one store call may take, so that a second one fits before the grant ends."""
        return max((self.renew_deadline - self.retry_period) / 2, self.retry_period / 2)


def longest_renew_deadline(lease_duration: float, drift: float, overshoot: float) -> float:
    """The most that renew_deadline may be: lease >= (deadline / (1 - drift) + overshoot) * (1 + drift)."""
    return (lease_duration / (1 + drift) - overshoot) * (1 - drift)
