"""The log: one line per event on stderr, as ``key=value`` pairs or as JSON.

Whatever the line is about is in fields, not in prose: ``msg=transition group=web from=standby to=promoting ...``.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

_BARE = re.compile(r"[^\s\"=\\]+")


def configure(form: str = "text", level: str = "info") -> None:
    """Send every logger's lines to stderr in this form. A stderr that is gone costs the lines, nothing else."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(handlers=[out], level=level.upper(), force=True)
    logging.raiseExceptions = False


def emit(logger: logging.Logger, level: int, msg: str, **fields: Any) -> None:
    """Log one event. Fields that are None or empty are left out."""
    if logger.isEnabledFor(level):
        given = {name: value for name, value in fields.items() if value not in (None, "")}
        logger.log(level, msg, extra={"fields": given})


def utc(moment: float) -> str:
    """Unix seconds as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextLines(logging.Formatter):
    """``time=... level=info msg=transition group=web``; a value with blanks or quotes is written as JSON writes it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in the record."""
        return " ".join(f"{name}={_text(value)}" for name, value in _fields(record, self).items())


class JsonLines(logging.Formatter):
    """The same fields as one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in the record."""
        return json.dumps(_fields(record, self), default=str)


def _fields(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Any]:
    fields = {
        "time": utc(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": record.getMessage(),
        **getattr(record, "fields", {}),
    }
    if record.exc_info:
        fields["exception"] = formatter.formatException(record.exc_info)
    return fields


def _text(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if _BARE.fullmatch(text) and text.isprintable() else json.dumps(text)
