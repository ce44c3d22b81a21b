"""Compares this node's configuration file with what the other nodes say of theirs in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Final

from controller.config.facts import list_facts
from controller.core.differences import compare, digest
from controller.core.records import SESSIONS, BadRecord, Session, decode
from controller.stores.registry import store_type
from providers.base import Finding, Level

if TYPE_CHECKING:
    from controller.config.model import Config

_READ_SECONDS: Final = 10.0
_REMEDY: Final = "edit and reload the nodes until their files agree; until then a failover can change what is served"


async def compare_with_others(config: Config) -> list[Finding]:
    """Reads the sessions once and compares. Raises StoreError, and TimeoutError after `_READ_SECONDS`."""
    store = store_type(config.store.type).open(config.store.options, cluster=config.cluster, call_timeout=_READ_SECONDS)
    try:
        async with asyncio.timeout(_READ_SECONDS):
            entries = await store.read(SESSIONS)
    finally:
        await store.close()
    found: list[Finding] = []
    for entry in entries.values():
        try:
            session = decode(entry.value, Session)
        except BadRecord:  # the daemon reports it
            continue
        if not session.fenced and session.node != config.node:
            found += _compare(config, session)
    return found


def _compare(config: Config, session: Session) -> Iterator[Finding]:
    version, subject = metadata.version("anyvip"), f"node {session.node}"
    if session.version and session.version != version:
        yield Finding(Level.WARNING, "config.version", subject, f"runs anyvip {session.version}, this node {version}")
    facts = list_facts(config)
    if not session.config:
        yield Finding(Level.WARNING, "config.differs", subject, "runs a version that does not say how it is configured")
    elif session.config == digest(facts):
        yield Finding(Level.OK, "config.differs", subject, "is configured like this node")
    elif session.facts is None:
        text = "is configured otherwise, and has not said yet in what"
        yield Finding(Level.ERROR, "config.differs", subject, text, "reload this node, then look at `anyvip status`")
    else:
        for phrase in compare(facts, session.facts):
            level = Level.WARNING if phrase.startswith("has ") else Level.ERROR
            yield Finding(level, "config.differs", subject, phrase, _REMEDY)
