"""What the store's answers say of the contact with it: whether reads and writes are answered, each by itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

_NAMES = {"read": "reads", "write": "writes"}


@dataclass(slots=True)
class Contact:
    """The contact with the store, as the last request of each operation left it."""

    at: float | None = None  # when the store last answered, on this node's clock
    _failing: dict[str, str] = field(default_factory=dict)  # the operations without an answer, and why

    @property
    def reachable(self) -> bool | None:
        """Whether all operations are answered. None: nothing was asked yet."""
        return False if self._failing else None if self.at is None else True

    @property
    def error(self) -> str:
        """Why operations are not answered, empty if all are."""
        reasons = dict.fromkeys(self._failing.values())
        if len(self._failing) == len(_NAMES) and len(reasons) == 1:
            return next(iter(reasons))
        return "; ".join(f"{_NAMES[operation]}: {why}" for operation, why in self._failing.items())

    def answered(self, operation: str, now: float) -> bool:
        """Note an answer. Returns whether it is the first one after a failure of this operation."""
        self.at = now
        return self._failing.pop(operation, None) is not None

    def failed(self, operation: str, error: str) -> bool:
        """Note a failure. Returns whether it is the first one of this operation."""
        first = operation not in self._failing
        self._failing[operation] = error
        return first
