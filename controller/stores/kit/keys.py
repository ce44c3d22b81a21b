"""Keys as names in a store that many clusters, and perhaps other people, share.

Names hold letters, digits, ``_``, ``-``, ``/`` and ``%`` only: no server, SDK or URL library reads ``..``, a space or a
quote in them as anything else. Each character is escaped by itself, so a key's begin is its name's begin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

_SPECIAL = re.compile(rb"[^A-Za-z0-9_/-]")


def escaped(text: str) -> str:
    """The text with all but letters, digits, ``_``, ``-`` and ``/`` as ``%XX`` of its UTF-8."""
    return _SPECIAL.sub(lambda found: b"%%%02X" % found[0][0], text.encode()).decode()


def folder(prefix: str) -> str:
    """The prefix, as it is. Raises ValueError where it would take in its neighbours' keys."""
    if prefix and not prefix.endswith("/"):
        raise ValueError(f"{prefix!r} must end in '/', or it would take in its neighbours' keys")
    if re.search(r"^/|//|[^\w./=-]|(^|/)\.{1,2}/", prefix, re.ASCII):
        raise ValueError(f"{prefix!r} must be words of letters, digits and _ - . = that end in '/' each")
    return prefix


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of one cluster's keys: all begin with `root`, and no other cluster's do."""

    root: str

    @classmethod
    def of(cls, prefix: str, cluster: str) -> Self:
        """Those of a cluster below a prefix that it shares with others."""
        return cls(f"{prefix}{escaped(cluster).replace('/', '%2F')}/")

    def name(self, key: str) -> str:
        """What the key, or the begin of one, is called in the store."""
        return self.root + escaped(key)

    def key(self, name: str) -> str:
        """The key that is called so."""
        return unquote(name.removeprefix(self.root))
