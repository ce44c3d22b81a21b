"""Stores on strict fakes in the test's loop. The test can add faults to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import web

from tests.lab.http.serving import Ailments, serving, start_fake
from tests.lab.stores.backends import Backend
from tests.lab.stores.consul import Consul
from tests.lab.stores.gcs import Gcs
from tests.lab.stores.gcs import Refused as Refusal
from tests.lab.stores.kube import VERBS, Kube, Refused, kubeconfig

SECRET = "a-secret-that-nobody-logs"


@dataclass
class Lab:
    """One fake and the stores that are opened on it.

    `options` returns a store's options for another endpoint. `wipe` deletes all data. `throttled` is part of the
    message of a throttled request. `requests` is the most requests that a round takes.
    """

    backend: Backend
    endpoint: str
    options: Callable[[str], dict[str, Any]]
    ailments: Ailments
    wipe: Callable[[], object]
    throttled: str = "429"
    requests: int = 2


@asynccontextmanager
async def _consul() -> AsyncIterator[Lab]:
    fake = Consul(tokens={SECRET: ("", "")})
    fake.ailments.refusal = lambda: web.Response(status=429, text="rate limit exceeded, try again later")

    def options(endpoint: str) -> dict[str, Any]:
        return {"endpoints": [endpoint], "token": SECRET}

    async with serving(fake.application()) as endpoint:
        yield Lab(Backend("consul", options(endpoint)), endpoint, options, fake.ailments, fake.wipe)


@asynccontextmanager
async def _kubernetes() -> AsyncIterator[Lab]:
    fake = Kube(users={SECRET: VERBS})
    fake.ailments.refusal = lambda: Refused(429, "TooManyRequests", "the server is currently overloaded").answer()
    with TemporaryDirectory() as directory:
        numbers = count()

        def options(endpoint: str) -> dict[str, Any]:
            file = Path(directory) / f"kubeconfig{next(numbers)}"
            return {"kubeconfig": kubeconfig(file, endpoint, {"token": SECRET})}

        async with serving(fake.application()) as endpoint:
            yield Lab(Backend("kubernetes", options(endpoint)), endpoint, options, fake.ailments, fake.wipe)


@asynccontextmanager
async def _gcs() -> AsyncIterator[Lab]:
    fake = Gcs(tokens={SECRET}, given=SECRET, buckets={"witness": {}})
    fake.ailments.refusal = lambda: Refusal(429, "rateLimitExceeded", "rate limit exceeded").answer()
    async with serving(fake.application()) as endpoint, serving(fake.metadata_server()) as metadata:

        def options(endpoint: str) -> dict[str, Any]:
            return {"bucket": "witness", "endpoint": endpoint, "metadata_endpoint": metadata}

        backend = Backend("gcs", options(endpoint))
        yield Lab(backend, endpoint, options, fake.ailments, lambda: fake.make_again("witness"))


def _in_kubeconfig(url: str, directory: Path) -> dict[str, Any]:
    return {"kubeconfig": kubeconfig(directory / "kubeconfig", url), "namespace": "default"}


# Fakes that can run as processes: their module in tests.lab.stores, and the options of a store on them at a URL.
PROCESSES: dict[str, tuple[str, Callable[[str, Path], dict[str, Any]]]] = {
    "consul": ("consul", lambda url, _: {"endpoints": [url]}),
    "kubernetes": ("kube", _in_kubeconfig),
    "gcs": ("gcs", lambda url, _: {"bucket": "lab-witness", "endpoint": url, "metadata_endpoint": url}),
}


@contextmanager
def fake_process(kind: str) -> Iterator[Backend]:
    """Run a fake as a process, which several processes can share, and yield a backend on it."""
    module, options = PROCESSES[kind]
    with TemporaryDirectory() as directory, start_fake(module, Path(directory) / "log") as server:
        yield Backend(kind, options(server.url, Path(directory)))


FAKES = {"consul": _consul, "kubernetes": _kubernetes, "gcs": _gcs}


@asynccontextmanager
async def lab_of(kind: str) -> AsyncIterator[Lab]:
    """Run a fake of this kind of store. Stores that were opened on it are closed at the end."""
    async with FAKES[kind]() as lab:
        try:
            yield lab
        finally:
            await lab.backend.close()
