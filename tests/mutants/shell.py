"""The rules of the daemon around the core, removed one at a time: each must be caught by the quick test that it names."""

from __future__ import annotations

from tests.mutants.planting import Plant

_EXECUTOR = "controller.daemon.executor"
_STAMPS = "tests/controller/daemon/test_executor.py::test_what_is_asked_is_dated_before_it_leaves"

LATE_TIMER = Plant(
    "lateTimer",
    "the clock is read before the guard's timer is started",
    "the node believes in its grant for longer than the kernel does",
    _EXECUTOR,
    "        return ev.TimerStarted(action.slot, at)\n",
    "        return ev.TimerStarted(action.slot, self._around.clock())\n",
    f"{_STAMPS}[timer]",
)
LATE_LISTING = Plant(
    "lateListing",
    "a listing is dated before it is asked for",
    "what was so when it was asked for proves that the group is ours when it comes, much later",
    _EXECUTOR,
    "        return ev.Listed(action.request, sent_at, entries)\n",
    "        return ev.Listed(action.request, self._around.clock(), entries)\n",
    f"{_STAMPS}[listing]",
)
LATE_WRITE = Plant(
    "lateWrite",
    "a write is dated before it is sent",
    "the answer to a take comes late, and the grant counts from then",
    _EXECUTOR,
    "        return ev.Wrote(action.request, sent_at, version)\n",
    "        return ev.Wrote(action.request, self._around.clock(), version)\n",
    f"{_STAMPS}[write]",
)
UNBIND_FIRST = Plant(
    "unbindFirst",
    "the guard is shut before the addresses go",
    "packets of clients reach a host that answers them no more, and a move in a cloud begins before the kernel is shut",
    "controller.daemon.steps",
    "        await self._guard.shut([order.group])\n        await self.unbind()\n",
    "        await self.unbind()\n        await self._guard.shut([order.group])\n",
    "tests/controller/daemon/test_steps.py::test_a_group_is_shut_before_its_addresses_go",
)

PLANTS = (LATE_TIMER, LATE_LISTING, LATE_WRITE, UNBIND_FIRST)
