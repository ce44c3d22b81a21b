"""Two sessions that edit, claim and look in any order: never is one token clear for both in different groups."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core import events as ev
from controller.core.claims import may_use
from controller.core.machine import Decision, GroupPolicy, Policy
from controller.core.records import SessionId
from controller.core.rules import Rules
from tests.lab.node.lone import TIMING, Lone
from tests.mutants import weakened

FILES: tuple[dict[str, str], ...] = ({"web": "X"}, {"www": "X"}, {"web": "Y", "www": "X"}, {})
DOES = ("edit", *["land", "hear"] * 6, "wait", "lose")
NUMBERS = (0, 0, 1, 1, 2, 3)
DO = st.tuples(st.integers(0, 1), st.sampled_from(DOES), st.sampled_from(NUMBERS))
PLANS = st.lists(DO, min_size=40, max_size=90)


@dataclass
class Slow(Lone):
    """A node whose requests land, and whose answers arrive, when the plan says so. Its groups are never unfit."""

    held: tuple[type, ...] = (ev.Write, ev.Read)
    sent_at: dict[int, float] = field(default_factory=dict)
    answers: list[ev.Event] = field(default_factory=list)
    file: dict[str, frozenset[str]] = field(default_factory=dict)

    def tell(self, event: ev.Event) -> Decision:
        decision = super().tell(event)
        for action in decision.actions:
            if isinstance(action, ev.Read | ev.Write):
                self.sent_at[action.request] = self.now
        return decision

    def edit(self, file: dict[str, str]) -> None:
        self.file = {group: frozenset(tokens) for group, tokens in file.items()}
        self.settle()

    def settle(self) -> None:
        """Does what the daemon does after each decision: puts in place what may be, and tells the core."""
        groups = {}
        for name, tokens in self.file.items():
            old = self.policy.groups.get(name) or GroupPolicy(uses=self._used(name))
            uses = tokens if may_use(self.state, name, tokens) else old.uses
            groups[name] = GroupPolicy(claims=tokens | uses, uses=uses, leaves=uses - tokens)
        if groups != self.policy.groups:
            new = groups.keys() - self.policy.groups.keys()
            self.policy = replace(self.policy, groups=groups)
            self.tell(ev.Tick())
            for name in new:
                self.tell(ev.Judged(name, healthy=True))

    def _used(self, name: str) -> frozenset[str]:
        return self.state.groups[name].claim.raised if name in self.state.groups else frozenset()

    def land(self, number: int, *, lost: bool = False) -> None:
        """Carries out one of the requests that are on their way. Their order does not count."""
        if self.waiting:
            action = self.waiting.pop(number % len(self.waiting))
            if isinstance(action, ev.Read):
                self.answers.append(ev.Listed(action.request, self.sent_at[action.request], dict(self.store)))
            elif isinstance(action, ev.Write):
                answer = self._swap(action, self.sent_at[action.request])
                self.answers.append(ev.Unsure(action.request, "timeout") if lost else answer)

    def hear(self, number: int) -> None:
        if self.answers:
            self.tell(self.answers.pop(number % len(self.answers)))


def both_clear(plan: list[tuple[int, str, int]], rules: type[Rules] = Rules) -> bool:
    """Returns whether a token is clear for both nodes in different groups, at some moment of the plan."""
    one, two = nodes = [Slow(Policy(name, "boot", TIMING, {}, rules())) for name in ("n1", "n2")]
    two.store, two.versions = one.store, 10**6
    for node in nodes:
        node.start(session=SessionId(f"{node.policy.node}-a"))
        while not node.state.session.established or node.state.rounds.current is not None:
            node.now += 0.001
            node.land(0)
            node.hear(0)
            node.tell(ev.Tick())
    two.now = one.now = max(one.now, two.now)
    for who, what, number in plan:
        node = nodes[who]
        match what:
            case "edit":
                node.edit(FILES[number])
            case "hear":
                node.hear(number)
            case "wait":
                node.tell(ev.Tick())
            case _:
                node.land(number, lost=what == "lose")
        node.settle()
        one.now = two.now = max(one.now, two.now) + 0.02  # 90 times this is less than a lease: nobody is fenced
        clear = [{(t, name) for name, g in each.state.groups.items() for t in g.claim.clear} for each in nodes]
        if any(token == same and group != other for (token, group), (same, other) in product(*clear)):
            return True
    return False


@given(PLANS)
@settings(deadline=None, max_examples=200)
def test_no_token_is_clear_for_both_in_different_groups(plan: list[tuple[int, str, int]]) -> None:
    assert not both_clear(plan)


@pytest.mark.parametrize("weaker", [weakened.EarlyLook, weakened.UnknownIgnored])
def test_without_the_rule_it_is(weaker: type[Rules]) -> None:
    rng = Random(1)
    plans = ([(rng.randrange(2), rng.choice(DOES), rng.choice(NUMBERS)) for _ in range(80)] for _ in range(500))
    assert any(both_clear(plan, weaker) for plan in plans)
