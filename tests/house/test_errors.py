"""All errors of the project have one root, and the module that defines it lists them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import controller
import health
import providers
from health import errors
from health.errors import AnyvipError

CONTRACTS = "controller.contracts."  # its errors are those of a failed test, or of an author's fake


def own_errors(package: ModuleType) -> set[type[Exception]]:
    found = set()
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.startswith(CONTRACTS) or module.name.endswith("__main__"):
            continue
        for each in vars(importlib.import_module(module.name)).values():
            own = inspect.isclass(each) and each.__module__.startswith(package.__name__)
            if own and issubclass(each, Exception) and not each.__name__.startswith("_"):  # those never leave a module
                found.add(each)
    return {each for each in found if not each.__module__.startswith(CONTRACTS)}


def test_every_error_has_the_root() -> None:
    found = own_errors(controller) | own_errors(providers) | own_errors(health)
    assert {each.__name__ for each in found if not issubclass(each, AnyvipError)} == set()
    assert len(found) > 20


def test_the_page_lists_every_error_that_is_directly_below_the_root() -> None:
    found = own_errors(controller) | own_errors(providers) | own_errors(health)
    direct = {each.__name__ for each in found if AnyvipError in each.__bases__}
    assert {name for name in direct if name not in (errors.__doc__ or "")} == set()
