"""What a vendor's error means for whoever asked: said once per cloud, by its `translate(error)`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that did not succeed: why, whether to try it again, and after how many seconds if the platform said."""

    message: str
    retry: bool
    after: float | None = None
