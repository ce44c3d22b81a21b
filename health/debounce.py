"""Rise and fall: how many results in a row change the state of a check. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Debounced:
    """The state of a check. `up` is None until the first result; `against` counts results in a row to the contrary."""

    up: bool | None = None
    against: int = 0


def observe(before: Debounced, *, passed: bool, rise: int, fall: int) -> Debounced:
    """Return the state after one more result.

    The first result alone decides, so that a node that has just started can serve, or leave that to others, as soon as
    possible. After that, `rise` successes in a row turn down into up, and `fall` failures in a row turn up into down.
    One result to the contrary starts the count again.
    """
    if before.up is None or passed == before.up:
        return Debounced(up=passed)
    against = before.against + 1
    if against >= (rise if passed else fall):
        return Debounced(up=passed)
    return Debounced(up=before.up, against=against)
