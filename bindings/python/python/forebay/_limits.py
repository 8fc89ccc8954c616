"""Limiters and permits around functions, and waiting in an event loop.

In Python because only an ``async def`` is one to ``inspect``, ``asyncio`` and
the frameworks that ask them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, TypeVar, cast

from forebay._core import Lease, Limiter, Verdict
from forebay.values import Duration, Key

F = TypeVar("F", bound=Callable[..., Any])


async def acquired(
    limiter: Limiter, key: Key, timeout: Duration, cost: int, tier: str | None
) -> Verdict:
    """Takes a place in the queue, waits for its time; cancelled, gives it up."""
    import asyncio  # loaded long since, unless only functions are decorated

    place = limiter._place(key, timeout, cost, tier)
    if isinstance(place, Verdict):
        return place
    try:
        while (wait := place.wait) > 0:
            if place._manual:
                # It tells no event loop that it was moved, only who sleeps by it.
                await asyncio.to_thread(place._sleep)
            else:
                await asyncio.sleep(wait)
    except BaseException:
        place.cancel()
        raise
    return place._verdict()


def limited(
    enforce: Callable[[Any, Any, Any], object], key: Any, cost: Any, tier: Any
) -> Callable[[F], F]:
    """Decorates a function, a method or an ``async def``: each call is enforced
    first, with what the callables among `key`, `cost` and `tier` make of its
    arguments."""

    def ask(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        enforce(*(said(part, args, kwargs) for part in (key, cost, tier)))

    def decorate(function: F) -> F:
        check(function, "a limiter decorates")
        if iscoroutinefunction(function):

            @wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                ask(args, kwargs)
                return await function(*args, **kwargs)

            return cast(F, awaited)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            ask(args, kwargs)
            return function(*args, **kwargs)

        return cast(F, call)

    return decorate


def held(enter: Callable[[Any], Lease], key: Any) -> Callable[[F], F]:
    """Decorates a function, a method or an ``async def``: each call holds a
    lease of `key`, or of what it makes of the arguments."""

    def decorate(function: F) -> F:
        check(function, "permits decorate")
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(
                "permits decorate no generator function, whose call is over before its body begins"
            )
        if iscoroutinefunction(function):

            @wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with enter(said(key, args, kwargs)):
                    return await function(*args, **kwargs)

            return cast(F, awaited)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with enter(said(key, args, kwargs)):
                return function(*args, **kwargs)

        return cast(F, call)

    return decorate


def said(part: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A constant, or what a callable makes of a call's arguments."""
    return part(*args, **kwargs) if callable(part) else part


def check(function: Any, sentence: str) -> None:
    """Only what is called is decorated."""
    if not callable(function):
        raise TypeError(f"{sentence} a callable, not {type(function).__name__}")
