"""Plants a mutant: replaces one piece of a module's source before the module is imported.

A mutant is the code without one rule. As a pytest plugin (``-p tests.mutants.planting``), this module plants the
mutant that the environment variable `PLANTED_MUTANT` describes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
VARIABLE = "PLANTED_MUTANT"  # not ANYVIP_...: a test asserts which of those a hook sees
_SECONDS = 600  # for one test; a mutant that makes it hang counts as caught
# In CI a skip is a failure, and would seem to catch the mutant. Loading all plugins takes longer than most tests do.
_ALONE = {"CI": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
_FAILED = 1  # pytest's exit code when tests failed, but also Python's when a plugin cannot be loaded
_ONE_FAILED = re.compile(r"^1 failed\b", re.MULTILINE)


class NotTriedError(Exception):
    """The test that would catch a mutant is skipped on this machine."""


@dataclass(frozen=True, slots=True)
class Plant:
    """Replaces `before`, which occurs once in the module, by `after`. The test `caught_by` (a node id) must fail."""

    name: str
    rule: str
    happens: str
    module: str
    before: str
    after: str
    caught_by: str

    def planted_in(self, source: str) -> str:
        """Returns the source with the mutant. Raises LookupError when `before` does not occur exactly once."""
        if source.count(self.before) != 1:
            raise LookupError(f"mutant {self.name}: its text stands {source.count(self.before)} times in {self.module}")
        return source.replace(self.before, self.after)

    def load(self) -> Any:
        """Returns a copy of the module with the mutant. The real one stays as it is. Raises LookupError as above."""
        origin, source = self._source()
        module = ModuleType(self.module)
        module.__file__ = origin
        exec(compile(source, f"{origin} with {self.name}", "exec"), module.__dict__)
        return module

    def _source(self) -> tuple[str | None, str]:
        """Returns the module's path, and its source with the mutant."""
        spec = find_spec(self.module)
        assert spec is not None
        assert isinstance(spec.loader, SourceFileLoader)
        return spec.origin, self.planted_in(spec.loader.get_source(self.module) or "")

    def survives(self) -> str | None:
        """Runs the test with the mutant planted. Returns why the mutant survives, or None if the test catches it.

        Raises NotTriedError when the test is skipped, and LookupError as `planted_in` does.
        """
        self._source()
        plugins = ("no:cacheprovider", "pytest_asyncio.plugin", "pytest_timeout", __name__)
        command = [sys.executable, "-m", "pytest", "-x", "-q", *(f"-p{each}" for each in plugins), self.caught_by]
        try:
            ended = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, **_ALONE, VARIABLE: json.dumps(asdict(self))},
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
        if ended.returncode == _FAILED and _ONE_FAILED.search(ended.stdout):
            return None
        if ended.returncode == 0 and " passed" not in ended.stdout:
            raise NotTriedError(f"{self.caught_by} is skipped:\n{ended.stdout[-2000:]}")
        if ended.returncode == 0:
            return f"{self.caught_by} passes without the rule: {self.rule}"
        return f"{self.caught_by} could not be run:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}"


class _Finder:
    """Finds the mutant's module, and loads it with the mutant."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._plant.module:
            return None
        found = PathFinder.find_spec(name, path, target)
        assert found is not None
        assert found.origin is not None
        found.loader = _Loader(self._plant, name, found.origin)
        return found


class _Loader(SourceFileLoader):
    """Compiles the module each time: Python's compiled cache has no mutant."""

    def __init__(self, plant: Plant, name: str, path: str) -> None:
        super().__init__(name, path)
        self._plant = plant

    def get_code(self, fullname: str) -> CodeType:
        source = self._plant.planted_in(self.get_source(fullname) or "")
        return compile(source, self.get_filename(fullname), "exec", dont_inherit=True)


def pytest_load_initial_conftests() -> None:
    """Plants the mutant before a conftest imports its module. The module must not be imported yet."""
    plant = Plant(**json.loads(os.environ[VARIABLE]))
    assert plant.module not in sys.modules, f"{plant.module} is imported too early to plant {plant.name}"
    sys.meta_path.insert(0, _Finder(plant))
