"""What a failure says of its request, and so what may be done about it. A plain StoreError is told at once."""

from __future__ import annotations

from controller.stores.base import StoreError


class NotDone(StoreError):  # noqa: N818  (what is known of a request)
    """The request was not carried out and never will be; it may be asked again, `after` so many seconds."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Unsure(StoreError):  # noqa: N818  (the same)
    """The request may have been carried out, or be so later: asked again only if asking twice does no harm."""
