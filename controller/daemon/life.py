"""What one life of the daemon leaves to the next: a lock that proves that it is over, and the session to adopt."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from controller.core.events import Saved
from controller.core.records import SessionId

_log = logging.getLogger("anyvip")

_LENGTH = 1024  # bytes, filled up with blanks, which JSON allows: nothing of what was there before is left behind


class LifeError(Exception):
    """The state directory cannot be used, or another daemon uses it; one line says what to do."""


class Life:
    """The state directory of one daemon, locked for as long as this object is open."""

    def __init__(self, state_dir: Path) -> None:
        """Raises LifeError when another daemon holds the lock, or the directory cannot be written."""
        self._file = state_dir / "session.json"
        self._failing = False
        try:
            state_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
            # Python opens with O_CLOEXEC: a hook that outlives us must not hold the lock.
            self._lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LifeError(f"{state_dir}: {error.strerror}: make it writable for this user") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise LifeError(f"another anyvip daemon uses {state_dir}: stop it, or give each its own") from error

    def load(self, boot: str) -> Saved | None:
        """The session of the life before, if it was in this boot and left one that can be read."""
        try:
            body = json.loads(self._file.read_bytes())
            saved = Saved(SessionId(str(body["session"])), int(body["beat"]), str(body["boot_id"]), str(body["node"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s cannot be read, so nothing is adopted: %s", self._file, error)
            return None
        return saved if saved.boot_id == boot else None

    def save(self, saved: Saved) -> None:
        """Replace what was saved, in one write of one length: a kill comes before or after it.

        Not by renaming: ext4 then sends the file to the disk, which may take long, and the loop waits. A failure is
        logged once: it costs adoption, nothing else.
        """
        body = json.dumps(asdict(saved)).encode().ljust(_LENGTH)
        try:
            try:
                self._write(body)
            except OSError:  # another user's, or no file: in our directory its place is ours
                self._file.unlink(missing_ok=True)
                self._write(body)
        except OSError as error:
            if not self._failing:
                _log.warning("%s cannot be written, so a restart will not be adopted: %s", self._file, error)
            self._failing = True
        else:
            self._failing = False

    def _write(self, body: bytes) -> None:
        file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            if os.write(file, body) < len(body):  # a full disk: half of it must not be taken for all
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)

    def forget(self) -> None:
        """There is nothing to adopt: the session was ended in good order."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._lock)
