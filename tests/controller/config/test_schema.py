"""The JSON Schema, from which editors complete the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.stores.registry import known_stores
from providers.registry import known_providers

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """As the command prints it, which needs no file for that; made once, as every SDK is loaded for it."""
    command = [sys.executable, "-m", "controller.cli.main", "check-config", "--schema"]
    environment = {**os.environ, "ANYVIP_CONFIG": "/no/such/file"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert not ran.stderr
    parsed: dict[str, Any] = json.loads(ran.stdout)
    return parsed


def objects(node: Any) -> list[dict[str, Any]]:
    """Every schema of a mapping in the tree."""
    inner = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    own = [node] if isinstance(node, dict) and "properties" in node and isinstance(node.get("type"), str) else []
    return own + [found for child in inner for found in objects(child)]


def test_it_is_that_of_the_whole_file(schema: dict[str, Any]) -> None:
    assert schema["title"] == "Config"


def test_every_plugin_is_in_it(schema: dict[str, Any]) -> None:
    assert set(schema["properties"]["store"]["discriminator"]["mapping"]) == set(known_stores())
    providers = schema["$defs"]["Group"]["properties"]["providers"]["items"]
    assert set(providers["discriminator"]["mapping"]) == {"auto", *known_providers()}


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
    found = objects(schema)
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
