"""The guard's table as data: what is wanted, and the smallest change to it. tests/netns tries it on a kernel."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

import pytest

from providers.base import Guarded, ProviderError
from providers.linux import guard_table as layout
from providers.linux import nft_listing as listing
from providers.linux import nftables as nft
from providers.linux.attributes import attribute
from providers.linux.guard_table import Contents

ETH0 = frozenset({"eth0"})


def plan(**groups: str) -> dict[str, Guarded]:
    """Make a plan of group=addresses, all on eth0."""
    return {name: Guarded(tuple(ip_interface(vip) for vip in vips.split()), ("eth0",)) for name, vips in groups.items()}


def contents(interfaces: frozenset[str] = ETH0, **groups: str) -> Contents:
    return layout.build_contents("shop", plan(**groups), interfaces)


def kinds(have: Contents, want: Contents) -> list[int]:
    return [message.kind & 0xFF for message in layout.difference("t", have, want)]


def test_no_difference_is_nothing_to_do() -> None:
    some = contents(web="10.0.0.1 fd00::1", db="10.0.0.2")
    assert kinds(some, some) == []


def test_an_address_more_or_less_touches_nothing_else() -> None:
    less, more = contents(web="10.0.0.1"), contents(web="10.0.0.1 10.0.0.3")
    assert kinds(less, more) == [nft.NEW_ELEMENT]
    assert kinds(more, less) == [nft.DELETE_ELEMENT]


def test_an_ipv6_address_is_looked_up_as_an_address_and_as_a_target() -> None:
    less, more = contents(web="10.0.0.1"), contents(web="10.0.0.1 fd00::1")
    assert kinds(less, more) == [nft.NEW_ELEMENT] * 2
    assert kinds(more, less) == [nft.DELETE_ELEMENT] * 2


def test_an_address_that_changes_its_group_is_taken_out_first() -> None:
    before, after = contents(web="10.0.0.1", db="10.0.0.2"), contents(web="10.0.0.2", db="10.0.0.1")
    assert kinds(before, after) == [nft.DELETE_ELEMENT, nft.NEW_ELEMENT]


def test_a_group_that_goes_is_disarmed_before_its_chain_is_deleted() -> None:
    found = kinds(contents(web="10.0.0.1", db="10.0.0.2"), contents(web="10.0.0.1"))
    disarmed = [nft.NEW_ELEMENT, nft.DELETE_ELEMENT] * 2
    assert found == [nft.DELETE_ELEMENT, *disarmed, nft.DELETE_RULE, nft.DELETE_CHAIN]


def test_a_new_interface_gets_a_chain_for_each_direction() -> None:
    found = kinds(contents(web="10.0.0.1"), contents(frozenset({"eth0", "eth1"}), web="10.0.0.1"))
    assert found == [nft.NEW_CHAIN, nft.NEW_RULE] * 2


def test_a_chain_somebody_changed_is_made_anew_with_what_leads_to_it() -> None:
    want = contents(web="10.0.0.1 10.0.0.2")
    chains = {chain: notes[:-1] if chain.name == "group_web" else notes for chain, notes in want.chains.items()}
    found = kinds(replace(want, chains=chains), want)
    assert found[0] == nft.DELETE_ELEMENT
    assert found[-1] == nft.NEW_ELEMENT
    assert nft.DELETE_CHAIN in found


def test_a_base_chain_that_lost_its_interface_is_made_anew() -> None:
    want = contents(web="10.0.0.1")
    chains = {
        replace(chain, interfaces=frozenset()) if chain.name == "ingress_eth0" else chain: notes
        for chain, notes in want.chains.items()
    }
    found = kinds(replace(want, chains=chains), want)
    assert found == [nft.DELETE_RULE, nft.DELETE_CHAIN, nft.NEW_CHAIN, nft.NEW_RULE]


@pytest.mark.parametrize(
    "change",
    [
        {"note": "anyvip guard 0: shop"},
        {"sets": frozenset({"live_0"})},
        {"chains": {}},
    ],
)
def test_what_does_not_fit_is_built_anew(change: dict[str, object]) -> None:
    want = contents(web="10.0.0.1")
    assert layout.fits(want, want)
    assert layout.fits(contents(), want)
    assert not layout.fits(replace(want, **change), want)  # type: ignore[arg-type]


def test_one_address_belongs_to_one_group() -> None:
    with pytest.raises(ProviderError, match=r"10\.0\.0\.1 is a VIP of group 'web' and of group 'db'"):
        contents(web="10.0.0.1/24", db="10.0.0.1/32")


def test_names_tell_daemons_and_groups_apart() -> None:
    assert layout.table_name("shop") != layout.table_name("depot")
    assert layout.table_name("shop") == layout.table_name("shop")
    assert len(set(layout.group_ids(plan(a="", b="", c="")).values())) == 3


def test_groups_with_the_same_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "group_id", lambda group: group[:1].encode())
    with pytest.raises(ProviderError, match="'web' and 'www' have the same id"):
        layout.group_ids(plan(web="", www=""))


def test_a_timer_of_nothing_would_last_for_ever() -> None:
    with pytest.raises(ValueError, match="means forever"):
        layout.start("t", 0, 0)


def test_thousands_of_addresses_are_split_into_messages_that_fit() -> None:
    elements = [(number.to_bytes(16, "big"), "group_web") for number in range(3000)]
    messages = list(nft.add_elements("t", "vips6", elements))
    assert len(messages) == 6
    assert all(len(message.body) < 1 << 16 for message in messages)


def test_long_comments_are_cut_to_what_fits() -> None:
    assert len(nft.comment("n" * 1000)) == 130


def test_user_data_that_is_no_comment_has_none() -> None:
    for user_data in (b"", b"\0", b"\x01\x04abc\0"):
        body = nft.request(nft.NEW_RULE, attribute(7, user_data))
        assert listing.listed_rule(body)[1] == ""
