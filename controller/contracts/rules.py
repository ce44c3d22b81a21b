"""Makes the docstring of a contract's test its rule: one plain sentence, with which a failure's message begins."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final, ParamSpec

P = ParamSpec("P")
Test = Callable[P, Coroutine[Any, Any, None]]

PATIENCE_SECONDS: Final = 60.0  # a generous limit for what must happen eventually


class BrokenRule(AssertionError):  # noqa: N818  (the name says what has happened)
    """A rule was broken. The message begins with the rule, and then says what happened instead."""


def rule(test: Test[P]) -> Test[P]:
    """Make each failure of the test name its rule, the first paragraph of its docstring."""
    sentence = " ".join((test.__doc__ or "").partition("\n\n")[0].split()).removesuffix(".")

    @wraps(test)
    async def kept(*args: P.args, **named: P.kwargs) -> None:
        try:
            await test(*args, **named)
        except Exception as error:
            raise BrokenRule(f"{sentence} ({_describe(error)})") from error

    return kept


@contextmanager
def raises(*kinds: type[Exception]) -> Iterator[None]:
    """Require that the body raises one of these. Other exceptions pass through."""
    names = " or ".join(kind.__name__ for kind in kinds)
    try:
        yield
    except kinds:
        return
    raise AssertionError(f"{names} was not raised")


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, AssertionError) and text else f"{type(error).__name__}: {text}"
