"""What a vendor's error means for the caller, as each cloud's `translate(error)` decides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that failed: why, whether to retry it, and after how many seconds if the platform names them."""

    message: str
    retry: bool
    after: float | None = None
