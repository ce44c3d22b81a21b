"""Valid configurations: what they mean, and the defaults of absent keys."""

from __future__ import annotations

import socket
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

import pytest

from controller.config.loading import from_bytes, load
from controller.config.model import Config
from controller.config.plugins import Auto, Plugin
from controller.config.problem import ConfigError
from controller.core.timing import Timing
from health.options import TcpCheck

EXAMPLE = Path(__file__).parents[3] / "packaging" / "anyvip.example.yml"

SMALLEST = """
cluster: shop
store: {type: file, path: /var/lib/anyvip/store}
groups:
  web:
    vips: ["10.77.0.100/24", "fd00:77::100/64"]
"""

FULL = """
cluster: shop
node: n1
state_dir: /run/anyvip-shop
store: {type: etcd, endpoints: ["http://10.77.0.9:2379"]}
lease: {duration_seconds: 10, renew_deadline_seconds: 5.0, retry_period_seconds: 1, clock_drift: 0.02}
health: {listen: ["127.0.0.1:9010", "[::1]:9011"]}
admin: {mode: 0600, owner: root, group: adm}
groups:
  web:
    vips: [10.77.0.100/24]
    priority: 0
    preempt: true
    preempt_delay_seconds: 0
    providers:
      - {type: baremetal, interface: eth0}
    checks:
      app: {type: tcp, target: "127.0.0.1:80", rise: 1}
    hooks:
      promote: [/usr/local/bin/start-app, --now]
      demote: [/usr/local/bin/stop-app]
      timeout_seconds: 2.5
    health_path: /ready
"""


def read(text: str) -> Config:
    return from_bytes(text.encode(), "anyvip.yml")


def test_daemons_that_share_a_host_keep_their_histories_apart() -> None:
    """With a state directory of its own, a daemon's history is there, unless the file says otherwise."""
    elsewhere = read(f"state_dir: /run/second\n{SMALLEST}")
    assert elsewhere.history_path == Path("/run/second/history.jsonl")
    told = read(f"state_dir: /run/second\ndata_dir: /var/lib/second\n{SMALLEST}")
    assert told.chronicle_path == Path("/var/lib/second/chronicle.jsonl")


def test_what_is_left_out_has_its_default() -> None:
    config = read(SMALLEST)
    assert config.node == socket.gethostname()
    assert config.state_dir == Path("/run/anyvip")
    assert config.socket_path == Path("/run/anyvip/anyvip.sock")
    assert config.history_path == Path("/var/lib/anyvip/history.jsonl")
    assert config.chronicle_path == Path("/var/lib/anyvip/chronicle.jsonl")
    assert config.health.addresses() == (("0.0.0.0", 9010), ("::", 9010))
    assert (config.admin.permissions, config.admin.owner, config.admin.group) == (0o660, None, None)
    web = config.groups["web"]
    assert web.vips == (IPv4Interface("10.77.0.100/24"), IPv6Interface("fd00:77::100/64"))
    assert (web.priority, web.preempt, web.preempt_delay_seconds) == (100, False, 10.0)
    assert web.providers == (Plugin("auto", Auto()),)
    assert (web.checks, web.hooks.promote, web.hooks.demote, web.hooks.timeout_seconds) == ({}, (), (), 10.0)
    assert web.health_path is None


def test_what_is_given_is_taken() -> None:
    config = read(FULL)
    assert (config.cluster, config.node, config.state_dir) == ("shop", "n1", Path("/run/anyvip-shop"))
    assert config.store.type == "etcd"
    assert config.store.options.model_dump()["endpoints"] == ["http://10.77.0.9:2379"]
    assert config.health.addresses() == (("127.0.0.1", 9010), ("::1", 9011))
    assert (config.admin.permissions, config.admin.owner, config.admin.group) == (0o600, "root", "adm")
    web = config.groups["web"]
    assert (web.priority, web.preempt, web.preempt_delay_seconds) == (0, True, 0.0)
    assert [provider.type for provider in web.providers] == ["baremetal"]
    assert web.providers[0].options.model_dump()["interface"] == "eth0"
    assert isinstance(web.checks["app"], TcpCheck)
    assert web.hooks.promote == ("/usr/local/bin/start-app", "--now")
    assert web.hooks.timeout_seconds == 2.5
    assert web.health_path == "/ready"


def test_the_lease_is_derived_where_it_is_not_given() -> None:
    assert read(SMALLEST).timing() == Timing.derive(3.0, overshoot=0.05)
    assert read(FULL).timing(1.0) == Timing(10.0, 5.0, 1.0, drift=0.02, overshoot=1.0)


