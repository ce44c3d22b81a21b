"""Classifies failures by the request's effect: `NotDone` has none, `OutcomeUnknown` may have one."""

from __future__ import annotations

from controller.stores.base import StoreError


class NotDone(StoreError):  # noqa: N818  (what is known of a request)
    """The request was not carried out and never will be. It can be repeated, `after` seconds later if that is given."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class OutcomeUnknown(StoreError):  # noqa: N818  (the same)
    """The request may have been carried out, or may be later. It is repeated only if a second one does no harm."""
