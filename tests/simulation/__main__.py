"""`python -m tests.simulation --seeds 0-19999`: search for violations, and print the story of each.

With `--mutant NAME` the core lacks that rule, and the search succeeds if a seed catches it. `--mutant all` tries each.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from multiprocessing import Pool
from typing import TYPE_CHECKING

from tests.mutants.election import MUTANTS
from tests.simulation.mutant import NONE, Mutant
from tests.simulation.profiles import PROFILES
from tests.simulation.seeds import Outcome, run_seed

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    """Run the search. Returns 0 if every seed holds or every chosen mutant was caught, otherwise 1."""
    given = _arguments()
    if given.mutant is None:
        return int(_survive(given))
    names = sorted(MUTANTS) if given.mutant == "all" else [given.mutant]
    missed = [name for name in names if not _catch(MUTANTS[name], given)]
    print(f"{len(names) - len(missed)} of {len(names)} mutants caught by seeds; the stories catch all of them")
    return int(bool(missed))


def _survive(given: argparse.Namespace) -> bool:
    """Run the seeds, and report whether every promise held."""
    began, hours, done, broken = time.monotonic(), 0.0, 0, []
    for outcome in _outcomes(NONE, given):
        done += 1
        hours += outcome.cluster_seconds / 3600
        if outcome.broken:
            broken.append(outcome)
            print(_line(outcome), flush=True)
            if len(broken) >= given.stop_after:
                break
        if done % 1000 == 0:
            print(f"{done} seeds, {done / (time.monotonic() - began):.1f}/s", flush=True)
    seconds = time.monotonic() - began
    found = f"{len(broken)} violations" if broken else "no violation"
    print(f"{done} seeds, {hours:.0f} cluster hours, {found}, in {seconds:.0f} s ({done / seconds:.1f} seeds/s)")
    if broken and not given.quiet:
        print("\n".join(run_seed(broken[0].seed, profile=given.profile, listening=True).story))
    return bool(broken)


def _catch(mutant: Mutant, given: argparse.Namespace) -> bool:
    """Report whether a seed that the whole core survives breaks the core that lacks a rule."""
    for outcome in _outcomes(mutant, given):
        if outcome.broken and not run_seed(outcome.seed, profile=given.profile).broken:
            print(f"{mutant.name}: {_line(outcome)}", flush=True)
            if not given.quiet and given.mutant == mutant.name:
                print("\n".join(run_seed(outcome.seed, mutant, profile=given.profile, listening=True).story))
            return True
    print(f"{mutant.name}: not caught by these seeds", flush=True)
    return False


def _outcomes(mutant: Mutant, given: argparse.Namespace) -> Iterator[Outcome]:
    first, last = given.seeds
    run = partial(run_seed, mutant=mutant, profile=given.profile)
    with Pool(given.jobs) as pool:
        yield from pool.imap(run, range(first, last + 1), chunksize=10)


def _line(outcome: Outcome) -> str:
    return f"seed {outcome.seed} ({outcome.profile}): {(outcome.broken or '').splitlines()[0]}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=_span, default=(0, 999), help="FIRST-LAST or a single seed")
    parser.add_argument(
        "--mutant", choices=["all", *sorted(MUTANTS)], metavar="NAME", help="remove this rule, or each with `all`"
    )
    parser.add_argument("--profile", choices=[profile.name for profile in PROFILES], help="draw only this profile")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--stop-after", type=int, default=1, metavar="N", help="violations")
    parser.add_argument("--quiet", action="store_true", help="no story")
    return parser.parse_args()


def _span(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


if __name__ == "__main__":
    sys.exit(main())
