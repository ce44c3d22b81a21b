"""The examples in docs/ pass their contracts as installed packages, outside of the tree; faulty ones fail."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import controller.stores.base
import providers.base
import providers.cloud.mover
from tests.lab.plugins.mistakes import MOVERS, PROVIDERS, STORES, Mistake
from tests.lab.plugins.outside import EXAMPLES, ROOT, Outside, install_outside

SQLITE, FLOATING = "sqlite-store", "floating-ip"
DOCS = EXAMPLES.parent
QUOTES = runpy.run_path(str(DOCS / "quotes.py"))
PROVIDER_PAGE = (DOCS / "writing-a-provider.md").read_text()
MISTAKES = {
    f"{contract}: {name}": mistake
    for contract, some in {"store": STORES, "provider": PROVIDERS, "mover": MOVERS}.items()
    for name, mistake in some.items()
}


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    return install_outside(tmp_path_factory.mktemp("outside"), (SQLITE, FLOATING))


def test_what_is_imported_is_what_was_installed(outside: Outside) -> None:
    modules = ("anyvip_sqlite_store", "anyvip_floating_ip", "controller", "controller.contracts", "providers", "health")
    program = f"import importlib\nfor name in {modules!r}: print(importlib.import_module(name).__file__)"
    files = [Path(line) for line in outside.run_python(program).splitlines()]
    assert [file for file in files if not file.is_relative_to(outside.site)] == []
    assert len(files) == len(modules)
    assert not outside.directory.is_relative_to(ROOT)


@pytest.mark.parametrize("example", [SQLITE, FLOATING])
def test_an_example_keeps_its_contracts(outside: Outside, example: str) -> None:
    done = outside.run_tests(example)
    assert done.passed, done.output
    assert "skipped" not in done.output


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_fails_with_the_rule_that_it_breaks(outside: Outside, mistake: Mistake, tmp_path: Path) -> None:
    mistake.make(tmp_path)
    done = outside.run_tests(Path(mistake.example).parent.name, "-k", mistake.test, "--tb=short", instead=tmp_path)
    assert not done.passed, done.output
    assert f"BrokenRule: {mistake.rule}" in done.output, done.output


@pytest.mark.parametrize("page", QUOTES["PAGES"])
def test_a_page_quotes_the_files_as_they_are(page: str) -> None:
    text = (DOCS / page).read_text()
    assert QUOTES["quote_files"](page) == text, "run: make docs"
    sources = [file for file in (EXAMPLES / QUOTES["PAGES"][page]).rglob("*.py") if file.parent.name != "__pycache__"]
    assert [file.name for file in sources if file.read_text() not in text] == []


def test_every_optional_capability_has_its_row() -> None:
    modules = (providers.base, providers.cloud.mover, controller.stores.base)
    kinds = {name for module in modules for name, kind in vars(module).items() if is_capability(kind, module.__name__)}
    assert len(kinds) >= 9
    rows = set(re.findall(r"^\| `(\w+)` \| a (?:provider|mover|store) \|", PROVIDER_PAGE, re.MULTILINE))
    assert rows == kinds


def is_capability(kind: object, module: str) -> bool:
    return getattr(kind, "_is_runtime_protocol", False) and getattr(kind, "__module__", "") == module
