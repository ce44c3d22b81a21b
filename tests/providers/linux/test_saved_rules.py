"""Files that nftables loads at boot, and the guard in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from providers.base import Level
from providers.linux.guard_table import table_name
from providers.linux.saved_rules import saved_guards

OWN = "flush ruleset\n\ntable inet filter {\n\tchain input {\n\t\ttcp dport 22 accept\n\t}\n}\n"


@pytest.mark.parametrize("place", ["etc/nftables.conf", "etc/nftables.d/10-node.nft", "etc/sysconfig/nftables.conf"])
def test_a_file_with_the_guard_in_it_is_named(tmp_path: Path, place: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text(OWN)
    assert saved_guards(tmp_path) == []
    file.write_text(f"{OWN}table netdev {table_name('shop')} {{ # progname anyvip\n\tflags owner\n}}\n")
    (found,) = saved_guards(tmp_path)
    assert (found.level, found.code, found.subject) == (Level.WARNING, "linux.guard_saved", str(file))


def test_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "etc/nftables.d/a-directory").mkdir(parents=True)
    (tmp_path / "etc/nftables.d/broken-link").symlink_to("nowhere")
    (tmp_path / "etc/nftables.d/binary").write_bytes(b"\xff\x00" * 100)
    assert saved_guards(tmp_path) == []
