"""Asks the daemon of this node, over its unix socket. Standard library only, so that commands start at once."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ANSWER_SECONDS = 10.0
_LOOK_SECONDS = 0.1


class NotThere(Exception):  # noqa: N818  (a fact)
    """No daemon can be asked; the message is one line for the operator."""


class Declined(Exception):  # noqa: N818  (an answer)
    """The daemon did not do what was asked. `code` is one of `controller.api.server.Code`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """The daemon that listens on this socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, what: str) -> Any:
        """GET, as parsed JSON. Raises NotThere and Declined."""
        return self._ask("GET", what, None, _ANSWER_SECONDS, lambda: None)

    def post(self, what: str, body: object, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> Any:
        """POST, as parsed JSON, waiting so many seconds at most. `meanwhile` is called ten times a second."""
        return self._ask("POST", what, json.dumps(body), seconds, meanwhile)

    def _ask(self, method: str, what: str, body: str | None, seconds: float, meanwhile: Callable[[], None]) -> Any:
        connection = _Connection(self._path, seconds)
        try:
            with contextlib.suppress(BrokenPipeError):  # it has answered without reading everything
                connection.request(method, what, body, {"Content-Type": "application/json"})
            for _ in range(round(seconds / _LOOK_SECONDS)):
                if select.select([connection.sock], [], [], _LOOK_SECONDS)[0]:
                    break
                meanwhile()
            answer = connection.getresponse()
            return _content(answer.status, answer.read())
        except PermissionError as error:
            raise NotThere(f"no permission on {self._path}: be root, or in the group that admin.group names") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotThere(f"the daemon is not running on this node: nobody listens on {self._path}") from error
        except TimeoutError as error:
            raise NotThere(f"the daemon at {self._path} has not answered for {seconds:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise NotThere(f"the daemon at {self._path} broke off: {error or type(error).__name__}") from error
        finally:
            connection.close()


def _content(status: int, content: bytes) -> Any:
    try:
        body = json.loads(content)
        if status == http.HTTPStatus.OK:
            return body
        raise Declined(body["error"]["code"], body["error"]["message"])
    except (ValueError, LookupError, TypeError) as error:
        raise NotThere(f"what listens there is not anyvip: {content[:60]!r}") from error


class _Connection(http.client.HTTPConnection):
    """HTTP to a unix socket."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
