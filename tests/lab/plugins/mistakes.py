"""Mistakes of authors of stores, providers and movers: changes to the worked examples, and the rules they break."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.lab.plugins.outside import EXAMPLES

SQLITE = "sqlite-store/anyvip_sqlite_store.py"
FLOATING = "floating-ip/anyvip_floating_ip.py"


@dataclass(frozen=True)
class Mistake:
    """A change to an example. `changes` are pairs of old and new text. With them `test` fails and names `rule`."""

    example: str
    changes: tuple[tuple[str, str], ...]
    test: str
    rule: str

    def make(self, directory: Path) -> None:
        """Write the module with the mistake to a directory. Raises ValueError for a text that the example lacks."""
        source = EXAMPLES / self.example
        text = source.read_text()
        for before, after in self.changes:
            if before not in text:
                raise ValueError(f"{self.example} does not contain {before!r}")
            text = text.replace(before, after)
        (directory / source.name).write_text(text)


def _provider(method: str, *, test: str, rule: str) -> Mistake:
    """Return the mistake of a provider that is `Moving` with one method replaced."""
    lines = "".join(f"    {line}\n" for line in method.splitlines())
    hand_made = f"""
class HandMade(Moving):
{lines}

def _open(cls, options, *, group, vips, clock):
    made = Mechanism.open.__func__(cls, options, group=group, vips=vips, clock=clock)
    made.__class__ = HandMade
    return made


FloatingIp.open = classmethod(_open)


