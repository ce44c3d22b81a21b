"""The rules of the shell around the core, removed one at a time: each must be caught by the quick test that it names."""

from __future__ import annotations

from tests.mutants.planting import Plant

# --- the daemon: executor ----------------------------------------------------------------------------------------

_EXECUTOR = "controller.daemon.executor"
_EXECUTOR_TESTS = "tests/controller/daemon/test_executor.py"
_STAMPS = f"{_EXECUTOR_TESTS}::test_what_is_asked_is_dated_before_it_leaves"

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
UNKNOWN_IS_REFUSED = Plant(
    "unknownIsRefused",
    "a write without an answer may have landed",
    "a node that has taken a group does not know it, and an old release of its own lands in the next grant",
    _EXECUTOR,
    "            return ev.Unsure(action.request, line)\n",
    "            return ev.Refused(action.request)\n",
    f"{_EXECUTOR_TESTS}::test_a_store_s_own_errors_are_answers",
)
STEPS_OVERLAP = Plant(
    "stepsOverlap",
    "a step begins when the ones before it have ended",
    "what a cancelled bind does last comes after the unbind",
    _EXECUTOR,
    "            await asyncio.wait(before)\n",
    "            await asyncio.sleep(0)\n",
    f"{_EXECUTOR_TESTS}::test_a_step_waits_for_all_that_were_begun_before_it",
)
UNBINDS_BEFORE_CLEAR = Plant(
    "unbindsBeforeClear",
    "what an earlier life left is shut first",
    "a cloud that does not answer keeps the guard of an earlier life open",
    _EXECUTOR,
    "        for undo in (self._shut_all, *(steps.unbind for steps in around.groups.values())):\n",
    "        for undo in (*(steps.unbind for steps in around.groups.values()), self._shut_all):\n",
    f"{_EXECUTOR_TESTS}::test_what_an_earlier_life_left_is_shut_before_it_is_unbound",
)

# --- the daemon: steps, loop, life, groups -----------------------------------------------------------------------

_STEPS = "controller.daemon.steps"
_STEPS_TESTS = "tests/controller/daemon/test_steps.py"
_NODE = "controller.daemon.node"
_NODE_TESTS = "tests/controller/daemon/test_node.py"
_SLEEP = "        seconds = longest if wake_at is None else min(max(wake_at - now, 0.0), longest)\n"

UNBIND_FIRST = Plant(
    "unbindFirst",
    "the guard is shut before the addresses go",
    "packets of clients reach a host that answers them no more, and a move in a cloud begins before the kernel is shut",
    _STEPS,
    "        await self._guard.shut([order.group])\n        await self.unbind()\n",
    "        await self.unbind()\n        await self._guard.shut([order.group])\n",
    f"{_STEPS_TESTS}::test_a_group_is_shut_before_its_addresses_go",
)
NO_RESET = Plant(
    "noReset",
    "connections are reset before the guard is shut",
    "clients wait for their own timeouts: no RST leaves any more",
    _STEPS,
    "            await together(provider.reset() for provider in self.able.resetters)\n",
    "            await asyncio.sleep(0)\n",
    f"{_STEPS_TESTS}::test_connections_are_reset_when_that_is_ordered",
)
SLEEPS_FOR_EVER = Plant(
    "sleepsForEver",
    "the loop turns each retry_period, even if the core waits for nothing",
    "a daemon that waits for an answer of the store is taken for stuck, and is restarted",
    _NODE,
    _SLEEP,
    "        seconds = 1e6 if wake_at is None else min(max(wake_at - now, 0.0), longest)\n",
    f"{_NODE_TESTS}::test_it_turns_each_retry_period_whatever_the_core_waits_for[never]",
)
SLEEPS_THROUGH = Plant(
    "sleepsThrough",
    "the loop turns each retry_period, even if the core waits for something later",
    "after a suspend a node gives up what it lost as late as if it had not been suspended",
    _NODE,
    _SLEEP,
    "        seconds = longest if wake_at is None else max(wake_at - now, 0.0)\n",
    f"{_NODE_TESTS}::test_after_a_suspend_it_turns_within_a_retry_period",
)
OTHER_BOOT = Plant(
    "otherBoot",
    "a session of an earlier boot is not adopted",
    "readings of another boot's clock count: a grant that ended seems to last",
    "controller.daemon.life",
    "        return saved if saved.boot_id == boot else None\n",
    "        return saved\n",
    "tests/controller/daemon/test_life.py::test_a_session_of_an_earlier_boot_is_not_adopted",
)
SHARED_STATE = Plant(
    "sharedState",
    "one daemon at a time uses a state directory",
    "two daemons adopt one session, and both believe in its grants",
    "controller.daemon.life",
    "fcntl.LOCK_EX | fcntl.LOCK_NB",
    "fcntl.LOCK_SH | fcntl.LOCK_NB",
    "tests/controller/daemon/test_life.py::test_two_daemons_do_not_share_a_state_directory",
)
REPLACED_UNGUARDED = Plant(
    "replacedUnguarded",
    "what a group had before a reload is guarded until it is unbound",
    "an address that could not be unbound yet answers without a grant",
    "controller.daemon.groups",
    "        before = [*self._replaced, *(bound for name, bound in self._bound.items() if name in fresh)]\n",
    "        before = [bound for name, bound in self._bound.items() if name in fresh]\n",
    "tests/controller/daemon/test_groups.py::test_what_a_reload_takes_from_a_group_is_guarded_until_it_is_unbound",
)
STALE_SIGHT = Plant(
    "staleSight",
    "what is seen of a group that was given up meanwhile means nothing",
    "a group that has just come is bound again for what its last owner saw",
    "controller.daemon.reconcile",
    "            if watch.epoch is not None and watch.epoch == self._active().get(watch.group):\n",
    "            if watch.epoch is not None:\n",
    "tests/controller/daemon/test_reconcile.py::test_what_is_seen_after_the_group_is_given_up_means_nothing",
)

