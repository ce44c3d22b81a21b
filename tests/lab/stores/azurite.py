"""Azure Blob Storage by Azurite (from npm; `make test` installs it), and what an operator sets up in it."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from uuid import uuid4

from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient

from tests.lab.host.servers import Server

COMMAND = Path(__file__).parents[3] / ".venv/azurite/node_modules/.bin/azurite-blob"
ACCOUNT = "devstoreaccount1"  # Azurite's own account; its documentation publishes the key
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def missing() -> str | None:
    """Return why Azurite cannot start here, or None if it can."""
    if not COMMAND.exists():
        return "Azurite is not installed (make test installs it with npm)"
    return None if shutil.which("node") else "node is not on PATH (Debian: apt-get install nodejs)"


def start_azurite(log: Path, *, host: str = "127.0.0.1", port: int = 0, inside: tuple[str, ...] = ()) -> Server:
    """Start a server that keeps everything in memory. `inside` is a prefix for the command."""
    command = [*inside, str(COMMAND), "--blobHost", host, "--blobPort", str(port)]
    options = ["--silent", "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
    return Server.start([*command, *options], log, ready="successfully listens on ")


def account_url(server: Server) -> str:
    return f"{server.url}/{ACCOUNT}"


def key_file(directory: Path) -> Path:
    """Write the account's key to a file, as an operator would have it."""
    file = directory / "account-key"
    file.write_text(f"{KEY}\n")
    return file


@cache
def service(url: str) -> BlobServiceClient:
    """Return an operator's client for the account at `url`."""
    return BlobServiceClient(url, credential=AzureNamedKeyCredential(ACCOUNT, KEY), retry_total=0)


def make_container(url: str, container: str | None = None) -> str:
    """Make an empty container, and return its name."""
    name = container or f"c-{uuid4()}"
    service(url).create_container(name)
    return name
