"""What `anyvip doctor` prints. tests/netns/test_doctor.py shows what it finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.cli.doctor import Remark, Report, describe_credential
from controller.cli.main import main
from controller.contracts.providers import CODE
from controller.stores.base import Credential
from providers.base import Finding, Level

DOWN = Finding(Level.ERROR, "baremetal.interface", "interface eth0", "is down", "ip link set eth0 up")
HERE = Finding(Level.OK, "store.reachable", "reachable", "answers in 1 ms")
REPORT = Report("n1", "shop", (Remark("group web, baremetal", DOWN), Remark("store etcd", HERE)))
CONFIG = """\
cluster: shop
node: n1
state_dir: {directory}
store: {{type: file, path: {directory}/store}}
groups:
  web:
    vips: [10.77.0.100/32]
    providers: [{{type: load_balancer}}]
"""


def test_for_people_the_code_ends_the_line() -> None:
    assert REPORT.text.splitlines()[:3] == [
        "error    group web, baremetal: interface eth0: is down [baremetal.interface]",
        "           -> ip link set eth0 up",
        "ok       store etcd: reachable: answers in 1 ms [store.reachable]",
    ]


def test_for_programs_the_code_is_a_field() -> None:
    report = json.loads(REPORT.json)
    assert report["findings"] == [
        {
            "about": "group web, baremetal",
            "level": "error",
            "code": "baremetal.interface",
            "subject": "interface eth0",
            "message": "is down",
            "remedy": "ip link set eth0 up",
        },
        {
            "about": "store etcd",
            "level": "ok",
            "code": "store.reachable",
            "subject": "reachable",
            "message": "answers in 1 ms",
            "remedy": "",
        },
    ]


@pytest.mark.parametrize(
    ("now", "level", "words"),
    [
        (0.0, Level.OK, "ends at 1970-04-11 00:00 UTC, in 100 days"),
        (95.5, Level.WARNING, "ends at 1970-04-11 00:00 UTC, in 4.5 days"),
        (100.5, Level.ERROR, "ended at 1970-04-11 00:00 UTC: new connections to the store fail"),
    ],
)
def test_a_credential_is_named_with_its_end(now: float, level: Level, words: str) -> None:
    found = describe_credential(Credential("/etc/client.pem", 0.0, 100 * 86400.0), now * 86400)
    assert (found.level, found.code, found.subject, found.message) == (
        level,
        "store.credentials",
        "/etc/client.pem",
        words,
    )


def test_the_command_prints_the_code_of_every_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "anyvip.yml"
    file.write_text(CONFIG.format(directory=tmp_path))
    main(["doctor", "--json", "--config", str(file)])
    codes = [finding["code"] for finding in json.loads(capsys.readouterr().out)["findings"]]
    assert {"linux.capabilities", "linux.guard", "store.reachable", "load_balancer.probe"} <= set(codes)
    assert [code for code in codes if not CODE.fullmatch(code)] == []
