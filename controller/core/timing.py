"""The inequality that safety rests on: it bounds a lease, a grant and the pause between renewals. Pure."""

from __future__ import annotations

from dataclasses import dataclass

ROUNDS_PER_GRANT = 4  # how many renewals are sent in the time that one of them grants
LONGEST_LEASE = 3600  # seconds; the configuration allows no longer one, and no record says more


@dataclass(frozen=True, slots=True)
class Timing:
    """The durations of a lease in seconds, and `drift` as a ratio. The same on all nodes of a cluster.

    - `lease_duration`: how long a standby must watch a session stay the same before it may fence it.
    - `renew_deadline`: how long after a renewal was *sent* its node is allowed to serve.
    - `retry_period`: the time from one renewal to the next.
    - `drift`: how far the rate of a clock can be off. NTP slews by up to 0.0005, chrony by more.
    - `overshoot`: how late the kernel can end an address: 0.05 for the guard, 1.0 for valid_lft alone.
    """

    lease_duration: float
    renew_deadline: float
    retry_period: float
    drift: float = 0.01
    overshoot: float = 0.05

    @classmethod
    def derive(cls, lease_duration: float, *, drift: float = 0.01, overshoot: float = 0.05) -> Timing:
        """Derives a grant of at most seven tenths of the lease, and a renewal each quarter of the grant.

        A daemon that dies therefore has more than half a lease to come back and adopt. The other three tenths, less
        drift and overshoot, are how long a virtual machine can be stopped without its clocks seeing it.
        """
        longest = longest_renew_deadline(lease_duration, drift, overshoot)
        renew_deadline = min(lease_duration * 0.7, longest)
        return cls(lease_duration, renew_deadline, renew_deadline / ROUNDS_PER_GRANT, drift, overshoot)

    def problems(self) -> list[str]:
        """Returns every relation that is unsafe or cannot work, in the names that the configuration uses."""
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
        """How long one store call is allowed to take, so that a second one fits before the grant ends."""
        return max((self.renew_deadline - self.retry_period) / 2, self.retry_period / 2)


def longest_renew_deadline(lease_duration: float, drift: float, overshoot: float) -> float:
    """Returns the longest safe renew_deadline: lease >= (deadline / (1 - drift) + overshoot) * (1 + drift)."""
    return (lease_duration / (1 + drift) - overshoot) * (1 - drift)
