"""The client of the local API. Uses the standard library only, so that commands start immediately."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from health.errors import AnyvipError

_ANSWER_SECONDS = 10.0
_LOOK_SECONDS = 0.1


class NotThere(AnyvipError):  # noqa: N818  (a fact)
    """No daemon answers. The message is one line for the operator. `sent`: the request may have reached a daemon."""

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class Declined(AnyvipError):  # noqa: N818  (an answer)
    """The daemon refused the request. `code` is one of `controller.api.server.Code`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """Sends requests to the daemon that listens on the socket at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, what: str) -> Any:
        """Sends a GET and returns the parsed JSON. Raises NotThere and Declined."""
        return self._ask("GET", what, None, _ANSWER_SECONDS, lambda: None)

    def post(self, what: str, body: object, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> Any:
        """Sends a POST and returns the parsed JSON. Raises NotThere and Declined.

        Waits `seconds` at most, and calls `meanwhile` ten times a second until the answer comes.
        """
        return self._ask("POST", what, json.dumps(body), seconds, meanwhile)

    def _ask(self, method: str, what: str, body: str | None, seconds: float, meanwhile: Callable[[], None]) -> Any:
        connection = _Connection(self._path, seconds)
        try:
            with contextlib.suppress(BrokenPipeError):  # the daemon answered before it read everything
                connection.request(method, what, body, {"Content-Type": "application/json"})
            for _ in range(round(seconds / _LOOK_SECONDS)):
                if select.select([connection.sock], [], [], _LOOK_SECONDS)[0]:
                    break
                meanwhile()
            answer = connection.getresponse()
            return _content(answer.status, answer.read())
        except PermissionError as error:
            text = f"no permission to use {self._path}: run this as root, or join the group that admin.group names"
            raise NotThere(text) from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotThere(f"the daemon is not running on this node: no process listens on {self._path}") from error
        except TimeoutError as error:
            raise NotThere(f"the daemon at {self._path} has not answered for {seconds:g} s", sent=True) from error
        except (OSError, http.client.HTTPException) as error:
            raise NotThere(f"the daemon at {self._path} hung up: {error or type(error).__name__}", sent=True) from error
        finally:
            connection.close()


def _content(status: int, content: bytes) -> Any:
    try:
        body = json.loads(content)
        if status == http.HTTPStatus.OK:
            return body
        raise Declined(body["error"]["code"], body["error"]["message"])
    except (ValueError, LookupError, TypeError) as error:
        raise NotThere(f"the program that listens there is not anyvip: it answered {content[:60]!r}") from error


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connects to the socket. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