# --- this host's kernel ------------------------------------------------------------------------------------------

_NETLINK = "providers.linux.netlink"
_NETLINK_TESTS = "tests/providers/linux/test_netlink.py"

LOST_ACKNOWLEDGEMENT = Plant(
    "lostAcknowledgement",
    "what the kernel does not confirm is not done",
    "a guard that is still open is taken for shut",
    _NETLINK,
    "        if not refusals and not confirmed:\n",
    "        if False:\n",
    f"{_NETLINK_TESTS}::test_an_acknowledgement_that_is_lost_is_no_success",
)
TORN_LIST = Plant(
    "tornList",
    "a list that changed while it was read is read again",
    "an address or a rule that is there is in no half of the list: it is not removed, or not missed",
    _NETLINK,
    "                        return None if interrupted or code else found\n",
    "                        return None if code else found\n",
    f"{_NETLINK_TESTS}::test_a_list_that_changed_while_it_was_read_is_read_again",
)
ONE_SLOT_SHUT = Plant(
    "oneSlotShut",
    "shut means shut in both slots",
    "a group that was released passes on for what is left of the other timer",
    "providers.linux.guard_table",
    '    for slot in SLOTS:\n        messages += nft.add_elements(table, f"armed_{slot}", elements)\n',
    '    for slot in SLOTS[:1]:\n        messages += nft.add_elements(table, f"armed_{slot}", elements)\n',
    "tests/netns/test_guard.py::test_whatever_slot_keeps_a_group_open_it_can_be_shut[eth0-slots1]",
)
LATE_TIDY_UP = Plant(
    "lateTidyUp",
    "a bind calls off what the unbind before it has left to do",
    "a moment after a group has come back its addresses go, and its clients wait for the next refresh",
    "providers.baremetal.provider",
    "            self._settled.cancel()  # it finishes an earlier unbind, and would remove the addresses that come now\n",
    "            pass\n",
    "tests/netns/test_baremetal.py::test_what_is_bound_again_is_not_tidied_up[eth0-1-False]",
)

# --- clouds ------------------------------------------------------------------------------------------------------

_MOVING = "providers.cloud.moving"
_MOVING_TESTS = "tests/providers/cloud/test_moving.py"
_CALLS = "providers.cloud.calls"
_CALLS_TESTS = "tests/providers/cloud/test_calls.py"
_LEAVING = "        await self._leaving.over(until)\n"

