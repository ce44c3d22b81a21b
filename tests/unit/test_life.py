"""The state directory: one daemon at a time, and what the next life may adopt."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from controller.events import Saved
from controller.lease import SessionId
from controller.life import Life, LifeError

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
    (tmp_path / "session.new").mkdir()
    life.save(SAVED)
    assert "will not be adopted" in caplog.text
    life.close()


def test_the_file_holds_names_a_person_can_read(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.save(SAVED)
    body = json.loads((tmp_path / "session.json").read_text())
    assert body == {"session": "n1-a", "beat": 7, "boot_id": "this-boot", "node": "n1"}
    life.close()
