"""Removes every rule, one at a time, and checks that a test notices it: `python -m tests.mutants [NAME...]`."""

from __future__ import annotations

import argparse
import sys
from time import monotonic

from tests.mutants.trials import Trial, list_all, try_all


def main(trials: list[Trial]) -> int:
    """Tries the mutants and prints each verdict and a summary. Returns the exit status: 1 if a mutant survives."""
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
    parser.add_argument("names", nargs="*", metavar="NAME", help="try only the mutants whose name begins with NAME")
    names = tuple(parser.parse_args().names)
    return [trial for trial in list_all() if not names or trial.name.startswith(names)]


if __name__ == "__main__":
    sys.exit(main(_chosen()))
