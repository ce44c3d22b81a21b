"""Default paths. Imports next to nothing, so that commands that only ask the daemon start immediately."""

from __future__ import annotations

from typing import Final

CONFIG_FILE: Final = "/etc/anyvip/anyvip.yml"
STATE_DIR: Final = "/run/anyvip"
SOCKET: Final = "anyvip.sock"  # in the state directory
DATA_DIR: Final = "/var/lib/anyvip"
HISTORY: Final = "history.jsonl"  # in the data directory
CHRONICLE: Final = "chronicle.jsonl"  # in the data directory
