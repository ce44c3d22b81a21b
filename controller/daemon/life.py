"""Passes the session from one life of the daemon to the next, under a lock that shows that the former has ended."""

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
from health.errors import AnyvipError

_log = logging.getLogger("anyvip")

_LENGTH = 1024  # bytes, padded with blanks, which JSON allows: no rest of a longer record stays behind


class LifeError(AnyvipError):
    """The state directory cannot be used, or another daemon uses it. The message says what to do."""


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
            raise LifeError(f"another anyvip daemon uses {state_dir}: stop it, or give each daemon its own") from error

    def load(self, boot: str) -> Saved | None:
        """Return the session of the previous life, or None when it left none, cannot be read or is of another boot."""
        try:
            body = json.loads(self._file.read_bytes())
            saved = Saved(
                SessionId(str(body["session"])), int(body["beat"]), str(body["boot_id"]), str(body["node"]),
                str(body.get("pause", "")), float(body.get("paused_at", 0.0)),
            )  # fmt: skip
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("cannot read %s, so no session is adopted: %s", self._file, error)
            return None
        return saved if saved.boot_id == boot else None

    def save(self, saved: Saved) -> None:
        """Replace the saved session by one write of fixed length, so that a kill leaves the old or the new one.

        A rename would make ext4 flush the file to the disk, for which the loop would have to wait. A failure is logged
        once. It costs only the adoption after a restart.
        """
        body = json.dumps(asdict(saved)).encode().ljust(_LENGTH)
        try:
            try:
                self._write(body)
            except OSError:  # another user's, or no regular file: it is in our directory, so replace it
                self._file.unlink(missing_ok=True)
                self._write(body)
        except OSError as error:
            if not self._failing:
                _log.warning("cannot write %s, so a restarted daemon cannot adopt this session: %s", self._file, error)
            self._failing = True
        else:
            self._failing = False

    def _write(self, body: bytes) -> None:
        file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            if os.write(file, body) < len(body):  # a full disk: half a record must not count as saved
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)

    def forget(self) -> None:
        """Delete the saved session, because it was ended in order and must not be adopted."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)
