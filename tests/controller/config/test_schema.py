"""The JSON Schema, from which editors complete the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab.plugins.own import OWN_PROVIDERS, OWN_STORES

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema as the command prints it. Made once, because it imports every SDK."""
    command = [sys.executable, "-m", "controller.cli.main", "check-config", "--schema"]
    environment = {**os.environ, "ANYVIP_CONFIG": "/no/such/file"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert not ran.stderr
    parsed: dict[str, Any] = json.loads(ran.stdout)
    return parsed


def objects(node: Any) -> list[dict[str, Any]]:
    """Returns every schema of a mapping in the tree."""
    inner = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    own = [node] if isinstance(node, dict) and "properties" in node and isinstance(node.get("type"), str) else []
    return own + [found for child in inner for found in objects(child)]


def references(node: Any) -> set[str]:
    """Returns the names of the definitions in the tree, without those of plug-ins of other authors."""
    if isinstance(node, dict):
        mapping = node.get("discriminator", {}).get("mapping", {})
        foreign = {target for name, target in mapping.items() if name not in {"auto", *OWN_STORES, *OWN_PROVIDERS}}
        named = {node["$ref"]} if "$ref" in node else set()
        return named.union(*map(references, node.values())) - foreign
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def of_ours(schema: dict[str, Any]) -> list[Any]:
    """Returns the schema and the definitions of our own parts, because plug-ins of other authors can be installed."""
    found: dict[str, Any] = {"": {key: value for key, value in schema.items() if key != "$defs"}}
    while missing := references(list(found.values())) - found.keys():
        found |= {each: schema["$defs"][each.removeprefix("#/$defs/")] for each in missing}
    return list(found.values())


def test_it_is_that_of_the_whole_file(schema: dict[str, Any]) -> None:
    assert schema["title"] == "Config"


def test_every_plugin_is_in_it(schema: dict[str, Any]) -> None:
    assert set(OWN_STORES) <= set(schema["properties"]["store"]["discriminator"]["mapping"])
    providers = schema["$defs"]["Group"]["properties"]["providers"]["items"]
    assert {"auto", *OWN_PROVIDERS} <= set(providers["discriminator"]["mapping"])


def test_the_options_of_a_plugin_are_in_it(schema: dict[str, Any]) -> None:
    reference = schema["properties"]["store"]["discriminator"]["mapping"]["etcd"]
    etcd = schema["$defs"][reference.removeprefix("#/$defs/")]
    assert etcd["properties"]["type"]["const"] == "etcd"
    assert {"endpoints", "type"} <= set(etcd["required"])


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)
    for part in text.split('"#/$defs/')[1:]:
        assert part.partition('"')[0] in schema["$defs"]


def test_unknown_keys_are_errors_everywhere(schema: dict[str, Any]) -> None:
    found = objects(of_ours(schema))
    assert len(found) > 10
    assert [one.get("title") for one in found if one.get("additionalProperties") is not False] == []


def test_every_key_of_ours_says_what_it_is_for(schema: dict[str, Any]) -> None:
    ours = [schema, *(schema["$defs"][name] for name in ("Lease", "Health", "Admin", "Group", "Hooks"))]
    silent = [key for one in ours for key, inner in one["properties"].items() if "description" not in inner]
    assert silent == []


def test_defaults_are_written_as_in_the_file(schema: dict[str, Any]) -> None:
    group = schema["$defs"]["Group"]["properties"]
    assert group["providers"]["default"] == [{"type": "auto"}]
    assert group["priority"]["default"] == 100
    assert schema["properties"]["state_dir"]["default"] == "/run/anyvip"
    assert schema["$defs"]["Health"]["properties"]["listen"]["default"] == ["0.0.0.0:9010", "[::]:9010"]
    assert schema["$defs"]["Admin"]["properties"]["mode"]["default"] == "0660"
