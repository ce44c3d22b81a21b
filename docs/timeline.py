"""Draws docs/failover.svg: who answers the client while the demo's daemons are killed, frozen and switched over.

It is made from docs/failover.txt, what one run of the demo printed. To record another run and draw it:
`anyvip demo > docs/failover.txt && python docs/timeline.py`. A test holds the picture to the recording.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

DOCS = Path(__file__).parent
PROMISED = "As promised: one owner at every moment."

_LINE = re.compile(r" *(\d+\.\d{3})  (.*)")
_ANSWERS = re.compile(r"client: (\w+) answers(?:, after (\d+) ms without an answer)?")
_SILENT = "client: no answer any more"
_CODE = re.compile(r"balancer: (\w+) says (\w+)")
_EVENTS = (  # what the demo says, and the label that the picture has for it
    (re.compile(r">> the host of (\w+) dies"), "{} dies: network cut, SIGKILL", "down"),
    (re.compile(r">> the host of (\w+) is back"), "{} is back", "up"),
    (re.compile(r">> (\w+)'s daemon is frozen"), "{} freezes: SIGSTOP", "down"),
    (re.compile(r">> (\w+)'s daemon goes on"), "{} goes on", "up"),
    (re.compile(r">> anyvip switchover \w+ --to (\w+)"), "switchover to {}", ""),
)

WIDTH, LEFT, RIGHT = 880, 96, 16
_TOP, _LANE, _BAR = 68, 64, 20
_BEFORE, _AFTER = 0.6, 1.6  # seconds shown before the first event, and after the last
_BESIDE = 0.35  # a gap at least that long has room for its label inside
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .lane { font-weight: 600 } .gap { fill: #cf222e; font-weight: 600 }
  .rail { fill: #8c959f; opacity: .18 } .down { fill: #bc4c00 }
  .answers { fill: #1a7f37 } .healthy { fill: #0969da } .silence { fill: #cf222e; opacity: .22 }
  .event, .tick { stroke: #8c959f } .event { stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #9ea7b3 } .gap { fill: #ff7b72 } .answers { fill: #3fb950 } .healthy { fill: #58a6ff }
    .silence { fill: #ff7b72 } .down { fill: #f0883e }
  }"""


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, in seconds since the demo began."""

    start: float
    end: float


@dataclass(slots=True)
class Run:
    """What one run of the demo told. By node: when it answered the client, said 200, was killed or frozen."""

    answers: dict[str, list[Span]] = field(default_factory=dict)
    healthy: dict[str, list[Span]] = field(default_factory=dict)
    down: dict[str, list[Span]] = field(default_factory=dict)
    silences: list[Span] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)


def read(recording: str) -> Run:
    """Read what the demo printed. Raises ValueError if the run did not go as promised."""
    if PROMISED not in recording.splitlines():
        raise ValueError(f'the recording does not say "{PROMISED}"')
    told = [(float(match[1]), match[2]) for line in recording.splitlines() if (match := _LINE.match(line))]
    run = Run(events=list(_events(told)))
    end = run.events[-1][0] + _AFTER
    _read_answers(told, run, end)
    run.healthy = _spans(((at, m[1], m[2] == "200") for at, text in told if (m := _CODE.match(text))), end)
    changes = ((at, kind, node) for at, text in told for kind, node in _changes(text))
    run.down = _spans(((at, node, kind == "down") for at, kind, node in changes if kind), end)
    return run


def draw(run: Run) -> str:
    """Draw the picture."""
    begin, end = run.events[0][0] - _BEFORE, run.events[-1][0] + _AFTER

    def x(moment: float) -> float:
        return LEFT + (min(max(moment, begin), end) - begin) / (end - begin) * (WIDTH - LEFT - RIGHT)

    nodes = sorted(run.answers)
    bottom = _TOP + _LANE * len(nodes)
    shapes = [
        *_silences(run, x, bottom),
        *(shape for number, node in enumerate(nodes) for shape in _lane(run, node, _TOP + _LANE * number, x)),
        *_event_marks(run, x, bottom),
        *_axis(begin, end, x, bottom),
        *_legend(bottom + 52),
    ]
    height = bottom + 64
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title">'
    )
    title = '<title id="title">Which of two nodes answers a client, through a crash, a freeze and a switchover</title>'
    return "\n".join([head, title, f"<style>{_STYLE}\n</style>", *shapes, "</svg>", ""])


def _events(told: Iterable[tuple[float, str]]) -> Iterator[tuple[float, str]]:
    for at, text in told:
        for pattern, label, _ in _EVENTS:
            if match := pattern.match(text):
                yield at, label.format(match[1])


def _changes(text: str) -> Iterator[tuple[str, str]]:
    """Yield whether a node goes down or comes up with this event, and which."""
    for pattern, _, kind in _EVENTS:
        if match := pattern.match(text):
            yield kind, match[1]


def _read_answers(told: Iterable[tuple[float, str]], run: Run, end: float) -> None:
    """Split the time among the nodes. The demo tells the moment of an answer, and how long there was none before."""
    owner, since, silent_from = "", 0.0, None
    for at, text in told:
        if text == _SILENT:
            silent_from = at
            run.answers.setdefault(owner, []).append(Span(since, at))
        elif match := _ANSWERS.match(text):
            stopped = at - int(match[2] or 0) / 1000
            if owner and silent_from is None:
                run.answers.setdefault(owner, []).append(Span(since, stopped))
            if owner:
                run.silences.append(Span(stopped, at))
            owner, since, silent_from = match[1], at, None
    run.answers.setdefault(owner, []).append(Span(since, end))


def _spans(changes: Iterable[tuple[float, str, bool]], end: float) -> dict[str, list[Span]]:
    """From moments at which something begins or ends to hold for a node, to when it held."""
    began: dict[str, float] = {}
    found: dict[str, list[Span]] = {}
    for at, node, holds in changes:
        if holds:
            began.setdefault(node, at)
        elif node in began:
            found.setdefault(node, []).append(Span(began.pop(node), at))
    for node, at in began.items():
        found.setdefault(node, []).append(Span(at, end))
    return found


def _lane(run: Run, node: str, top: float, x: Callable[[float], float]) -> Iterator[str]:
    yield _text(LEFT - 12, top + _BAR / 2 + 4, node, "lane", "end")
    yield _box("rail", LEFT, top, WIDTH - RIGHT - LEFT, _BAR)
    for name, spans, where, height in (
        ("answers", run.answers.get(node, []), top, _BAR),
        ("down", run.down.get(node, []), top - 8, 5),
        ("healthy", run.healthy.get(node, []), top + _BAR + 5, 5),
    ):
        for span in spans:
            left, right = x(span.start), x(span.end)
            if right > left:
                yield _box(name, left, where, right - left, height)


def _silences(run: Run, x: Callable[[float], float], bottom: float) -> Iterator[str]:
    for span in run.silences:
        left, right = x(span.start), x(span.end)
        yield _box("silence", left, _TOP - 14, max(right - left, 1.5), bottom - _TOP + 6)
        inside = span.end - span.start > _BESIDE
        where, anchor = ((left + right) / 2, "middle") if inside else (right + 4, "start")
        yield _text(where, bottom - 14, f"{(span.end - span.start) * 1000:.0f} ms", "gap", anchor)


def _event_marks(run: Run, x: Callable[[float], float], bottom: float) -> Iterator[str]:
    for number, (at, label) in enumerate(run.events):
        high = 16 if number % 2 == 0 else 36  # two rows, so that labels do not meet
        yield f'<line class="event" x1="{x(at):.1f}" y1="{high + 4}" x2="{x(at):.1f}" y2="{bottom - 28}"/>'
        yield _text(x(at) + 4, high, label, "", "start")


def _axis(begin: float, end: float, x: Callable[[float], float], bottom: float) -> Iterator[str]:
    for second in range(int(begin) + 1, int(end) + 1):
        yield f'<line class="tick" x1="{x(second):.1f}" y1="{bottom}" x2="{x(second):.1f}" y2="{bottom + 5}"/>'
        yield _text(x(second), bottom + 18, f"{second} s", "", "middle")


def _legend(y: float) -> Iterator[str]:
    left = float(LEFT)
    for name, text in (
        ("answers", "answers the client"),
        ("healthy", "the last health probe got 200"),
        ("down", "killed or frozen"),
        ("silence", "the client has no answer"),
    ):
        yield _box(name, left, y - 10, 14, 10)
        yield _text(left + 20, y, text, "", "start")
        left += 40 + 6.4 * len(text)


def _box(name: str, left: float, top: float, width: float, height: float) -> str:
    return f'<rect class="{name}" x="{left:.1f}" y="{top:g}" width="{width:.1f}" height="{height:g}"/>'


def _text(left: float, base: float, text: str, name: str, anchor: str) -> str:
    return f'<text class="{name}" x="{left:.1f}" y="{base:g}" text-anchor="{anchor}">{escape(text)}</text>'


def main() -> None:
    """Write the picture."""
    run = read((DOCS / "failover.txt").read_text(encoding="utf-8"))
    (DOCS / "failover.svg").write_text(draw(run), encoding="utf-8")


if __name__ == "__main__":
    main()
