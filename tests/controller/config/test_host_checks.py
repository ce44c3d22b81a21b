"""Names in the configuration that this node does not have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller.config.host_checks import host_problems
from controller.config.loading import from_bytes

TEXT = """\
cluster: shop
node: n1
store: {type: file, path: /var/lib/anyvip/store}
admin: {owner: root}
groups:
  web:
    vips: [10.77.0.100/24]
    providers:
      - {type: baremetal, interface: lo}
    hooks: {promote: [sh, -c, "true"], demote: [/bin/sh]}
"""


def complaints(text: str) -> list[str]:
    return [str(problem) for problem in host_problems(from_bytes(text.encode(), "anyvip.yml"))]


def test_a_node_that_has_everything() -> None:
    assert complaints(TEXT) == []


def test_an_interface_that_does_not_exist() -> None:
    (found,) = complaints(TEXT.replace("interface: lo", "interface: nosuch0"))
    start = 'anyvip.yml:9: groups.web.providers[0].interface: found "nosuch0"; allowed: an interface of this node: '
    assert found.startswith(start)
    assert "lo" in found.removeprefix(start).split(", ")


def test_an_interface_of_the_guard_that_does_not_exist() -> None:
    (found,) = complaints(TEXT.replace("interface: lo", "guard_interfaces: [lo, nosuch0]"))
    assert found.startswith('anyvip.yml:9: groups.web.providers[0].guard_interfaces[1]: found "nosuch0"; allowed: ')


def test_people_that_do_not_exist() -> None:
    assert complaints(TEXT.replace("owner: root", "owner: nobody-we-know, group: nor-this")) == [
        'anyvip.yml:4: admin.owner: found "nobody-we-know"; allowed: a user of this node',
        'anyvip.yml:4: admin.group: found "nor-this"; allowed: a group of this node',
    ]


def test_programs_that_do_not_exist(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("not a program")
    assert complaints(TEXT.replace("/bin/sh", str(plain)).replace("[sh,", "[no-such-program,")) == [
        'anyvip.yml:10: groups.web.hooks.promote[0]: found "no-such-program"; allowed: a program of this node',
        f'anyvip.yml:10: groups.web.hooks.demote[0]: found "{plain}"; allowed: a program of this node',
    ]


def test_a_hostname_that_cannot_be_a_name() -> None:
    """The kernel reports (none) when no hostname is set."""
    read = (
        "import socket; socket.sethostname('(none)')\n"
        "from controller.config.loading import ConfigError, from_bytes\n"
        "try: from_bytes(b'cluster: a\\nstore: {type: file}\\ngroups: {web: {vips: [10.0.0.1/24]}}', 'anyvip.yml')\n"
        "except ConfigError as error: print(error)\n"
    )
    own_name = ["unshare", "--uts", *([] if os.geteuid() == 0 else ["-Ur"]), sys.executable, "-c", read]
    ran = subprocess.run(own_name, capture_output=True, text=True, timeout=30, check=False)
    if ran.returncode != 0:
        pytest.skip(f"no UTS namespace: {ran.stderr.strip()}")
    assert ran.stdout == (
        "anyvip.yml:1: node: found \"(none)\"; allowed: 1 to 63 letters, digits, '.', '_' and '-', "
        "with a letter or digit at both ends\n"
    )
