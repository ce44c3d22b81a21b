"""Lists every mutant and what must catch it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from time import monotonic

from tests.mutants import clouds, core, election, shell
from tests.mutants.planting import ROOT, NotTriedError, Plant
from tests.simulation import script
from tests.simulation.cloud_schedules import FINDS, Schedule
from tests.simulation.cloud_schedules import survives as survives_schedule

_STORIES = ROOT / "tests" / "scripts"
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Trial:
    """One mutant. `survives` returns why it survives, or None if it is caught. It can run in another process."""

    name: str
    rule: str
    caught_by: str
    survives: Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a trial. `survived` is why the mutant survived, or None if it was caught."""

    trial: Trial
    survived: str | None
    seconds: float

    def __str__(self) -> str:
        how = f"caught by {self.trial.caught_by}" if self.survived is None else f"SURVIVES: {self.survived}"
        return f"{self.trial.name}: {self.trial.rule}: {how} ({self.seconds:.1f} s)"


def plant_trial(plant: Plant) -> Trial:
    """Returns the trial of a mutant of the source, whose test must fail in a process of its own."""
    return Trial(plant.name, plant.rule, plant.caught_by, plant.survives)


def list_all() -> list[Trial]:
    """Returns the trials of the core, the shell, the election, and the movers and daemons of the clouds."""
    plants = map(plant_trial, (*core.PLANTS, *shell.PLANTS))
    return [*plants, *_election_trials(), *_seed_trials(), *_schedule_trials()]


def _election_trials() -> Iterator[Trial]:
    """Yields one story per mutant, which must break. `tests/simulation/test_scripts.py` replays all of them."""
    told = {path: path.read_text(encoding="utf-8") for path in sorted(_STORIES.glob("**/*.txt"))}
    planted = {plant.name for plant in shell.PLANTS}
    for name, mutant in election.MUTANTS.items():
        if name in planted:
            continue  # its own test is in the list already
        line = f"\nwithout {name}\n"
        path = next((path for path, text in told.items() if line in text), None)
        if path is None:
            yield Trial(name, mutant.rule, "no story", partial(str, "no story says so"))
        else:
            story = str(path.relative_to(ROOT))
            yield Trial(name, mutant.rule, story, partial(script.survives, told[path], name))


def _seed_trials() -> Iterator[Trial]:
    for mutant in clouds.MUTANTS:
        yield Trial(mutant.name, mutant.rule, f"{clouds.FEW} seeds", mutant.survives)


def _schedule_trials() -> Iterator[Trial]:
    for schedule, mechanism, lacking, finds in FINDS:
        name = f"{' '.join(part.__name__ for part in lacking.values())} {mechanism}"
        told = _told(schedule)
        yield Trial(
            f"{name} ({told})",
            f"the network leads to the owner when it {told}",
            "this schedule",
            partial(survives_schedule, schedule, mechanism, lacking, finds),
        )


def _told(schedule: Schedule) -> str:
    """Returns the schedule's name in words."""
    given = schedule.keywords if isinstance(schedule, partial) else {}
    words = (schedule.func if isinstance(schedule, partial) else schedule).__name__.replace("_", " ")
    return ", ".join([words, *(f"{key}={value}" for key, value in given.items())])


def try_all(trials: Iterable[Trial]) -> Iterator[Verdict]:
    """Tries the mutants, two at a time, and yields each verdict when it is known."""
    with Pool(_AT_ONCE) as pool:
        yield from pool.imap_unordered(_try, trials)


def _try(trial: Trial) -> Verdict:
    began_at = monotonic()
    try:
        survived = trial.survives()
    except NotTriedError as error:
        survived = str(error)
    return Verdict(trial, survived, monotonic() - began_at)
