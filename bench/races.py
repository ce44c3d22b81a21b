"""Lets processes race for the same keys, and counts what each won: `python -m bench.races --help`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.report import machine, markdown, write_section
from bench.witness import MEMBERS, options
from tests.lab.stores import azurite, moto, operator
from tests.lab.stores.backends import Backend, racing
from tests.lab.stores.etcd import start_etcd
from tests.lab.stores.fakes import PROCESSES, fake_process
from tests.lab.stores.racer import COUNTER, Score

NAME = "races"


def main(argv: Sequence[str]) -> int:
    """Race, judge and print. Returns 1 if anything was won twice or lost."""
    parser = argparse.ArgumentParser(prog="python -m bench.races", description=__doc__)
    parser.add_argument("--store", choices=list(MEMBERS), action="append", help="can be repeated (default: all)")
    parser.add_argument("--processes", type=int, default=8, help="processes that race (default 8)")
    parser.add_argument("--rounds", type=int, default=200, help="rounds of each process (default 200)")
    parser.add_argument("--out", type=Path, help="Markdown file; its section `races` is replaced by the result")
    arguments = parser.parse_args(argv)
    rows, twice = [], 0
    for kind in arguments.store or MEMBERS:
        with _backend(kind) as backend:
            began = time.monotonic()
            with racing(backend, arguments.processes, arguments.rounds) as racers:
                racers.go()
                scores = racers.scores(limit=3600)
            wrong = _won_twice(scores, asyncio.run(_counter(backend)))
        twice += wrong
        won = sum(len(score.created) + len(score.counted) for score in scores)
        lost, unsure = sum(score.conflicts for score in scores), sum(score.unsure for score in scores)
        rows.append((kind, str(won), str(lost), str(unsure), str(wrong), f"{time.monotonic() - began:.0f}"))
        print(" ".join(rows[-1]), flush=True)
    head = f"{machine()}, {arguments.processes} processes x {arguments.rounds} rounds, two keys each."
    table = markdown(("store", "won", "refused", "not known", "won twice or lost", "seconds"), rows)
    print(f"\n{head}\n\n{table}")
    if arguments.out:
        write_section(arguments.out, "races", f"{head}\n\n{table}")
    return 1 if twice else 0


def _won_twice(scores: Sequence[Score], counter: int) -> int:
    """Return the number of keys that two processes created, steps that two made, and steps the counter lacks."""
    created = [number for score in scores for number in score.created]
    counted = [number for score in scores for number in score.counted]
    unsure = sum(score.unsure for score in scores)
    lost = max(len(counted) - counter, counter - len(counted) - unsure, 0)
    return len(created) - len(set(created)) + len(counted) - len(set(counted)) + lost


async def _counter(backend: Backend) -> int:
    entries = await backend.open("race").read(COUNTER)
    await backend.close()
    return int(entries[COUNTER].value)


@contextmanager
def _backend(kind: str) -> Iterator[Backend]:
    with TemporaryDirectory() as name, ExitStack() as running:
        directory = Path(name)
        if kind in PROCESSES:
            yield running.enter_context(fake_process(kind))
        elif kind == "file":
            yield Backend(kind, {"path": name})
        elif kind == "etcd":
            cluster = running.enter_context(start_etcd(MEMBERS[kind], directory))
            yield Backend(kind, {"endpoints": cluster.endpoints})
        else:
            os.environ.update(moto.CREDENTIALS)
            begin = azurite.start_azurite if kind == "azure_blob" else moto.start_moto
            server = running.enter_context(begin(directory / "log"))
            operator.make(kind, azurite.account_url(server) if kind == "azure_blob" else server.url, NAME)
            config = options(kind, server.url, name=NAME, directory=directory)
            yield Backend(config.pop("type"), config)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
