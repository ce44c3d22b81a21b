"""Rise and fall: how many results in a row it takes to change one's mind. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Debounced:
    """What is believed. `up` is None until the first result; `against`: results in a row that say the opposite."""

    up: bool | None = None
    against: int = 0


def observe(before: Debounced, *, passed: bool, rise: int, fall: int) -> Debounced:
    """Take one more result into account.

    The first result decides alone: nothing is believed yet that it would have to overcome, and a node that has just
    started is as quick to serve, or to leave it to others, as it can be. From then on `rise` successes in a row turn
    down into up, and `fall` failures in a row turn up into down; one result to the contrary starts the count anew.
    """
    if before.up is None or passed == before.up:
        return Debounced(up=passed)
    against = before.against + 1
    if against >= (rise if passed else fall):
        return Debounced(up=passed)
    return Debounced(up=before.up, against=against)
