"""The log: one line per event on stderr, as ``key=value`` pairs or as JSON.

Details are in fields, not in prose: ``msg=transition group=web from=standby to=promoting ...``.
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
    """Sends the lines of every logger to stderr in this form. Errors while writing are ignored."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(handlers=[out], level=level.upper(), force=True)
    logging.raiseExceptions = False


def emit(logger: logging.Logger, level: int, msg: str, **fields: Any) -> None:
    """Logs one event. Leaves out fields that are None or empty."""
    if logger.isEnabledFor(level):
        given = {name: value for name, value in fields.items() if value not in (None, "")}
        logger.log(level, msg, extra={"fields": given})


def utc(moment: float) -> str:
    """Renders Unix seconds as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextLines(logging.Formatter):
    """Renders ``time=... level=info msg=transition group=web``. A value with blanks or quotes is a JSON string."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns one line, whatever the record contains."""
        return " ".join(f"{name}={_text(value)}" for name, value in _fields(record, self).items())


class JsonLines(logging.Formatter):
    """Renders the same fields as one JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns one line, whatever the record contains."""
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
