"""Remove each rule there is, one at a time, and see that what must notice does: `python -m tests.mutants [NAME...]`."""

from __future__ import annotations

import argparse
import sys
from time import monotonic

from tests.mutants.trials import Trial, list_all, try_all


def main(trials: list[Trial]) -> int:
    """Try them, tell what comes of each, and sum up. The exit status: 1 if one survives."""
    began_at, survivors = monotonic(), []
    for number, verdict in enumerate(try_all(trials), 1):
        print(f"[{number}/{len(trials)}] {verdict}", flush=True)
        if verdict.survived is not None:
            survivors.append(verdict.trial.name)
    found = f"{len(survivors)} SURVIVE: {', '.join(survivors)}" if survivors else "none survives"
    caught, seconds = len(trials) - len(survivors), monotonic() - began_at
    print(f"{len(trials)} mutants, {caught} caught, {found}, in {seconds:.0f} s")
    return int(bool(survivors))


def _chosen() -> list[Trial]:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only those whose name begins so")
    names = tuple(parser.parse_args().names)
    return [trial for trial in list_all() if not names or trial.name.startswith(names)]


if __name__ == "__main__":
    sys.exit(main(_chosen()))
