"""`python -m tests.simulation --seeds 0-20000 [--profile NAME] [--mutant NAME]`: search, and tell the story of what is found."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from multiprocessing import Pool

from tests.simulation.mutants import MUTANTS, NONE
from tests.simulation.profiles import PROFILES
from tests.simulation.seeds import Outcome, run_seed


def main() -> int:
    """0: every seed holds (with --mutant: it was caught); 1: not so."""
    given = _arguments()
    mutant = MUTANTS[given.mutant] if given.mutant else NONE
    first, last = given.seeds
    began, hours, done, caught = time.monotonic(), 0.0, 0, []
    with Pool(given.jobs) as pool:
        for outcome in pool.imap(
            partial(run_seed, mutant=mutant, profile=given.profile), range(first, last + 1), chunksize=20
        ):
            done += 1
            hours += outcome.cluster_seconds / 3600
            if outcome.broken:
                caught.append(outcome)
                print(f"seed {outcome.seed} ({outcome.profile}): {outcome.broken.splitlines()[0]}", flush=True)
                if len(caught) >= given.stop_after:
                    pool.terminate()
                    break
            if done % 1000 == 0:
                print(f"{done} seeds, {done / (time.monotonic() - began):.1f}/s", flush=True)
    print(_summary(given.mutant, done, caught, hours, time.monotonic() - began))
    if caught and not given.quiet:
        print("\n".join(run_seed(caught[0].seed, mutant, profile=given.profile, listening=True).story))
    return int(bool(caught) == (given.mutant is None))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=_span, default=(0, 999), help="FIRST-LAST, or one seed")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="remove this rule, and be content when it is caught")
    parser.add_argument("--profile", choices=[profile.name for profile in PROFILES], help="all seeds of this kind")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--stop-after", type=int, default=1, help="violations")
    parser.add_argument("--quiet", action="store_true", help="no story")
    return parser.parse_args()


def _span(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def _summary(mutant: str | None, done: int, caught: list[Outcome], hours: float, seconds: float) -> str:
    what = f"mutant {mutant}" if mutant else "the core"
    found = f"{len(caught)} violations" if caught else "no violation"
    return (
        f"{what}: {done} seeds, {hours:.0f} cluster hours, {found}, in {seconds:.0f} s ({done / seconds:.1f} seeds/s)"
    )


if __name__ == "__main__":
    sys.exit(main())
