"""Stores and providers of other authors: found by entry points, checked by their own options."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.config.errors import _schema
from controller.config.loading import from_bytes
from controller.config.model import Config
from controller.config.plugins import AUTO
from controller.config.problem import ConfigError
from providers.registry import known_providers, provider_type

MODULE = '''
from pydantic import BaseModel, Field, field_validator, model_validator


class Beacon:
    class Options(BaseModel):
        """Lights a beacon."""
        model_config = {"extra": "forbid"}
        colour: str
        height: int = Field(default=3, ge=1, le=9)
        first: bool = False
        last: bool = False

        @field_validator("colour")
        @classmethod
        def _known(cls, colour):
            if colour not in ("red", "green"):
                raise ValueError("must be red or green")
            return colour

        @model_validator(mode="after")
        def _apart(self):
            if self.first and self.last:
                raise ValueError("found first and last; allowed: one of them")
            return self
'''
ENTRY_POINTS = "[anyvip.providers]\nbeacon = a_beacon_of_others:Beacon\nbroken = no_such_module_at_all:Nothing\n"


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts a distribution on the path, as pip does."""
    (tmp_path / "a_beacon_of_others.py").write_text(MODULE)
    metadata = tmp_path / "a_beacon_of_others-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: a-beacon-of-others\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    _forget()
    yield
    _forget()


def _forget() -> None:
    for remembered in (_schema, known_providers, provider_type):
        remembered.cache_clear()


def read(provider: str) -> Config:
    text = f"cluster: a\nstore: {{type: file}}\ngroups:\n  web:\n    vips: [10.0.0.1/24]\n    providers: [{provider}]\n"
    return from_bytes(text.encode(), "anyvip.yml")


def complaint(provider: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(provider)
    return str(caught.value).removeprefix("anyvip.yml:6: groups.web.providers[0]")


def test_it_is_found_and_its_options_are_read() -> None:
    (provider,) = read("{type: beacon, colour: red}").groups["web"].providers
    assert provider.type == "beacon"
    assert provider.options.model_dump() == {"colour": "red", "height": 3, "first": False, "last": False}


@pytest.mark.parametrize(
    ("provider", "text"),
    [
        ("{type: beacon}", ".colour: found nothing; allowed: a string (required)"),
        ("{type: beacon, colour: blue}", '.colour: found "blue"; allowed: red or green'),
        ("{type: beacon, colour: red, height: 10}", ".height: found 10; allowed: an integer from 1 to 9"),
        ("{type: beacon, colour: red, height: '3'}", '.height: found "3"; allowed: an integer from 1 to 9'),
        ("{type: beacon, colour: red, first: true, last: true}", ": found first and last; allowed: one of them"),
        (
            "{type: beacon, color: red, colour: red}",
            '.color: found unknown key "color"; allowed: colour, first, height, last, type; did you mean "colour"?',
        ),
        (
            "{type: broken}",
            (
                ".type: found \"broken\"; allowed: a type that can be loaded (provider type 'broken' cannot be loaded: "
                "No module named 'no_such_module_at_all')"
            ),
        ),
    ],
)
def test_its_mistakes_read_as_ours_do(provider: str, text: str) -> None:
    assert complaint(provider) == text


def test_an_unknown_type_is_answered_with_those_that_are_known() -> None:
    names = ", ".join((AUTO, *known_providers()))
    assert {"baremetal", "beacon", "broken"} < set(known_providers())
    assert complaint("{type: becon}") == f'.type: found "becon"; allowed: {names}'


def test_one_that_cannot_be_loaded_does_not_spoil_the_schema() -> None:
    schema = Config.model_json_schema()
    mapping = schema["$defs"]["Group"]["properties"]["providers"]["items"]["discriminator"]["mapping"]
    assert {"beacon", "broken"} <= set(mapping)
    assert schema["$defs"][mapping["beacon"].rpartition("/")[2]]["properties"]["height"]["maximum"] == 9
