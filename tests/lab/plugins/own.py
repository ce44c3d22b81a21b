"""The stores and providers of this tree, by their entry points. Its tests ignore other installed plugins."""

from __future__ import annotations

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]

OWN_STORES: tuple[str, ...] = tuple(sorted(_PROJECT["entry-points"]["anyvip.stores"]))
OWN_PROVIDERS: tuple[str, ...] = tuple(sorted(_PROJECT["entry-points"]["anyvip.providers"]))
