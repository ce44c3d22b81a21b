"""``python -m tests.fuzz [--seconds N] [--seed N] [NAME...]``: fuzzes all targets, or those named, for N seconds."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.fuzz.fuzzer import corpus_of, fuzz, save
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")


def main() -> int:
    """Returns 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    targets = [target for target in TARGETS if not given.names or target.name in given.names]
    print(f"seed {given.seed}")
    failed = 0
    for target in targets:
        corpus = corpus_of(CORPUS, target)
        seconds = given.seconds * target.share / sum(each.share for each in targets)
        report = fuzz(target, corpus, seconds, given.seed)
        for value in report.kept:
            save(CORPUS, target, value)
        print(
            f"{target.name}: {report.runs} inputs, {report.arcs} arcs, {len(report.kept)} new inputs kept, "
            f"{len(report.found)} findings"
        )
        for place, value in report.found.items():
            failed = 1
            print(f"  {place}: {save(CORPUS, target, value)}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
