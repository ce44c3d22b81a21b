"""Maps keys to names in a store that several clusters, and other applications, can share.

Names hold only letters, digits, ``_``, ``-``, ``/`` and ``%``, so no server, SDK or URL library can misread ``..``, a
space or a quote in them. Each character is escaped by itself, so the prefix of a key becomes the prefix of its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

_SPECIAL = re.compile(rb"[^A-Za-z0-9_/-]")
_NAME = re.compile(r"[A-Za-z0-9_/%-]*")


def escape(text: str) -> str:
    """Return the text with all but letters, digits, ``_``, ``-`` and ``/`` as ``%XX`` of its UTF-8."""
    return _SPECIAL.sub(lambda found: b"%%%02X" % found[0][0], text.encode()).decode()


def folder(prefix: str) -> str:
    """Return the prefix unchanged. Raises ValueError when it is malformed or would include keys of other prefixes."""
    if prefix and not prefix.endswith("/"):
        raise ValueError(f"{prefix!r} must end in '/', or it would include keys of other prefixes")
    if re.search(r"^/|//|[^\w./=-]|(^|/)\.{1,2}/", prefix, re.ASCII):
        raise ValueError(f"{prefix!r} must be words of letters, digits and _ - . = that each end in '/'")
    return prefix


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of one cluster's keys. They begin with `root`, and those of no other cluster do."""

    root: str

    @classmethod
    def of(cls, prefix: str, cluster: str) -> Self:
        """Return the names of a cluster below a prefix that it shares with others."""
        return cls(f"{prefix}{escape(cluster).replace('/', '%2F')}/")

    def name(self, key: str) -> str:
        """Return the name of a key, or of a key's prefix."""
        return self.root + escape(key)

    def key(self, name: str) -> str | None:
        """Return the key of a name; None if no key has it, so that a name of somebody else's spoils no key."""
        key = unquote(escaped := name.removeprefix(self.root))
        return key if _NAME.fullmatch(escaped) and escape(key) == escaped else None
