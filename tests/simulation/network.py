"""The network between the nodes and the store. A message can be slow, lost, duplicated or held."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from controller.core.events import Hint, Read, Write

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from controller.stores.base import Entry, Version
    from tests.simulation.host import Host
    from tests.simulation.process import Process
    from tests.simulation.store import Register
    from tests.simulation.story import Story
    from tests.simulation.world import Weather, World

    Answer = Mapping[str, Entry] | Version | None
    Args = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One request on its way. No process waits for the answer to a copy."""

    process: Process
    action: Read | Write
    sent_at: float  # true time
    answer: asyncio.Future[Answer]
    copy: bool = False

    @property
    def key(self) -> str:
        """The key that the request is about, or `read`."""
        return self.action.key if isinstance(self.action, Write) else "read"


@dataclass(slots=True)
class Hold:
    """Catches a host's next message about a key with this prefix, for some seconds or until `Network.release`.

    The prefix `hint` catches the next hint to the host.
    """

    host: str
    prefix: str
    seconds: float | None = None
    reply: bool = False
    what: str = "held"  # or "lost", or "copied": the message goes on its way and a copy of it is held

    def catches(self, host: Host, key: str, *, reply: bool) -> bool:
        """Report whether this hold catches the message."""
        return self.host == host.name and self.reply == reply and key.startswith(self.prefix)


class Network:
    """Carries requests to the store and answers back."""

    def __init__(self, world: World, store: Register, weather: Weather, story: Story) -> None:
        self._world, self._store, self._weather, self._story = world, store, weather, story
        self.landed: Callable[[Message, Entry | None], None] = lambda _message, _before: None
        self.holds: list[Hold] = []
        self._held: list[tuple[Hold, Callable[..., None], Args]] = []
        self._era = 0
        self._watch = 0

    def send(self, message: Message) -> None:
        """Send a request from a node."""
        copy = replace(message, copy=True)
        host = message.process.host
        blind = host.blind and isinstance(message.action, Read)
        if host.cut or blind or self._caught(host, message.key, self._land, message, copy=(copy,)):
            return
        for delay in self._weather.copies():
            self._world.after(delay, self._land, copy, self._era)
        if not self._weather.lost():
            self._world.after(self._weather.trip(), self._land, message, self._era)

    def tell(self, host: Host, hint: Hint) -> None:
        """Send a hint from the store's watch to a host."""
        if not self._caught(host, "hint", self._tell, host, hint, self._watch):
            self._world.after(self._weather.trip(), self._tell, host, hint, self._watch, self._era)

    def _tell(self, host: Host, hint: Hint, watch: int, era: int) -> None:
        if (watch, era) == (self._watch, self._era):
            host.post(hint)

    def end_watches(self) -> None:
        """End all watches. Their hints that are under way are lost with the connections."""
        self._watch += 1

    def release(self, host: str | None = None, prefix: str = "") -> None:
        """Release all held messages, or only those of a host that a hold with this prefix has caught."""
        held, self._held = self._held, []
        for hold, call, args in held:
            if host is None or (hold.host, hold.prefix) == (host, prefix):
                self._world.after(0.0, call, *args, self._era)
            else:
                self._held.append((hold, call, args))

    def forget(self) -> None:
        """Lose everything that is under way, as if all connections to the store were new."""
        self._era += 1
        self._held.clear()

    def _caught(
        self, host: Host, key: str, call: Callable[..., None], *args: object, reply: bool = False, copy: Args = ()
    ) -> bool:
        hold = next((hold for hold in self.holds if hold.catches(host, key, reply=reply)), None)
        if hold is None:
            return False
        self.holds.remove(hold)
        self._story.chapter(host.name, lambda: f"({'answer to ' * reply}{key} {hold.what})")
        if hold.what == "copied":
            self._keep(hold, call, copy)
        elif hold.what == "held":
            self._keep(hold, call, args)
        return hold.what != "copied"

    def _keep(self, hold: Hold, call: Callable[..., None], args: Args) -> None:
        if hold.seconds is None:
            self._held.append((hold, call, args))
        else:
            self._world.after(hold.seconds, call, *args, self._era)

    def _land(self, message: Message, era: int) -> None:
        if self._store.down or era != self._era:
            return
        answer = self._apply(message)
        if message.copy or self._weather.lost():
            return
        if self._caught(message.process.host, message.key, self._back, message, answer, reply=True):
            return
        self._world.after(self._weather.trip(), self._back, message, answer, self._era)

    def _apply(self, message: Message) -> Answer:
        action = message.action
        if isinstance(action, Read):
            return self._store.read()
        before = self._store.entries.get(action.key)
        version = self._store.swap(action.key, action.value, action.expected)
        self._story.landing(message, before, version)
        if version is not None:
            self.landed(message, before)
        return version

    def _back(self, message: Message, answer: Answer, era: int) -> None:
        if era == self._era and not message.process.host.cut:
            message.process.loop.step("reply", message.key, _answer, message.answer, answer)


def _answer(waiting: asyncio.Future[Answer], answer: Answer) -> None:
    """Deliver an answer, unless its caller has stopped waiting."""
    if not waiting.done():
        waiting.set_result(answer)
