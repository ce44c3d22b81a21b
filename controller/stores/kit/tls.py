"""The configuration keys for reaching a store's servers: URLs, certificates, and secrets in files."""

from __future__ import annotations

import logging
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FilePath

from controller.stores.base import Credential
from controller.stores.kit.credentials import read_certificates, read_file, read_token

_SECRET_LIFE_SECONDS = 60.0
_FILES_LIFE_SECONDS = 1.0
_NOTHING: Mapping[str, bytes] = MappingProxyType({})

_log = logging.getLogger("anyvip")


def _endpoint(url: str) -> str:
    if not re.fullmatch(r"https?://([\w.-]+|\[[0-9a-fA-F:.%]+\])(:\d{1,5})?/?", url):
        raise ValueError(f"{url!r} is not http://host:port or https://host:port")
    return url


Endpoint = Annotated[str, AfterValidator(_endpoint)]


class TlsOptions(BaseModel):
    """How the servers' certificates are checked, and which one we present."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca_file: FilePath | None = Field(
        default=None,
        description="PEM file of the authority that signed the servers' certificates. Default: the system's.",
    )
    cert_file: FilePath | None = Field(default=None, description="PEM file with our client certificate.")
    key_file: FilePath | None = Field(default=None, description="PEM file with the key of cert_file.")
    server_name: str | None = Field(
        default=None,
        description="Name to expect in the servers' certificates. Default: the endpoint's host.",
    )

    def check_tls(self, endpoints: list[str]) -> None:
        """Raise ValueError when the keys do not fit together."""
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        schemes = {urlsplit(url).scheme for url in endpoints}
        if schemes != {"https"} and (self.ca_file or self.cert_file or self.server_name):
            raise ValueError("ca_file, cert_file and server_name need endpoints that begin with https://")

    def tls(self, endpoints: list[str]) -> Tls | None:
        """Return the TLS of these keys; None when no endpoint uses TLS. Raises OSError that names the file."""
        if not any(url.startswith("https") for url in endpoints):
            return None
        files = (self.ca_file, self.cert_file, self.key_file)
        return Tls(lambda: tls_context(*files), [file for file in files if file])


def tls_context(ca_file: Path | None, cert_file: Path | None = None, key_file: Path | None = None) -> ssl.SSLContext:
    """Return a TLS context with these files. Raises OSError that names the file."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise OSError(f"ca_file {ca_file}: {error.reason or error}") from error
    if cert_file and key_file:
        try:
            context.load_cert_chain(cert_file, key_file)
        except ssl.SSLError as error:
            raise OSError(f"cert_file {cert_file}, key_file {key_file}: {error.reason}") from error
    return context


class Tls:
    """A TLS context that follows its files, which are replaced before the certificates in them expire."""

    def __init__(
        self, make: Callable[[], ssl.SSLContext], files: Sequence[Path], embedded: Mapping[str, bytes] = _NOTHING
    ) -> None:
        """`make` reads the files. `embedded`: certificates that are in none, by name. Raises OSError."""
        self._make = make
        self._files = files
        self._embedded = embedded
        self._seen = self._look()
        self._looked_at = time.monotonic()
        self._context = make()

    @property
    def context(self) -> ssl.SSLContext:
        """The context for a new connection. The files are looked at once a second."""
        if time.monotonic() > self._looked_at + _FILES_LIFE_SECONDS:
            self.renew()
        return self._context

    def renew(self) -> None:
        """Read the files again if they have changed. If they cannot be read, the old ones stay."""
        self._looked_at = time.monotonic()
        seen = self._look()
        if seen == self._seen:
            return
        try:
            self._context = self._make()
        except OSError as error:  # they are being replaced: the next look reads them again
            _log.warning("the certificates of the store cannot be read anew: %s", error)
        else:
            self._seen = seen

    def credentials(self) -> list[Credential]:
        """Return when the certificates end, as they are in their files now. Reads the files; raises nothing."""
        found = [read_certificates(name, pem) for name, pem in self._embedded.items()]
        return [each for each in (*found, *map(read_file, self._files)) if each is not None]

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(file) for file in self._files]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class Secret:
    """A secret, given directly or in a file that may change. `value` is empty when there is none."""

    def __init__(self, value: str, file: Path | None = None) -> None:
        self._value = first_line(file) if file else value
        self._file = file
        self._read_at = time.monotonic()

    @property
    def value(self) -> str:
        """The secret. Its file is reread every minute, because Kubernetes and others replace the secrets they issue."""
        if self._file is not None and time.monotonic() > self._read_at + _SECRET_LIFE_SECONDS:
            self._read(self._file)
        return self._value

    def credentials(self) -> list[Credential]:
        """Return when the secret ends, if it says so. Reads its file; raises nothing."""
        value = self._value
        if self._file is not None:
            with suppress(OSError, ValueError):
                value = first_line(self._file)
        found = read_token(f"{self._file or 'token'}", value)
        return [] if found is None else [found]

    def renewed(self, refused: str) -> bool:
        """Return whether there is another secret now than the refused one."""
        if self._file is not None and self._value == refused:
            self._read(self._file)
        return self._value != refused

    def _read(self, file: Path) -> None:
        self._read_at = time.monotonic()
        with suppress(OSError, ValueError):  # it is being replaced: the old one may still work for a while
            self._value = first_line(file)


def first_line(file: Path) -> str:
    """Return the secret in the file. Raises OSError, ValueError."""
    return file.read_text().partition("\n")[0]
