"""Stories written by hand: commands start at the margin, and what the simulator saw is indented below them.

    tight                             the longest safe renew_deadline instead of 7 s of the lease's 10 s
    groups web=10.77.0.1,10.77.0.2 db the groups of the machines named after this, and what each of them moves
    node a                            a machine; `as NAME` calls itself so, `priority N`, `preempt S`, `rate R`
    node a                            a machine; `as NAME` calls itself so, `priority N`, `preempt S`, `rate R`,
                                      `hook prepare`, `hook cleanup`, `hook both`: it has these hooks
    start a                           its daemon, with the state file if there is one (`start a fresh`: without)
    run 5s, until web on a            let time pass; until a answers 200 for the group (or `nobody` does)
    given web on a                    the same as `until`, but the story leaves out how that comes about
    expect web on a                   a alone answers 200, and only its guard is open
    why a www                         who is in a's way, so that it does not serve all that the group moves
    until a frozen                    (or dead)
    freeze a, kill a                  now, or `at KIND DETAIL`: before the next such micro-step
    hold a groups/web                 the next such request waits for `release`, or for `release a groups/web` alone;
                                      `hold a answer read`: the answer;
                                      `hold a hint`: the report of a's watch;
                                      `lose` instead of hold: never arrives; `copy`: arrives, and a copy is held
    cut a, blind a, mend a            nothing of a's reaches the store; only its reads do not; everything does
    break a, repair a                 its decisions about groups that it owns raise an error, as a bug would
    watch off, calm                   no node is told of changes; nothing else goes wrong, so turns must be kept
    edit a www=10.77.0.1              a's file has these groups from now on, and its daemon, if one runs, reloads it
    pause a, pause a for 60s, resume a                 what operators ask of a
    withdraw a, withdraw a web        what was asked of a (a pause; a switchover) has been reported as failed
    delete groups/web, backup, restore, store down     what operators do; `restore groups/web`: this record only
    without MUTANT                    the same again without that rule: what breaks, and when

`python -m tests.simulation.script FILE...` rewrites what the simulator sees. Read the difference before you keep it.
"""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from controller.core.events import Asked, PauseAsked, Stop, Withdrawn
from controller.core.machine import GroupPolicy
from controller.core.timing import Timing, longest_renew_deadline
from tests.mutants.election import MUTANTS
from tests.simulation.cluster import Cluster, HostPlan
from tests.simulation.mutant import NONE, Mutant
from tests.simulation.network import Hold
from tests.simulation.process import Trap
from tests.simulation.story import record_line
from tests.simulation.world import Clock, Violation, Weather, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.host import Host

WRONG = "wrong:"  # begins a line that no story is allowed to contain
PATIENCE = 200.0  # seconds that `until` waits


class ScriptError(Exception):
    """A script has an unknown command, or something that does not happen."""


def transcript(text: str) -> str:
    """Return the script with what the simulator sees now."""
    told: list[str] = []
    commands: list[str] = []
    with closing(Stage(NONE)) as stage:
        for line in text.splitlines():
            if line.startswith("  "):
                continue
            told.append(line)
            if line.startswith("without "):
                told.append(f"  {_without(MUTANTS[line.split()[1]], commands)}")
            elif _is_command(line):
                commands.append(line)
                told.extend(f"  {seen}" for seen in _told(stage, line))
    return "\n".join(told) + "\n"


def survives(text: str, name: str) -> str | None:
    """Why what this mutant lacks does no harm in the story, which says `without NAME`; None if it does."""
    lines = text.splitlines()
    told = _without(MUTANTS[name], [line for line in lines[: lines.index(f"without {name}")] if _is_command(line)])
    return told if told.startswith(WRONG) else None


def _is_command(line: str) -> bool:
    return bool(line) and not line.startswith(("  ", "#", "without "))


def _told(stage: Stage, line: str) -> Iterator[str]:
    try:
        yield from stage.play(line)
    except (Violation, ScriptError) as problem:
        yield f"{WRONG} {problem}"


def _without(mutant: Mutant, commands: list[str]) -> str:
    with closing(Stage(mutant)) as stage:
        try:
            for command in commands:
                for _ in stage.play(command):
                    pass
        except Violation as violation:
            return f"{stage.cluster.world.now:7.3f}  broken: {violation}"
        except ScriptError as error:
            return f"{WRONG} {error}"
    return f"{WRONG} nothing is broken"


