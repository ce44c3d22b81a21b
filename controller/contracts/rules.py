"""A rule of a contract is one plain sentence: the docstring of the test that holds it, and what its failure says."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final, ParamSpec

P = ParamSpec("P")
Test = Callable[P, Coroutine[Any, Any, None]]

PATIENCE_SECONDS: Final = 60.0  # how long something may take that must happen at all; generous


class BrokenRule(AssertionError):  # noqa: N818  (that is what has happened)
    """The message begins with the rule, and goes on with what happened instead."""


def rule(test: Test[P]) -> Test[P]:
    """Whatever makes this test fail, its failure names the rule: the first paragraph of the test's docstring."""
    sentence = " ".join((test.__doc__ or "").partition("\n\n")[0].split()).removesuffix(".")

    @wraps(test)
    async def kept(*args: P.args, **named: P.kwargs) -> None:
        try:
            await test(*args, **named)
        except Exception as error:
            raise BrokenRule(f"{sentence} ({_said(error)})") from error

    return kept


@contextmanager
def raises(*kinds: type[Exception]) -> Iterator[None]:
    """What is done within must raise one of these; another exception goes on as it is."""
    names = " or ".join(kind.__name__ for kind in kinds)
    try:
        yield
    except kinds:
        return
    raise AssertionError(f"{names} was not raised")


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, AssertionError) and text else f"{type(error).__name__}: {text}"
