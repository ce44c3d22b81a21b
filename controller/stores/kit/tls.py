"""The configuration keys for reaching a store's servers: URLs, certificates, and secrets in files."""

from __future__ import annotations

import re
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FilePath

_SECRET_LIFE_SECONDS = 60.0


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

    def tls(self, endpoints: list[str]) -> ssl.SSLContext | None:
        """Return the TLS context for these keys; None when no endpoint uses TLS. Raises OSError that names the file."""
        if not any(url.startswith("https") for url in endpoints):
            return None
        return tls_context(self.ca_file, self.cert_file, self.key_file)


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
