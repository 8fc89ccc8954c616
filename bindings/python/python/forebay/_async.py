"""Breakers around coroutines: enter before, tell the outcome after the await.

In Python because only an ``async def`` is one to ``inspect``, ``asyncio`` and
the frameworks that ask them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

from forebay._core import Permit

P = ParamSpec("P")
T = TypeVar("T")


def guarded(
    function: Callable[P, Coroutine[Any, Any, T]], enter: Callable[[], Permit]
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Decorates an ``async def``: leave is asked for when it is awaited."""

    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        permit = enter()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            permit._settle(None, error)
            raise
        permit._settle(result, None)
        return result

    return call


def settled(coroutine: Coroutine[Any, Any, T], permit: Permit) -> Coroutine[Any, Any, T]:
    """A coroutine that has been given leave to run, as one that tells how it
    ended. It goes by the name of what it runs."""
    settling = settle(Unawaited(coroutine), permit)
    for name in ("__name__", "__qualname__"):
        setattr(settling, name, getattr(coroutine, name, getattr(settling, name)))
    return settling


async def settle(unawaited: Unawaited[T], permit: Permit) -> T:
    """Awaits, then tells the permit."""
    try:
        result = await unawaited.coroutine
    except BaseException as error:
        permit._settle(None, error)
        raise
    permit._settle(result, None)
    return result


class Unawaited(Generic[T]):
    """A coroutine that is closed if it is never awaited, as when a task is
    cancelled before its first step: the one around it is what Python then
    warns about, or not."""

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self.coroutine = coroutine

    def __del__(self) -> None:
        self.coroutine.close()