LEAVES_FIRST = Plant(
    "leavesFirst",
    "what is given up has ended before it is left",
    "a move that was given up lands after the release, when the next owner has moved",
    _MOVING,
    "        await self._calls.settled(until)",
    "        pass",
    f"{_MOVING_TESTS}::test_leaving_comes_after_a_move_that_was_given_up",
)
OLD_GRANT = Plant(
    "oldGrant",
    "no call of a grant leaves when the group has been given up",
    "a thread that was slow takes the network from the next owner",
    _MOVING,
    "        self._grant.at = 0.0  # no call",
    "        # no call",
    f"{_MOVING_TESTS}::test_no_call_of_an_old_grant_leaves[late]",
)
OLD_LOOK = Plant(
    "oldLook",
    "what is seen counts for the epoch in which it was asked for",
    "what the last owner's network showed makes this one move again, away from where it was just led",
    _MOVING,
    "        if epoch is not None and epoch == self._epoch:\n",
    "        if self._epoch is not None:\n",
    f"{_MOVING_TESTS}::test_a_look_that_was_begun_under_another_epoch_does_not_count",
)
LEAVES_LATE = Plant(
    "leavesLate",
    "a thread looks at the clock before its call leaves",
    "a call that was slow to leave takes effect when the grant has ended",
    _CALLS,
    "            until.left()\n",
    "            pass\n",
    f"{_MOVING_TESTS}::test_no_call_of_an_old_grant_leaves[soon]",
)
WAITS_ON = Plant(
    "waitsOn",
    "a call that is given up while it waits for a thread never leaves",
    "a move that was given up is made after all, when the next owner has moved",
    _CALLS,
    "            answer.cancel()  # so that a call that still waits for a thread never leaves\n",
    "            pass\n",
    f"{_CALLS_TESTS}::test_what_is_cancelled_while_it_waits_for_a_thread_never_leaves",
)
LEFT_BEHIND = Plant(
    "leftBehind",
    "of what is done together each comes to its end, whatever the others do",
    "an address is bound while the group is unbound for what another provider could not do",
    _CALLS,
    "await asyncio.gather(*begun, return_exceptions=True)",
    "await asyncio.gather(*begun)",
    f"{_CALLS_TESTS}::test_of_what_is_done_together_each_comes_to_its_end",
)
ALIAS_GOES_LATE = Plant(
    "aliasGoesLate",
    "who takes over again waits for the removal that it began itself (gcp.alias_ip)",
    "the interface shows the address, so nothing is added; then the removal lands, and the network leads nowhere",
    "providers.gcp.alias_ip",
    _LEAVING,
    "",
    "tests/providers/gcp/test_alias_ip.py::test_who_left_and_takes_over_again_waits_for_what_it_began",
)
ADDRESS_GOES_LATE = Plant(
    "addressGoesLate",
    "who takes over again waits for the deletion that it began itself (gcp.static_ip)",
    "the same with an external address",
    "providers.gcp.static_ip",
    _LEAVING + "        for attempt",
    "        for attempt",
    "tests/providers/gcp/test_static_ip.py::test_who_left_and_takes_over_again_waits_for_what_it_began",
)

# --- stores ------------------------------------------------------------------------------------------------------


def _unproven(name: str, condition: str, attempt: str, happens: str) -> Plant:
    return Plant(
        name,
        f"the proof of a bucket tries {condition}",
        happens,
        "controller.stores.kit.proof",
        f'        "{condition}": {attempt},\n',
        "",
        f"tests/controller/stores/test_proof.py::test_a_bucket_that_ignores_one_condition_is_not_written_to[{condition}]",
    )


UNPROVEN_CREATION = _unproven(
    "unprovenCreation",
    "If-None-Match of a write",
    'partial(bucket.put, name, b"", None)',
    "two nodes create one record",
)
UNPROVEN_WRITE = _unproven(
    "unprovenWrite", "If-Match of a write", 'partial(bucket.put, name, b"", stale)', "two nodes take one group"
)
UNPROVEN_DELETION = _unproven(
    "unprovenDeletion",
    "If-Match of a deletion",
    "partial(bucket.delete, name, stale)",
    "a late deletion removes a record that has changed since",
)

PLANTS = tuple(plant for plant in list(vars().values()) if isinstance(plant, Plant))