def test_a_given_deadline_brings_its_own_retry_period() -> None:
    timing = read(SMALLEST + "lease: {renew_deadline_seconds: 1}\n").timing()
    assert timing.renew_deadline == 1.0
    assert timing.retry_period == pytest.approx(0.25)


@pytest.mark.parametrize("vip", ["10.0.0.0/31", "10.0.0.1/31", "10.0.0.0/32", "fd00::/127", "fd00::/128", "fe80::1/64"])
def test_addresses_that_look_odd_and_are_hosts(vip: str) -> None:
    (found,) = read(SMALLEST.replace("10.77.0.100/24", vip).replace(', "fd00:77::100/64"', "")).groups["web"].vips
    assert str(found) == vip


def test_a_name_may_be_a_word_that_yaml_1_1_takes_for_something_else() -> None:
    config = read(SMALLEST.replace("  web:", "  on:") + "node: no\n")
    assert config.node == "no"
    assert list(config.groups) == ["on"]


def test_an_anchor_saves_repetition() -> None:
    config = read(SMALLEST + "    hooks: &h {promote: [a]}\n  db: {vips: [10.77.0.101/24], hooks: *h}\n")
    assert config.groups["web"].hooks == config.groups["db"].hooks


def test_a_byte_order_mark_does_no_harm() -> None:
    assert from_bytes(b"\xef\xbb\xbf" + SMALLEST.encode(), "anyvip.yml").cluster == "shop"


def test_reading_again_gives_equal_groups() -> None:
    """A reload compares groups, and touches only those that differ."""
    before, after = read(FULL), read(FULL.replace("n1", "n1 # moved\n"))
    assert before.groups == after.groups
    assert before.store == after.store
    assert read(FULL.replace("rise: 1", "rise: 2")).groups != before.groups


def test_the_daemon_can_name_the_line_of_what_it_stumbles_on() -> None:
    """Only the daemon notices a port in use, when it listens."""
    problem = read(FULL).problem(("health", "listen", 1), 'found "[::1]:9011", which is in use; allowed: a free port')
    assert str(problem) == 'anyvip.yml:7: health.listen[1]: found "[::1]:9011", which is in use; allowed: a free port'


def test_the_example_is_right(tmp_path: Path) -> None:
    config = load(str(EXAMPLE))
    assert list(config.groups) == ["web"]
    uncommented = tmp_path / "anyvip.yml"
    uncommented.write_text(_uncommented(EXAMPLE.read_text()))
    everything = load(str(uncommented))
    assert everything.groups["web"].hooks.cleanup == ("/usr/local/bin/stop-app",)


def test_the_comments_of_the_example_show_the_defaults(tmp_path: Path) -> None:
    uncommented = tmp_path / "anyvip.yml"
    uncommented.write_text(_uncommented(EXAMPLE.read_text()))
    told, default = load(str(uncommented)), load(str(EXAMPLE))
    assert told.timing() == Timing(3.0, 2.1, 0.5, drift=0.01, overshoot=0.05)
    assert default.timing().retry_period == pytest.approx(0.525)
    assert told.health == default.health
    assert told.state_dir == default.state_dir
    assert told.admin.mode == default.admin.mode
    same = ("priority", "preempt", "preempt_delay_seconds", "checks")
    assert all(getattr(told.groups["web"], key) == getattr(default.groups["web"], key) for key in same)
    assert told.groups["web"].hooks.timeout_seconds == default.groups["web"].hooks.timeout_seconds


def _uncommented(text: str) -> str:
    """Returns the example with its commented keys in force: comments that read ``# key: ...`` or ``#   key: ...``."""
    lines = []
    for line in text.splitlines():
        indent, hash_, rest = line.partition("# ")
        is_key = hash_ and not indent.strip() and rest.split(":")[0].strip().replace("_", "").isalpha() and ":" in rest
        lines.append(indent + rest if is_key and rest.split(":")[0].strip().islower() else line)
    return "\n".join(lines)


def test_nothing_can_be_changed_after_reading() -> None:
    config = read(SMALLEST)
    with pytest.raises(ValueError, match="frozen"):
        config.node = "n2"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"anyvip\.yml: cannot be read \(No such file or directory\); allowed: "):
        load(str(tmp_path / "anyvip.yml"))
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\); allowed: "):
        load(str(tmp_path))


def test_a_character_that_json_escapes_in_two_halves() -> None:
    """JSON is YAML, except for such escapes. Tools such as `jq` write configurations in JSON."""
    config = read(SMALLEST + '    hooks: {promote: ["\\ud83d\\ude80"]}\n')
    assert config.groups["web"].hooks.promote == ("\N{ROCKET}",)
