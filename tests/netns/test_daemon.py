"""A whole daemon in a namespace: reloads, a start that fails, links that are down."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import pytest

from controller.api.client import Declined
from providers.linux.guard_table import table_name
from tests.lab.host.daemon import DB, LIVENESS, WEB, Host, link, on
from tests.lab.host.namespaces import eventually

pytestmark = pytest.mark.netns


# --- reload ------------------------------------------------------------------------------------------------------


def test_a_group_that_is_added_is_served_and_one_that_is_removed_goes(host: Host) -> None:
    host.start(web=WEB)
    assert host.becomes("web", "active"), host.log
    host.reload(web=WEB, db=DB)
    assert host.becomes("db", "active"), host.log
    host.reload(db=DB)
    assert eventually(lambda: "10.77.0.100" not in host.addresses()), host.addresses()
    host.reload(web=WEB, db=DB)
    assert host.becomes("web", "active"), host.log
    assert host.log.count("group=db from=active") == 0, "db was not touched"
    assert host.stop() == 0


def test_a_reload_that_is_refused_changes_nothing(host: Host) -> None:
    host.start(web=WEB)
    assert host.becomes("web", "active"), host.log
    host.listen = "127.0.0.1:9011"
    said = host.reload(web=WEB, new={"vips": ["10.77.0.102/24"]}, lost=on("eth0", vips=["10.77.0.11/24"]))
    assert "not reloaded: 10.77.0.11/24 on eth0 is this host's own address" in said
    assert "127.0.0.1:9010" in host.namespace.run("ss -Hltn")
    assert "10.77.0.102" not in host.namespace.run(f"nft list table netdev {table_name('test')}")
    host.listen = "127.0.0.1:9010"
    host.reload(web=WEB, db=DB)
    assert host.becomes("db", "active"), host.log


def test_a_group_may_come_back_before_it_has_gone(host: Host) -> None:
    slow = {**DB, "hooks": {"demote": ["/bin/sleep", "1.5"]}}
    host.start(web=WEB, db=slow)
    assert host.becomes("db", "active"), host.log
    host.reload(web=WEB)
    host.reload(web=WEB, db=slow)
    assert eventually(lambda: "group=db from=demoting" in host.log, LIVENESS), host.log
    assert host.becomes("db", "active"), host.log


def test_a_vip_that_is_removed_is_unbound_and_the_others_stay(host: Host) -> None:
    host.start(web={"vips": ["10.77.0.100/24", "10.77.0.102/24"]})
    assert host.becomes("web", "active"), host.log
    host.reload(web={"vips": ["10.77.0.100/24", "10.77.0.103/24"]})
    assert eventually(lambda: "10.77.0.103" in host.addresses()), host.log
    assert "10.77.0.100" in host.addresses()
    assert "10.77.0.102" not in host.addresses()
    table = host.namespace.run(f"nft list table netdev {table_name('test')}")
    assert "10.77.0.103" in table
    assert "10.77.0.102" not in table


def test_reloads_leave_no_descriptors_and_threads_behind(host: Host) -> None:
    def held() -> tuple[int, int]:
        assert host.running is not None
        process = Path(f"/proc/{host.running.pid}")
        return len([*(process / "fd").iterdir()]), len([*(process / "task").iterdir()])

    many = [f"10.77.0.{number}/24" for number in range(120, 160)]
    host.start(web={"vips": many})
    assert host.becomes("web", "active"), host.log
    host.reload(web={"vips": many[1:]})
    before = held()
    for number in range(5):
        host.reload(web={"vips": many[number % 2 :]}, **{f"g{number}": {"vips": [f"10.77.0.{200 + number}/24"]}})
    host.reload(web={"vips": many[1:]})
    most = before[0] + 2, before[1] + 2  # some are opened when they are needed first; a leak is one for each reload
    assert eventually(lambda: all(now <= limit for now, limit in zip(held(), most, strict=True)), LIVENESS), held()


def test_thousands_of_vips_that_go_hold_up_no_other_group(host: Host) -> None:
    host.lease = 10
    vips = [f"10.{80 + number // 250}.0.{number % 250 + 1}/32" for number in range(2000)]
    host.start(db=DB, many=on("eth0", vips=vips))
    assert host.becomes("many", "active"), host.log
    assert host.becomes("db", "active"), host.log
    host.reload(db=DB)
    assert eventually(lambda: "group=many from=demoting" in host.log, LIVENESS), host.log
    assert "10.80.0.1/" not in host.addresses()
    assert host.stop() == 0
    assert "reason=grant-expired" not in host.log, "nobody renewed meanwhile"


# --- start -------------------------------------------------------------------------------------------------------


def test_one_line_says_what_started_and_readyz_whether_the_store_answers(host: Host) -> None:
    host.start(web=WEB)
    assert host.becomes("web", "active"), host.log
    (started,) = [line for line in host.log.splitlines() if "started version=" in line]
    assert "cluster=test node=n1 store=file lease=2 health=127.0.0.1:9010 groups=1" in started
    assert host.says("/readyz") == "ready"
    store = host.directory / "store"
    store.rename(host.directory / "elsewhere")
    store.write_text("no directory")
    assert eventually(lambda: host.says("/readyz") == "not ready: the store does not answer", LIVENESS), host.says(
        "/readyz"
    )
    store.unlink()
    (host.directory / "elsewhere").rename(store)
    assert eventually(lambda: host.says("/readyz") == "ready", LIVENESS), host.says("/readyz")


@pytest.mark.parametrize(("address", "listen"), [("10.78.0.5/24", "10.78.0.5:9010"), ("fd78::5/64", "[fd78::5]:9010")])
def test_the_endpoint_answers_when_its_address_comes_after_the_daemon(host: Host, address: str, listen: str) -> None:
    host.listen = listen
    host.start(web=WEB)
    assert host.becomes("web", "active"), host.log
    assert "no interface of this node has" in host.log
    host.namespace.run(f"ip address add {address} dev eth1" + (" nodad" if "::" in address else ""))
    assert host.says("/readyz") == "ready"


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("http://127.0.0.1:1", ":1: connection refused"),
        ("https://127.0.0.1:1", ":1: connection refused"),
        ("http://no-such-host.invalid:1", "no-such-host.invalid"),
    ],
)
def test_why_the_store_does_not_answer_is_said_in_the_words_of_the_failure(
    host: Host, endpoint: str, reason: str
) -> None:
    host.store = {"type": "etcd", "endpoints": [endpoint]}
    host.start(web=WEB)
    assert eventually(lambda: "store does not answer" in host.log, LIVENESS), host.log
    lines = [line for line in host.log.splitlines() if "store does not answer" in line]
    assert all(reason in line for line in lines), lines


def test_readyz_says_which_group_a_node_is_not_fit_for(host: Host) -> None:
    dead = {"type": "command", "argv": ["sh", "-c", "echo no such process; exit 1"]}
    host.start(web={**WEB, "checks": {"app": dead}}, db=DB)
    assert host.becomes("db", "active"), host.log
    assert eventually(lambda: host.says("/readyz").startswith("not ready: web: "), LIVENESS), host.says("/readyz")
    assert "no such process" in host.says("/readyz")


def test_a_prepare_hook_that_fails_is_shown_with_its_last_line(host: Host) -> None:
    hook = ["sh", "-c", "echo starting; echo no licence >&2; exit 3"]
    host.start(web={**WEB, "hooks": {"prepare": hook}})
    assert eventually(lambda: host.view("web").get("failed") is not None, LIVENESS), host.log
    failed = host.view("web")["failed"]
    assert (failed["step"], failed["error"]) == ("prepare", "sh: exit status 3: no licence")
    assert eventually(lambda: "10.77.0.100" not in host.addresses(), LIVENESS), host.addresses()


def test_a_service_can_bind_the_vip_in_its_prepare_hook(host: Host) -> None:
    code = "import socket; socket.create_server(('10.77.0.100', 8080)).close()"
    host.start(web={**WEB, "hooks": {"prepare": [sys.executable, "-c", code]}})
    assert host.becomes("web", "active"), host.log


# --- what operators ask for --------------------------------------------------------------------------------------


def test_a_pause_that_failed_without_the_store_does_not_come_later(host: Host) -> None:
    host.start(web=WEB)
    assert host.becomes("web", "active"), host.log
    store, elsewhere = host.directory / "store", host.directory / "elsewhere"
    store.rename(elsewhere)
    store.write_text("no directory")
    assert eventually(lambda: not host.status()["store"]["reachable"], LIVENESS)
    with pytest.raises(Declined, match="the cluster is not paused, and will not be by this request"):
        host.client.post("/v1/pause", {}, LIVENESS)
    store.unlink()
    elsewhere.rename(store)
    assert host.becomes("web", "active"), host.log
    beats = 3 * host.lease
    end = time.monotonic() + beats
    while time.monotonic() < end:
        assert not host.status()["paused"]
        time.sleep(0.1)


def test_a_pause_for_a_time_ends_by_itself(host: Host) -> None:
    host.start(web=WEB)
    assert host.becomes("web", "active"), host.log
    host.client.post("/v1/pause", {"for_seconds": 2, "reason": "a test"}, LIVENESS)
    shown = host.status()["pause"]
    assert (shown["node"], shown["why"]) == ("n1", "a test")
    assert "anyvip_pause_seconds_left" in host.says("/metrics")
    assert eventually(lambda: not host.status()["paused"], LIVENESS), host.log


def test_a_start_that_fails_takes_the_guard_away_that_it_made_and_no_other(host: Host) -> None:
    with host.namespace.entered():
        taken = socket.create_server(("127.0.0.1", 9011))
    host.listen = "127.0.0.1:9011"
    assert host.start(web=WEB).wait(LIVENESS) == 1, "the unit tries again"
    assert "another program listens there" in host.log
    assert len(host.log.splitlines()) == 1, host.log
    assert not host.guarded()
    host.listen = "127.0.0.1:9010"
    host.start(web=WEB)
    assert host.becomes("web", "active"), host.log
    assert host.running is not None
    host.running.kill()
    host.running.wait()
    host.listen = "127.0.0.1:9011"
    assert host.start(web=WEB).wait(LIVENESS) == 1
    assert host.guarded(), "the address may still be there"
    taken.close()


def test_a_state_directory_that_cannot_be_used_now_is_tried_again(host: Host) -> None:
    (host.directory / "state").write_text("no directory")
    assert host.start(web=WEB).wait(LIVENESS) == 1
    assert "make it writable" in host.log


def test_a_group_waits_for_an_interface_that_can_have_it(host: Host) -> None:
    host.start(web=WEB, far={"vips": ["10.99.0.100/24"]})
    assert host.becomes("web", "active"), host.log
    assert host.becomes("far", "fault"), host.log
    assert host.view("far")["detail"].startswith("no interface has an address in the network of VIP 10.99.0.100/24")
    assert host.says("/livez") == "live"
    assert host.says("/readyz").startswith("not ready: far: no interface")
    host.namespace.run("ip address add 10.99.0.11/24 dev eth1")
    assert host.becomes("far", "active"), host.log
    assert "10.99.0.100/32" in host.addresses()
    assert host.says("/readyz") == "ready"
    assert host.log.count("group=web from=active") == 0, "web was not touched"
    assert host.stop() == 0
    assert "10.99.0.100" not in host.addresses()


def test_a_group_that_waits_and_is_removed_is_gone(host: Host) -> None:
    host.start(web=WEB, far={"vips": ["10.99.0.100/24"]})
    assert host.becomes("far", "fault"), host.log
    host.reload(web=WEB)
    host.namespace.run("ip address add 10.99.0.11/24 dev eth1")
    host.reload(web=WEB, db=DB)
    assert host.becomes("db", "active"), host.log
    assert "10.99.0.100" not in host.addresses()
    assert host.stop() == 0


def test_a_reload_while_an_interface_is_away_is_applied_and_waits(host: Host) -> None:
    host.start(web=WEB)
    assert host.becomes("web", "active"), host.log
    later = on("later0", vips=["10.99.0.100/24"])
    host.reload(web=WEB, db=DB, later=later, far={"vips": ["10.98.0.100/24"]})
    assert host.becomes("db", "active"), host.log
    assert host.role("later") == host.role("far") == "fault"
    host.namespace.ip(*link("later0", "10.99.0.11/24"), "address add 10.98.0.11/24 dev later0")
    assert host.becomes("later", "active"), host.log
    assert host.becomes("far", "active"), host.log
    assert {"10.99.0.100/32", "10.98.0.100/32"} <= set(host.addresses().split())


def test_the_hosts_own_address_is_refused_and_stays(host: Host) -> None:
    assert host.start(web=on("eth0", vips=["10.77.0.11/24"])).wait(LIVENESS) == 2
    assert "10.77.0.11/24 on eth0 is this host's own address" in host.log
    assert len(host.log.splitlines()) == 1, host.log
    assert "10.77.0.11/24" in host.addresses()
    checked = host.check()
    assert (checked.returncode, checked.stdout, checked.stderr) == (2, "", host.log)


def test_a_vip_without_a_place_is_found_before_the_start(host: Host) -> None:
    host.configure(web={"vips": ["192.0.2.1/24"]})
    checked = host.check()
    assert checked.returncode == 2
    assert "groups.web.providers: no interface has an address in the network of VIP 192.0.2.1/24" in checked.stderr


def test_a_link_without_carrier_at_the_start_makes_unfit(host: Host) -> None:
    host.namespace.ip("link set eth0p down")
    host.start(web=on("eth0", **WEB))
    assert host.becomes("web", "fault"), host.log
    time.sleep(2 * host.lease)
    assert "to=promoting" not in host.log
    host.reload(web=on("eth1", **WEB))
    assert host.becomes("web", "active"), host.log


def test_what_an_earlier_life_served_and_nobody_configures_is_not_left_unguarded(host: Host) -> None:
    host.namespace.ip("address add 10.77.0.12/24 dev eth0")
    host.start(web=WEB, db={"vips": ["10.77.0.101/24", "10.77.0.12/24"]})
    assert host.becomes("db", "active"), host.log
    assert host.running is not None
    host.running.kill()
    host.running.wait()
    host.namespace.ip("address change 10.77.0.101/24 dev eth0 valid_lft 600 preferred_lft 600")
    host.namespace.ip("address change 10.77.0.12/24 dev eth0 valid_lft forever preferred_lft forever")
    host.start(web=WEB)
    assert host.becomes("web", "active"), host.log
    assert "10.77.0.101" not in host.addresses()
    assert "10.77.0.12" in host.addresses(), "the host's own"
