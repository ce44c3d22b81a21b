"""moto as a process: ``python -m tests.lab.stores.moto_server HOST PORT [SECONDS]``, with PORT 0 for any free port.

It prints its URL when it serves. SECONDS moves its clock ahead (or back). It carries out one request at a time, because
moto checks a condition and writes in two steps, which AWS does in one.
"""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def main(host: str, port: str, ahead: str = "0") -> None:
    if seconds := float(ahead):
        _shift(seconds)
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415  (after the clock is set)
        DomainDispatcherApplication,
        create_backend_app,
    )
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415

    application = DomainDispatcherApplication(create_backend_app)
    turn = threading.Lock()

    def one_at_a_time(environment: dict[str, Any], respond: Any) -> Iterable[bytes]:
        with turn:
            return list(application(environment, respond))

    class Quiet(WSGIRequestHandler):
        disable_nagle_algorithm = True  # headers and body are two writes

        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  (werkzeug's name)
            pass

    server = make_server(host, int(port), one_at_a_time, threaded=True, request_handler=Quiet)
    print(f"http://{host}:{server.server_port}", flush=True)
    server.serve_forever()


def _shift(seconds: float) -> None:
    """Shift this process's time of day."""
    real = time.time
    time.time = lambda: real() + seconds

    class Shifted(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Shifted:
            return cls.fromtimestamp(real() + seconds, tz)

        @classmethod
        def utcnow(cls) -> Shifted:
            return cls.now(dt.UTC).replace(tzinfo=None)

    dt.datetime = Shifted  # type: ignore[misc]


if __name__ == "__main__":
    main(*sys.argv[1:])
