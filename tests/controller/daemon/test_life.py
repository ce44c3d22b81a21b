"""The state directory: one daemon at a time, and what the next life may adopt."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from controller.core.events import Saved
from controller.core.records import SessionId
from controller.daemon.life import Life, LifeError
from tests.lab.host.namespaces import source_root


@contextmanager
def signal_ignored(number: signal.Signals) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


SAVED = Saved(SessionId("n1-a"), 7, "this-boot", "n1")


def test_what_one_life_saves_the_next_may_adopt(tmp_path: Path) -> None:
    first = Life(tmp_path)
    first.save(SAVED)
    first.close()
    second = Life(tmp_path)
    assert second.load("this-boot") == SAVED
    second.forget()
    assert second.load("this-boot") is None
    second.close()


def test_what_is_shorter_replaces_what_was_longer(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.save(replace(SAVED, session=SessionId("n1-" + "a" * 200)))
    life.save(SAVED)
    assert life.load("this-boot") == SAVED
    life.close()


def test_every_save_has_one_length(tmp_path: Path) -> None:
    """So that a life killed in a save leaves nothing of two saves, whatever their lengths were."""
    life = Life(tmp_path)
    lengths = set()
    for beat in (9, 10, 10**12):
        life.save(replace(SAVED, beat=beat))
        lengths.add((tmp_path / "session.json").stat().st_size)
    assert len(lengths) == 1
    life.close()


def test_what_is_no_file_of_ours_is_replaced(tmp_path: Path) -> None:
    life, elsewhere = Life(tmp_path), tmp_path / "elsewhere"
    elsewhere.write_text("somebody's")
    (tmp_path / "session.json").symlink_to(elsewhere)
    life.save(SAVED)
    assert life.load("this-boot") == SAVED
    assert elsewhere.read_text() == "somebody's"
    life.close()


def test_a_full_disk_leaves_nothing_that_is_half(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    life = Life(tmp_path)
    try:
        with signal_ignored(signal.SIGXFSZ):
            resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
            life.save(SAVED)
            life.save(SAVED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caplog.text.count("cannot adopt this session") == 1
    assert life.load("this-boot") is None
    life.close()


@pytest.mark.parametrize("beats", [1, 10, 100, 1000, 10_000])
def test_killed_while_it_saves_it_leaves_what_can_be_adopted(tmp_path: Path, beats: int) -> None:
    """After that many beats or some more, wherever in a save it is by then."""
    code = (
        "import sys; from pathlib import Path; from controller.core.events import Saved; from controller.daemon.life import Life\n"
        "life, beat = Life(Path(sys.argv[1])), 0\n"
        "while True:\n"
        "    beat += 1; life.save(Saved('n1-a', beat, 'this-boot', 'n1'))\n"
        f"    if beat == {beats}: print(flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=source_root(), stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"\n"
        daemon.kill()
    life = Life(tmp_path)
    saved = life.load("this-boot")
    assert saved is not None
    assert saved.beat >= beats
    life.close()


def test_a_session_of_an_earlier_boot_is_not_adopted(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.save(SAVED)
    assert life.load("another-boot") is None
    life.close()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"session": 1}', '{"session":"a","beat":"x","boot_id":"","node":""}']
)
def test_a_state_file_that_makes_no_sense_is_not_adopted(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    life = Life(tmp_path)
    (tmp_path / "session.json").write_text(content)
    assert life.load("this-boot") is None
    assert "session.json" in caplog.text
    life.close()


def test_two_daemons_do_not_share_a_state_directory(tmp_path: Path) -> None:
    life = Life(tmp_path)
    with pytest.raises(LifeError, match="another anyvip daemon"):
        Life(tmp_path)
    life.close()
    Life(tmp_path).close()


def test_a_hook_does_not_inherit_the_lock(tmp_path: Path) -> None:
    life = Life(tmp_path)
    code = "print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False, text=True
    ) as hook:
        assert hook.stdout is not None
        assert hook.stdout.readline() == "ready\n"
        life.close()
        Life(tmp_path).close()
        hook.communicate("\n", timeout=30)


def test_a_state_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LifeError, match="make it writable"):
        Life(tmp_path / "file" / "state")


def test_what_cannot_be_saved_is_logged_and_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    life = Life(tmp_path)
    (tmp_path / "session.json").mkdir()
    life.save(SAVED)
    assert "cannot adopt this session" in caplog.text
    life.close()


def test_the_file_holds_names_a_person_can_read(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.save(SAVED)
    body = json.loads((tmp_path / "session.json").read_text())
    assert body == {
        "session": "n1-a", "beat": 7, "boot_id": "this-boot", "node": "n1", "pause": "", "paused_at": 0.0
    }  # fmt: skip
    life.close()
