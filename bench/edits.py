"""Measures edits: `python -m bench.edits --help`.

Two nodes have the same configuration. Each scenario edits and reloads one node, and then the other: a group gets
another name, or an address goes to another group. Between the two edits, the nodes disagree about which group has the
address. Each node is asked by its own MAC address, so that two nodes that answer are seen as two.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from bench.failover import VOID_LIMIT, Missed
from bench.measure import Void
from bench.peers import compile_packages
from bench.report import highest, machine, markdown, milliseconds, package, write_section
from bench.rolling import SCENARIOS, Run, Scenario, measure, stage_of
from bench.stage import Stage, Unserved
from controller.demo import sandbox
from controller.demo.pace import hurry

HEADINGS = (
    "edit",
    "runs",
    "two answering",
    "two 200s",
    "client outage",
    "no owner",
    "named",
    "what the waiting node showed",
)
LEGEND = """\
Milliseconds. *two answering*, *two 200s*: the sum over one run, maximum over the runs. *client outage*, *no owner*:
the longest silence of any probed address from before the first edit until after the last one, median / max, seen by
the client, and seen by asking each node by its own MAC. *named*: the runs in which `anyvip status` of the waiting node
said for whom it waits; beside it such a text, with the address if one of them named it. Each run ends when one node
answers for each address, in the group in which both files have it."""
_NAMED = re.compile(r"\bn\d has |this node still has ")


def main(argv: Sequence[str]) -> int:
    """Enter the sandbox, measure and print. Returns 1 when a run is missing, or two nodes served."""
    options = _options().parse_args(argv)
    if not sandbox.inside():
        return sandbox.enter([sys.executable, "-m", "bench.edits", *argv])
    sandbox.settle()
    hurry()
    compile_packages()
    runs = [Run(**run) for file in options.read for run in json.loads(file.read_text())]
    missed: list[str] = []
    for found in () if options.runs == 0 else _all(options):
        if isinstance(found, Run):
            runs.append(found)
        else:
            missed.append(str(found))
        if options.json:  # after each run, so that an interruption loses only one
            options.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))
    text = "\n\n".join([_environment(options.lease), _table(runs), *missed, LEGEND])
    print(f"\n{text}")
    if options.out:
        write_section(options.out, options.section, text)
    return 1 if missed or any(run.two or run.healthy for run in runs) else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.edits", description=__doc__)
    parser.add_argument("--runs", type=int, default=50, help="runs of each edit (default 50; 0: only those of --read)")
    parser.add_argument("--edit", action="append", help="only edits whose name contains this; can be repeated")
    parser.add_argument("--lease", type=float, default=1.0, help="lease.duration_seconds (default 1)")
    parser.add_argument("--quick", action="store_true", help="one run of each edit")
    parser.add_argument("--stall", type=float, default=0.05, help="seconds a prober may stall before the run is void")
    parser.add_argument("--out", type=Path, help="Markdown file; one of its sections is replaced by the result")
    parser.add_argument("--section", default="edits", help="that section's name")
    parser.add_argument("--json", type=Path, help="file to which every run is written when it ends")
    parser.add_argument("--read", type=Path, action="append", default=[], help="such a file, whose runs come first")
    return parser


def _all(options: argparse.Namespace) -> Iterator[Run | Missed]:
    for scenario in SCENARIOS:
        if not options.edit or any(part in scenario.name for part in options.edit):
            with stage_of(scenario, options.lease) as stage:
                try:
                    yield from _every_run(stage, scenario, 1 if options.quick else options.runs, options.stall)
                except (Unserved, Missed) as reason:
                    print(f"{scenario.name}: {reason}", file=sys.stderr, flush=True)
                    yield Missed(f"{scenario.name}: no further runs: {reason}")


def _every_run(stage: Stage, scenario: Scenario, runs: int, stall: float) -> Iterator[Run]:
    """Yield this many runs in which no prober stalled. A void run has edited both nodes, too."""
    number = measured = void = 0
    while measured < runs:
        try:
            run = measure(stage, scenario, number, stall)
        except Void as reason:
            void += 1
            print(f"void: {scenario.name}: {reason}", file=sys.stderr, flush=True)
            if void == VOID_LIMIT:
                raise Missed(f"no valid run in {VOID_LIMIT} attempts") from reason
        else:
            measured, void = measured + 1, 0
            print(_line(run, measured), flush=True)
            yield run
        number += 1
    if complaints := stage.complaints():
        raise Missed(f"a daemon reported an error:\n{complaints[0]}")


def _line(run: Run, number: int) -> str:
    figures = {"outage": run.outage, "no owner": run.nobody, "two": run.two, "two 200s": run.healthy}
    shown = ", ".join(f"{name} {value * 1000:.1f}" for name, value in figures.items())
    return f"{run.edit} #{number}: {shown}; {'; '.join(run.said) or 'nobody waited'}"


def _table(runs: Sequence[Run]) -> str:
    rows = []
    for edit, of_one in groupby(runs, key=lambda run: run.edit):
        found = list(of_one)
        texts = Counter(text for run in found for text in run.said if _NAMED.search(text))
        rows.append(
            (
                edit,
                str(len(found)),
                highest(run.two for run in found),
                highest(run.healthy for run in found),
                milliseconds(run.outage for run in found),
                milliseconds(run.nobody for run in found),
                str(sum(any(_NAMED.search(text) for text in run.said) for run in found)),
                max(texts, key=lambda text: (" has 10." in text, texts[text], text), default=""),
            )
        )
    return markdown(HEADINGS, rows)


def _environment(lease: float) -> str:
    return f"{machine()}, {package('etcd-server')} (three members), lease {lease:g} s."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
