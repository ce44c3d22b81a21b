"""A strict fake of Consul: key/value store, transactions, blocking queries and ACL tokens, as far as anyvip uses them.

``python -m tests.lab.stores.consul HOST`` serves it as a process. It does what agent/kvs_endpoint.go,
agent/txn_endpoint.go and agent/consul/state/kvs.go of hashicorp/consul do, and refuses with 400 what they do not know
or would ignore.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.lab.http.serving import Ailments, run_as_process

LONGEST = 512 * 1024  # kv_max_value_size and txn_max_req_len
_FILES = re.compile(
    r"\.(js|css|html?|xml|json|txt|log|php|py|rb|sh|exe|pdf|docx?|zip|gz|tar|jpe?g|png|svg)$", re.IGNORECASE
)


@dataclass
class Pair:
    value: bytes
    flags: int
    created: int
    modified: int


class Failed(Exception):  # noqa: N818  (an answer)
    """An operation of a transaction cannot be carried out."""


@dataclass
class Consul:
    """The server. `tokens` maps each token to the key prefixes that it can read and write; without tokens, no ACLs."""

    tokens: dict[str, tuple[str, str]] = field(default_factory=dict)
    ailments: Ailments = field(default_factory=Ailments)
    pairs: dict[str, Pair] = field(default_factory=dict)
    graves: dict[str, int] = field(default_factory=dict)
    index: int = 10
    restored: int = 0
    seen_tokens: list[str] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def application(self) -> web.Application:
        made = web.Application(middlewares=[self.ailments.middleware], client_max_size=4 * LONGEST)
        made.router.add_get("/v1/kv/{key:.*}", self.listing)
        made.router.add_put("/v1/txn", self.transaction)
        return made

    def wipe(self, index: int = 1) -> None:
        """Restore an empty snapshot, which answers waiting queries immediately (agent/consul/state: AbandonCh)."""
        self.pairs, self.graves, self.index = {}, {}, index
        self.restored += 1
        self._wake()

    # --- reads -----------------------------------------------------------------------------------------------------

    async def listing(self, request: web.Request) -> web.Response:
        key, query = request.match_info["key"], dict(request.query)
        if unknown := set(query) - {"recurse", "consistent", "index", "wait", "dc"}:
            return _bad(f"unknown parameters: {unknown}")
        if "recurse" not in query or "consistent" not in query:
            return _bad("this fake supports only ?recurse&consistent")
        if why := refused_key(key):
            return _bad(why)
        if (refusal := self._dc(query) or self._who(request)) is not None:
            return refusal
        if "index" in query and (refusal := await self._wait(key, query)) is not None:
            return refusal
        return self._listed(key, self.tokens.get(request.headers.get("X-Consul-Token", ""), ("", ""))[0])

    def _listed(self, prefix: str, readable: str) -> web.Response:
        under = {key: pair for key, pair in self.pairs.items() if key.startswith(prefix)}
        shown = {key: pair for key, pair in under.items() if key.startswith(readable)}
        headers = {
            "X-Consul-Index": str(self._index_of(prefix)),
            "X-Consul-KnownLeader": "true",
            "X-Consul-LastContact": "0",
        }
        if shown != under:
            headers["X-Consul-Results-Filtered-By-Acls"] = "true"
        if not shown:
            return web.Response(status=404, headers=headers)
        body = [
            {**described(key, pair), "Value": b64encode(pair.value).decode() or None} for key, pair in shown.items()
        ]
        return web.json_response(sorted(body, key=lambda pair: pair["Key"]), headers=headers)

    def _index_of(self, prefix: str) -> int:
        under = [pair.modified for key, pair in self.pairs.items() if key.startswith(prefix)]
        buried = [index for key, index in self.graves.items() if key.startswith(prefix)]
        return max([*under, *buried], default=self.index)

    async def _wait(self, prefix: str, query: Mapping[str, str]) -> web.Response | None:
        wait = re.fullmatch(r"(\d+)(s|m)", query.get("wait", "5m"))
        if not query["index"].isdecimal() or int(query["index"]) < 1 or wait is None:
            return _bad(f"Invalid index or wait: {dict(query)}")
        seconds = int(wait[1]) * (60 if wait[2] == "m" else 1)
        try:
            async with asyncio.timeout(min(seconds, 600) * random.uniform(1, 17 / 16)):
                restored = self.restored
                while self._index_of(prefix) <= int(query["index"]) and self.restored == restored:
                    await self._changed.wait()
        except TimeoutError:
            pass
        return None

    # --- writes ----------------------------------------------------------------------------------------------------

    async def transaction(self, request: web.Request) -> web.Response:
        raw = await request.read()
        if len(raw) > LONGEST:
            return web.Response(status=413, text=f"Request body too large, max size: {LONGEST} bytes")
        if unknown := set(request.query) - {"dc"}:
            return _bad(f"unknown parameters: {unknown}")
        if (refusal := self._dc(request.query) or self._who(request)) is not None:
            return refusal
        try:
            operations = [_operation(each) for each in json.loads(raw)]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return _bad(f"Failed to parse body: {error}")
        if not 0 < len(operations) <= 64:
            return web.Response(status=413, text="Transaction contains too many operations")
        return self._carried_out(operations, request.headers.get("X-Consul-Token", ""))

    def _carried_out(self, operations: list[dict[str, Any]], token: str) -> web.Response:
        """Carry out all operations or none: on copies, which become the present state."""
        readable, writable = self.tokens.get(token, ("", ""))
        before = (dict(self.pairs), dict(self.graves))
        results, errors = [], []
        for number, operation in enumerate(operations):
            try:
                results += self._apply(operation, self.index + 1, writable)
            except Failed as error:
                errors.append({"OpIndex": number, "What": str(error)})
        if errors:
            self.pairs, self.graves = before
            return web.json_response({"Results": None, "Errors": errors}, status=409)
        self.index += 1
        self._wake()
        shown = [{"KV": result} for result in results if result["Key"].startswith(readable)]
        return web.json_response({"Results": shown, "Errors": None})

    def _apply(self, operation: dict[str, Any], index: int, writable: str) -> list[dict[str, Any]]:
        verb, key, expected = operation["Verb"], operation["Key"], operation["Index"]
        if not key.startswith(writable):
            raise Failed("Permission denied")
        pair = self.pairs.get(key)
        modified = pair.modified if pair else 0
        if verb == "cas":
            if modified != expected:
                raise Failed(f'failed to set key "{key}", index is stale')
            value, flags = b64decode(operation["Value"]), operation["Flags"]
            if pair is None or (pair.value, pair.flags) != (value, flags):
                self.pairs[key] = pair = Pair(value, flags, pair.created if pair else index, index)
            return [described(key, pair)]
        if verb == "check-index":
            if pair is None:
                raise Failed(f'failed to check index, key "{key}" doesn\'t exist')
            if modified != expected:
                raise Failed(f'failed index check for key "{key}", current modify index {modified} != {expected}')
            return [described(key, pair)]
        if pair is not None and modified != expected:
            raise Failed(f'failed to delete key "{key}", index is stale')
        if pair is not None:
            del self.pairs[key]
            self.graves[key] = index
        return []

    # --- both ------------------------------------------------------------------------------------------------------

    def _who(self, request: web.Request) -> web.Response | None:
        token = request.headers.get("X-Consul-Token", "")
        self.seen_tokens.append(token)
        if self.tokens and token not in self.tokens:
            return web.Response(status=403, text="Permission denied: ACL not found")
        return None

    def _dc(self, query: Mapping[str, str]) -> web.Response | None:
        if query.get("dc", "dc1") != "dc1":
            return web.Response(status=500, text="No path to datacenter")
        return None

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _operation(each: Any) -> dict[str, Any]:
    """Parse one operation. Raises ValueError, KeyError or TypeError for what Consul refuses or would ignore."""
    (kind, operation) = next(iter(each.items()))
    wanted = {"cas": {"Verb", "Key", "Index", "Value", "Flags"}}.get(operation["Verb"], {"Verb", "Key", "Index"})
    if len(each) != 1 or kind != "KV" or operation["Verb"] not in {"cas", "check-index", "delete-cas"}:
        raise ValueError(f"unknown KV verb {operation['Verb']!r}")
    if set(operation) != wanted:
        raise ValueError(f"keys {set(operation)} instead of {wanted}")
    if type(operation["Index"]) is not int or not 0 <= operation["Index"] < 2**64:
        raise ValueError(f"index {operation['Index']!r}")
    if not 0 <= operation.get("Flags", 0) < 2**64:
        raise ValueError(f"flags {operation['Flags']!r}")
    if why := refused_key(operation["Key"]):
        raise ValueError(why)
    if len(b64decode(operation.get("Value", ""), validate=True)) > LONGEST:
        raise ValueError("value too large")
    return dict(operation)


def refused_key(key: str) -> str | None:
    """Return why Consul 1.22 and later refuse a key, or None."""
    if not key or key.startswith("/") or not re.fullmatch(r"[A-Za-z0-9,_./-]+", key, re.ASCII):
        return f"key {key!r} contains invalid character"
    if "../" in key or _FILES.search(key):
        return f"key {key!r} contains path traversal sequence or suspicious file extension"
    return None


def described(key: str, pair: Pair) -> dict[str, Any]:
    """Return the pair without its value, as Consul describes it."""
    return {
        "LockIndex": 0,
        "Key": key,
        "Flags": pair.flags,
        "Value": None,
        "CreateIndex": pair.created,
        "ModifyIndex": pair.modified,
    }


def _bad(text: str) -> web.Response:
    return web.Response(status=400, text=text)


if __name__ == "__main__":
    fake = Consul()
    run_as_process(fake.application(), fake.wipe)
