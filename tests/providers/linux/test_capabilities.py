"""Which of the two capabilities are missing, by the kernel's report about the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from providers.linux.capabilities import explain, missing_capabilities

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        ("000001ffffffffff", ()),
        ("0000000000003000", ()),
        ("0000000000001000", ("CAP_NET_RAW",)),
        ("0000000000002000", ("CAP_NET_ADMIN",)),
        ("0000000000000000", ("CAP_NET_ADMIN", "CAP_NET_RAW")),
    ],
)
def test_missing_capabilities(tmp_path: Path, effective: str, missing: tuple[str, ...]) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tanyvip\nCapInh:\t0000000000003000\nCapEff:\t{effective}\n")
    assert missing_capabilities(status) == missing


def test_the_message_says_how_to_get_them() -> None:
    assert explain(("CAP_NET_ADMIN", "CAP_NET_RAW")) == (
        "CAP_NET_ADMIN and CAP_NET_RAW missing: run as root, or in the systemd unit set "
        "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW"
    )