class Unwatched(Weather):
    """Weather in which the store has no watch."""

    def hinted(self) -> bool:
        return False


class Stage:
    """A cluster in fair weather that carries out the commands of a script."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._timing = Timing(10.0, 7.0, 2.0)
        self._weather = Weather()
        self._groups = _groups("web")
        self._plans: list[HostPlan] = []
        self._built: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        """The cluster, built on first use, after all machines are named."""
        if self._built is None:
            self._built = Cluster(World(), self._plans, self._weather, self._mutant, listening=True)
        return self._built

    def close(self) -> None:
        """End the daemons."""
        if self._built is not None:
            self._built.close()

    def play(self, line: str) -> Iterator[str]:
        """Carry out one line, and yield what the simulator sees."""
        verb, *words = line.split()
        command = getattr(self, f"_do_{verb}", None)
        if command is None:
            raise ScriptError(f"no such command: {line}")
        yield from command(*words) or ()

    # --- before the daemons start

    def _do_tight(self) -> None:
        deadline = longest_renew_deadline(10.0, self._timing.drift, self._timing.overshoot)
        self._timing = Timing(10.0, deadline, deadline * 0.3)

    def _do_groups(self, *groups: str) -> None:
        self._groups = _groups(*groups)

    def _do_node(self, name: str, *words: str) -> None:
        given = dict(zip(words[::2], words[1::2], strict=True))
        delay = given.get("preempt")
        policy = GroupPolicy(
            int(given.get("priority", 100)),
            delay is not None,
            _seconds(delay or "0s"),
            prepare=given.get("hook") in ("prepare", "both"),
            cleanup=given.get("hook") in ("cleanup", "both"),
        )
        clock = Clock(0.0, float(given.get("rate", 1)))
        groups = {group: replace(policy, claims=moved) for group, moved in self._groups.items()}
        self._plans.append(HostPlan(name, given.get("as", name), clock, groups, self._timing))

    def _do_watch(self, _off: str) -> None:
        self._weather = Unwatched()

    # --- time

    def _do_run(self, duration: str) -> Iterator[str]:
        yield from self._run(_seconds(duration))

    def _run(self, seconds: float) -> Iterator[str]:
        story, world = self.cluster.story, self.cluster.world
        told = len(story.chapters)
        try:
            world.run(world.now + seconds)
        except AssertionError as error:
            raise Violation(f"an assertion in the core failed: {error}") from error
        finally:
            chapters = story.chapters[told:]
        for at, who, what in chapters:
            yield f"{at:7.3f}  {who:5}  {what}"

    def _do_until(self, what: str, *words: str) -> Iterator[str]:
        if words == ("frozen",):
            yield from self._until(lambda: not self._host(what).awake, f"{what} never freezes")
        else:
            _, who = words
            yield from self._until(lambda: self._answering(what) == who, f"{what} is never on {who}")

    def _until(self, so: Callable[[], bool], otherwise: str) -> Iterator[str]:
        ends_at = self.cluster.world.now + PATIENCE
        while not so():
            if self.cluster.world.now > ends_at:
                raise ScriptError(otherwise)
            yield from self._run(0.01)

    def _do_given(self, group: str, on: str, who: str) -> None:
        for _ in self._do_until(group, on, who):
            pass

    def _do_expect(self, group: str, _on: str, who: str) -> None:
        open_on = [host.name for host in self.cluster.hosts.values() if host.kernel.passes(group)]
        if self._answering(group) != who or (" ".join(open_on) or "nobody") != who:
            raise Violation(f"{group}: 200 from {self._answering(group)}, open on {open_on}, expected {who}")

    def _answering(self, group: str) -> str:
        return " ".join(host.name for host in self.cluster.hosts.values() if host.answers(group)) or "nobody"

    # --- daemons and machines

    def _do_start(self, *words: str) -> None:
        for name in words:
            if name != "fresh":
                if words[-1] == "fresh":
                    self._host(name).forget()
                self._host(name).start()

    def _do_kill(self, name: str, *at: str) -> None:
        self._now_or_at(name, at, self._host(name).kill)

    def _do_freeze(self, name: str, *at: str) -> None:
        self._now_or_at(name, at, self._host(name).freeze)

    def _now_or_at(self, name: str, at: tuple[str, ...], happen: Callable[[], None]) -> None:
        if at:
            _, kind, *detail = at
            self._host(name).trap(Trap(kind, " ".join(detail), happen))
        else:
            happen()

    def _do_thaw(self, name: str) -> None:
        self._host(name).thaw()

    def _do_reboot(self, name: str) -> None:
        self._host(name).reboot()

    def _do_stop(self, name: str) -> None:
        self._host(name).post(Stop())

    def _do_break(self, name: str) -> None:
        self._host(name).set_broken(True)

    def _do_repair(self, name: str) -> None:
        self._host(name).set_broken(False)

    def _do_flush(self, name: str) -> None:
        self._host(name).flush()

    def _do_unfit(self, name: str, group: str) -> None:
        self._host(name).judge(group, healthy=False)

    def _do_fit(self, name: str, group: str) -> None:
        self._host(name).judge(group, healthy=True)

    def _do_remove(self, name: str, group: str) -> None:
        host = self._host(name)
        host.reload({other: policy for other, policy in host.configured.items() if other != group})

    def _do_edit(self, name: str, *groups: str) -> None:
        host = self._host(name)
        like = next(iter(host.groups.values()))
        host.reload({group: replace(like, claims=moved) for group, moved in _groups(*groups).items()})

    def _do_why(self, name: str, group: str) -> Iterator[str]:
        process = self._host(name).process
        if process is None:
            raise ScriptError(f"no daemon runs on {name}")
        yield f"{group} on {name}: {process.state.groups[group].claim.blocked or 'nothing is in its way'}"

    def _do_rename(self, name: str, node: str) -> None:
        self._host(name).node = node

    # --- what people ask for

    def _do_ask(self, name: str, group: str, _to: str, to: str) -> None:
        self._host(name).post(Asked(group, None if to == "any" else to))

    def _do_pause(self, name: str, _for: str = "", lasts: str = "0s") -> None:
        self._host(name).post(PauseAsked(paused=True, lasts=_seconds(lasts)))

    def _do_resume(self, name: str) -> None:
        self._host(name).post(PauseAsked(paused=False))

    def _do_withdraw(self, name: str, *group: str) -> None:
        self._host(name).post(Withdrawn(0, group[0] if group else None))

    # --- network and store

    def _do_calm(self) -> None:
        self.cluster.fair = True

    def _do_cut(self, name: str) -> None:
        self._host(name).cut = True

    def _do_mend(self, name: str) -> None:
        self._host(name).cut = self._host(name).blind = False

    def _do_blind(self, name: str) -> None:
        self._host(name).blind = True

    def _do_hold(self, name: str, *what: str, how: str = "held") -> None:
        self.cluster.network.holds.append(Hold(name, what[-1], None, what[0] == "answer", how))

    def _do_lose(self, name: str, *what: str) -> None:
        self._do_hold(name, *what, how="lost")

    def _do_copy(self, name: str, *what: str) -> None:
        self._do_hold(name, *what, how="copied")

    def _do_release(self, *held: str) -> None:
        self.cluster.network.release(*held)

    def _do_store(self, how: str) -> None:
        self.cluster.store.down = int(how == "down")

    def _do_backup(self) -> None:
        self._backup = self.cluster.store.snapshot()

    def _do_restore(self, *keys: str) -> None:
        for key in keys:
            self.cluster.store.put(key, self._backup.entries[key].value)
        if not keys:
            self.cluster.restore(self._backup, rewind=False)

    def _do_delete(self, *keys: str) -> None:
        for key in keys:
            self.cluster.delete(key)

    def _do_show(self, *keys: str) -> Iterator[str]:
        for key in keys:
            entry = self.cluster.store.entries.get(key)
            yield f"{key} = {record_line(key, entry.value if entry else None)}"

    def _host(self, name: str) -> Host:
        host = self.cluster.hosts.get(name)
        if host is None:
            raise ScriptError(f"no machine is called {name}")
        return host


def _groups(*words: str) -> dict[str, frozenset[str]]:
    """Return what each group moves: `web=X,Y` moves X and Y, and `web` moves nothing that another group could have."""
    split = (word.partition("=") for word in words)
    return {group: frozenset(moved.split(",")) - {""} for group, _, moved in split}


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def main(names: list[str]) -> None:
    """Rewrite these scripts with what the simulator sees now."""
    for name in names:
        path = Path(name)
        path.write_text(transcript(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
