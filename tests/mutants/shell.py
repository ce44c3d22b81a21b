"""Removes rules of the shell around the core, one at a time. The quick test that each names must catch it."""

from __future__ import annotations

from tests.mutants.planting import Plant

# --- the daemon: executor ----------------------------------------------------------------------------------------

_EXECUTOR = "controller.daemon.executor"
_EXECUTOR_TESTS = "tests/controller/daemon/test_executor.py"
_STAMPS = f"{_EXECUTOR_TESTS}::test_what_is_asked_is_dated_before_it_leaves"

LATE_TIMER = Plant(
    "lateTimer",
    "the clock is read before the guard's timer is started",
    "the node's grant ends later than the kernel's timer",
    _EXECUTOR,
    "        return ev.TimerStarted(action.slot, at, wall_offset=offset)\n",
    "        return ev.TimerStarted(action.slot, self._around.clock(), wall_offset=offset)\n",
    f"{_STAMPS}[timer]",
)
LATE_LISTING = Plant(
    "lateListing",
    "a listing is dated before it is sent",
    "a slow listing proves that the group is ours at its arrival, when that is no longer true",
    _EXECUTOR,
    "        return ev.Listed(action.request, sent_at, entries)\n",
    "        return ev.Listed(action.request, self._around.clock(), entries)\n",
    f"{_STAMPS}[listing]",
)
LATE_WRITE = Plant(
    "lateWrite",
    "a write is dated before it is sent",
    "the answer to a take arrives late, and the grant counts from its arrival",
    _EXECUTOR,
    "        return ev.Wrote(action.request, sent_at, version)\n",
    "        return ev.Wrote(action.request, self._around.clock(), version)\n",
    f"{_STAMPS}[write]",
)
UNKNOWN_IS_REFUSED = Plant(
    "unknownIsRefused",
    "a write without an answer might have landed",
    "a node does not know that it has taken a group, and its own old release lands during the next grant",
    _EXECUTOR,
    "            return ev.Unsure(action.request, line)\n",
    "            return ev.Refused(action.request)\n",
    f"{_EXECUTOR_TESTS}::test_a_store_s_own_errors_are_answers",
)
STEPS_OVERLAP = Plant(
    "stepsOverlap",
    "a step begins only when the steps before it have ended",
    "the last effect of a cancelled bind comes after the unbind",
    _EXECUTOR,
    "            await asyncio.wait(before)\n",
    "            await asyncio.sleep(0)\n",
    f"{_EXECUTOR_TESTS}::test_a_step_waits_for_all_that_were_begun_before_it",
)
UNBINDS_BEFORE_CLEAR = Plant(
    "unbindsBeforeClear",
    "the guard of an earlier life is shut before anything is unbound",
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
    "clients' packets reach a host that no longer answers, and a cloud's move begins before the guard is shut",
    _STEPS,
    "        await self._guard.shut([order.group])\n        await self.unbind()\n",
    "        await self.unbind()\n        await self._guard.shut([order.group])\n",
    f"{_STEPS_TESTS}::test_a_group_is_shut_before_its_addresses_go",
)
NO_RESET = Plant(
    "noReset",
    "connections are reset before the guard is shut",
    "no RST can leave any more, so clients wait for their own timeouts",
    _STEPS,
    "            await together(provider.reset() for provider in self.able.resetters)\n",
    "            await asyncio.sleep(0)\n",
    f"{_STEPS_TESTS}::test_connections_are_reset_when_that_is_ordered",
)
SLEEPS_FOR_EVER = Plant(
    "sleepsForEver",
    "the loop turns every retry_period, even if the core sets no wake time",
    "a daemon that waits for the store's answer seems stuck, and is restarted",
    _NODE,
    _SLEEP,
    "        seconds = 1e6 if wake_at is None else min(max(wake_at - now, 0.0), longest)\n",
    f"{_NODE_TESTS}::test_it_turns_each_retry_period_whatever_the_core_waits_for[never]",
)
SLEEPS_THROUGH = Plant(
    "sleepsThrough",
    "the loop turns every retry_period, even if the core's wake time is later",
    "after a suspend, a node gives up a lost group as late as if there had been no suspend",
    _NODE,
    _SLEEP,
    "        seconds = longest if wake_at is None else max(wake_at - now, 0.0)\n",
    f"{_NODE_TESTS}::test_after_a_suspend_it_turns_within_a_retry_period",
)
OTHER_BOOT = Plant(
    "otherBoot",
    "a session of an earlier boot is not adopted",
    "readings of another boot's clock count, and a grant that has ended seems to last",
    "controller.daemon.life",
    "        return saved if saved.boot_id == boot else None\n",
    "        return saved\n",
    "tests/controller/daemon/test_life.py::test_a_session_of_an_earlier_boot_is_not_adopted",
)
SHARED_STATE = Plant(
    "sharedState",
    "one daemon at a time uses a state directory",
    "two daemons adopt the same session, and both serve on its grants",
    "controller.daemon.life",
    "fcntl.LOCK_EX | fcntl.LOCK_NB",
    "fcntl.LOCK_SH | fcntl.LOCK_NB",
    "tests/controller/daemon/test_life.py::test_two_daemons_do_not_share_a_state_directory",
)
REPLACED_UNGUARDED = Plant(
    "replacedUnguarded",
    "addresses that a reload takes from a group stay guarded until they are unbound",
    "an address that is not unbound yet answers without a grant",
    "controller.daemon.groups",
    "        before = [*self.replaced, *(bound for name, bound in self._bound.items() if name in fresh)]\n",
    "        before = [bound for name, bound in self._bound.items() if name in fresh]\n",
    "tests/controller/daemon/test_groups.py::test_what_a_reload_takes_from_a_group_is_guarded_until_it_is_unbound",
)
STALE_SIGHT = Plant(
    "staleSight",
    "an answer of the cloud about a group that was given up meanwhile does not count",
    "a group that has just arrived is bound again because of what was seen before",
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
    "an operation that the kernel does not confirm has failed",
    "a guard that is still open seems shut",
    _NETLINK,
    "        if not refusals and not confirmed:\n",
    "        if False:\n",
    f"{_NETLINK_TESTS}::test_an_acknowledgement_that_is_lost_is_no_success",
)
TORN_LIST = Plant(
    "tornList",
    "a list that changed while it was read is read again",
    "an address or rule that exists is missing from the list, so it is not removed or seems gone",
    _NETLINK,
    "                        return None if interrupted or code else found\n",
    "                        return None if code else found\n",
    f"{_NETLINK_TESTS}::test_a_list_that_changed_while_it_was_read_is_read_again",
)
ONE_SLOT_SHUT = Plant(
    "oneSlotShut",
    "a group is shut in both slots",
    "a released group's traffic passes until the other slot's timer ends",
    "providers.linux.guard_table",
    '    for slot in SLOTS:\n        messages += nft.add_elements(table, f"armed_{slot}", elements)\n',
    '    for slot in SLOTS[:1]:\n        messages += nft.add_elements(table, f"armed_{slot}", elements)\n',
    "tests/netns/test_guard.py::test_whatever_slot_keeps_a_group_open_it_can_be_shut[eth0-slots1]",
)
LATE_TIDY_UP = Plant(
    "lateTidyUp",
    "a bind cancels the unfinished work of the unbind before it",
    "a moment after a group has returned, its addresses are removed, and clients wait for the next refresh",
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
    "a move that is given up has ended before the network is left",
    "a move that was given up lands after the release, when the next owner has already moved the network",
    _MOVING,
    "        await self._calls.settled(until)",
    "        pass",
    f"{_MOVING_TESTS}::test_leaving_comes_after_a_move_that_was_given_up",
)
OLD_GRANT = Plant(
    "oldGrant",
    "no call leaves once its group has been given up",
    "a slow thread takes the network from the next owner",
    _MOVING,
    "        self._grant.at = 0.0  # no call",
    "        # no call",
    f"{_MOVING_TESTS}::test_no_call_of_an_old_grant_leaves[late]",
)
OLD_LOOK = Plant(
    "oldLook",
    "an answer of the cloud counts only for the epoch in which it was asked for",
    "an answer from an earlier epoch makes the node move again after it has just moved",
    _MOVING,
    "        if epoch is not None and epoch == self._epoch:\n",
    "        if self._epoch is not None:\n",
    f"{_MOVING_TESTS}::test_a_look_that_was_begun_under_another_epoch_does_not_count",
)
LEAVES_LATE = Plant(
    "leavesLate",
    "a thread checks the clock before its call leaves",
    "a call that is slow to leave takes effect after the grant has ended",
    _CALLS,
    "            until.left()\n",
    "            pass\n",
    f"{_MOVING_TESTS}::test_no_call_of_an_old_grant_leaves[soon]",
)
WAITS_ON = Plant(
    "waitsOn",
    "a call that is given up while it waits for a thread never leaves",
    "a move that was given up still happens, when the next owner has already moved the network",
    _CALLS,
    "            answer.cancel()  # so that a call that still waits for a thread never leaves\n",
    "            pass\n",
    f"{_CALLS_TESTS}::test_what_is_cancelled_while_it_waits_for_a_thread_never_leaves",
)
LEFT_BEHIND = Plant(
    "leftBehind",
    "each of several concurrent calls runs to its end, even if another fails",
    "an address is still being bound while the group is unbound because another provider failed",
    _CALLS,
    "await asyncio.gather(*begun, return_exceptions=True)",
    "await asyncio.gather(*begun)",
    f"{_CALLS_TESTS}::test_of_what_is_done_together_each_comes_to_its_end",
)
ALIAS_GOES_LATE = Plant(
    "aliasGoesLate",
    "a node that takes over again waits for its own unfinished removal (gcp.alias_ip)",
    "the interface shows the address, so nothing is added; then the removal lands, and the network leads nowhere",
    "providers.gcp.alias_ip",
    _LEAVING,
    "",
    "tests/providers/gcp/test_alias_ip.py::test_who_left_and_takes_over_again_waits_for_what_it_began",
)
ADDRESS_GOES_LATE = Plant(
    "addressGoesLate",
    "a node that takes over again waits for its own unfinished deletion (gcp.static_ip)",
    "the same, with an external address",
    "providers.gcp.static_ip",
    _LEAVING + "        for attempt",
    "        for attempt",
    "tests/providers/gcp/test_static_ip.py::test_who_left_and_takes_over_again_waits_for_what_it_began",
)