def translate("""
    changes = (
        ("import MovingOptions\n", "import MovingOptions\nfrom providers.cloud.moving import Moving\n"),
        ("\ndef translate(", hand_made),
    )
    return Mistake(FLOATING, changes, f"TestProvider and {test}", rule)


_SQLITE_ERROR = """            raise StoreError(f"{self._path}: {error}") from error
"""
_MOVE = '''"""Assign every address to this server, all at once. Raises ProviderError."""
'''
_LEAVE = '''"""Release what is still ours. Raises ProviderError."""
'''
_LOOK = '''"""Ask which server each address leads to. Raises ProviderError."""
'''
_ASK = """return await self._calls.run(f"{verb} {path}", lambda: self._request(verb, path, until.left()), until=until)
"""

STORES = {
    "retries by itself": Mistake(
        SQLITE,
        ((_SQLITE_ERROR, "            return await self._call(call)\n"),),
        "test_a_write_whose_reply_is_lost_is_unknown",
        "A write whose reply is lost must be a StoreError",
    ),
    "versions that come back": Mistake(
        SQLITE,
        (
            (
                'revision = database.execute("UPDATE revision SET last = last + 1 RETURNING last").fetchall()[0][0]',
                "revision = found[0][0] + 1 if found else 1",
            ),
        ),
        "test_no_version_ever_comes_back",
        "No version ever comes back",
    ),
    "a create that overwrites": Mistake(
        SQLITE,
        (("if current != expected:", "if expected is not None and current != expected:"),),
        "test_creating_what_exists_conflicts",
        "A create never overwrites",
    ),
    "an unknown outcome taken for a success": Mistake(
        SQLITE,
        (
            (
                '            database.execute("COMMIT")',
                '            with suppress(sqlite3.Error):\n                database.execute("COMMIT")',
            ),
            ("import contextmanager", "import contextmanager, suppress"),
        ),
        "test_a_write_whose_reply_is_lost_is_unknown",
        "A write whose reply is lost must be a StoreError",
    ),
    "keys of other clusters": Mistake(
        SQLITE,
        (("WHERE cluster = ? AND substr", "WHERE (cluster = ? OR true) AND substr"),),
        "test_clusters_do_not_see_each_other",
        "A store must read and write the keys of its own cluster only",
    ),
    "a prefix taken for a pattern": Mistake(
        SQLITE,
        (("substr(key, 1, length(?)) = ?", "key LIKE ? || '%' AND ? IS NOT NULL"),),
        "test_a_prefix_selects_keys_by_how_they_begin",
        "Listing by prefix must give every key that begins with the prefix, and no other one",
    ),
}

PROVIDERS = {
    "a second bind that fails": _provider(
        "async def bind(self, grant):\n"
        "    if grant.epoch == self._epoch:\n"
        '        raise ProviderError("bound already")\n'
        "    await super().bind(grant)",
        test="test_bind_is_idempotent",
        rule="Bind is idempotent: a second bind with the same grant must succeed",
    ),
    "a bind after the grant": _provider(
        "async def bind(self, grant):\n    await self._mover.move(self._calls.within(60.0))",
        test="test_a_grant_that_has_ended_binds_nothing",
        rule="Bind must raise StaleGrant when the grant has ended, and bind nothing",
    ),
    "an unbind that fails where nothing is bound": _provider(
        "async def unbind(self):\n"
        "    if self._epoch is None:\n"
        '        raise ProviderError("not bound")\n'
        "    await super().unbind()",
        test="test_unbind_of_what_was_never_bound",
        rule="Unbind must succeed when nothing is bound",
    ),
    "an inspect that repairs": _provider(
        "async def inspect(self):\n"
        "    await self._mover.move(self._calls.within(60.0))\n"
        "    return await super().inspect()",
        test="test_inspect_only_reads",
        rule="Inspect only reads: asking where the VIPs are must not bring them here",
    ),
    "a finding without a code": _provider(
        "async def preflight(self):\n"
        '    return [Finding(Level.ERROR, "floating IPs", "no answer", "correct `endpoint`")]',
        test="test_preflight_changes_nothing",
        rule="Preflight must return findings with a code each",
    ),
    "a close that unbinds": _provider(
        "async def close(self):\n    await self._mover.leave(self._calls.within(60.0))\n    await super().close()",
        test="test_closing_leaves_what_is_bound",
        rule="Closing a provider must raise nothing, may be done twice, and must not unbind",
    ),
}

MOVERS = {
    "a second move that fails": Mistake(
        FLOATING,
        (
            (
                _MOVE,
                f'{_MOVE}        if (await self.look(until)).place is Place.HERE:\n            raise ProviderError("here already")\n',
            ),
        ),
        "TestMover and test_move_is_idempotent",
        "Move is idempotent: a second one must succeed",
    ),
    "a deadline without the grant": Mistake(
        FLOATING,
        (
            ("until.left()), until=until)", "until.left()), until=Deadline(until.at, until.clock))"),
            ("until.left()", "5.0"),
        ),
        "test_no_call_after_the_grant",
        "No call may leave after the grant has ended: move must raise ProviderError, and ask nothing",
    ),
    "one last call": Mistake(
        FLOATING,
        (
            (
                f"        {_ASK}",
                f"        try:\n            {_ASK}        except ProviderError:\n            return self._request(verb, path, 5.0)\n",
            ),
        ),
        "test_no_call_after_a_grant_that_ends_meanwhile",
        "No call may leave after the grant has ended, not even when it ends between two calls of one move",
    ),
    "a leave that fails where nothing is ours": Mistake(
        FLOATING,
        (
            (
                _LEAVE,
                f'{_LEAVE}        if (await self.look(until)).place is not Place.HERE:\n            raise ProviderError("not ours")\n',
            ),
        ),
        "test_leaving_may_be_done_twice",
        "Leave must succeed when there is nothing of ours",
    ),
    "a look that writes": Mistake(
        FLOATING,
        ((_LOOK, f"{_LOOK}        await self.move(until)\n"),),
        "TestMover and test_look_only_reads",
        "Look only reads: it must send no write",
    ),
    "no answer taken for a placement": Mistake(
        FLOATING,
        (
            (
                'answers = await together(self._ask("GET", address, until) for address in self._addresses)\n',
                (
                    "try:\n"
                    '            answers = await together(self._ask("GET", each, until) for each in self._addresses)\n'
                    "        except ProviderError:\n"
                    "            return Placement(Place.NOWHERE)\n"
                ),
            ),
        ),
        "test_no_answer_is_no_placement",
        "No answer is not evidence of anything: a look that is not answered must raise ProviderError",
    ),
}