# --- stores ------------------------------------------------------------------------------------------------------


def _unproven(name: str, condition: str, attempt: str, happens: str) -> Plant:
    return Plant(
        name,
        f"the proof of a bucket tests {condition}",
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
    "two nodes create the same record",
)
UNPROVEN_WRITE = _unproven(
    "unprovenWrite", "If-Match of a write", 'partial(bucket.put, name, b"", stale)', "two nodes take the same group"
)
UNPROVEN_DELETION = _unproven(
    "unprovenDeletion",
    "If-Match of a deletion",
    "partial(bucket.delete, name, stale)",
    "a late deletion removes a record that has changed since",
)

# --- what else is in the store -----------------------------------------------------------------------------------

FOREIGN_NAMES = Plant(
    "foreignNames",
    "a name that anyvip does not write is no key",
    "an object of somebody else's stands in for a record, or hides it",
    "controller.stores.kit.keys",
    "        return key if _NAME.fullmatch(escaped) and escape(key) == escaped else None\n",
    "        return key\n",
    "tests/controller/stores/test_foreign_names.py::test_a_name_that_no_key_has_is_no_key",
)

# --- errors of the core ------------------------------------------------------------------------------------------

_ADVANCE = "controller.daemon.advance"
_ADVANCE_TESTS = "tests/controller/daemon/test_advance.py"

FAILED_ANSWER = Plant(
    "failedAnswer",
    "an answer that the core cannot act on counts as a failed effect",
    "one listing that the core cannot act on ends the daemon, again after each restart",
    _ADVANCE,
    "            failure = as_failure(event)\n",
    "            failure = None\n",
    f"{_ADVANCE_TESTS}::test_a_listing_that_the_core_cannot_act_on_counts_as_not_answered",
)
DECIDES_NOTHING = Plant(
    "decidesNothing",
    "a daemon whose core has decided nothing for a lease ends",
    "the daemon does nothing, and nothing starts it again",
    _ADVANCE,
    " or now - self._failing_since >= policy.timing.lease_duration:\n",
    ":\n",
    f"{_ADVANCE_TESTS}::test_what_nobody_waits_for_is_left_out_for_a_lease",
)

PLANTS = tuple(plant for plant in list(vars().values()) if isinstance(plant, Plant))
