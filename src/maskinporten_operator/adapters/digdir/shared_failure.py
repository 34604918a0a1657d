"""A failure shared by all who waited for the attempt, so that they don't each repeat it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from maskinporten_operator.model.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
REMEMBERED = 2.0
"""Seconds; less than any outage, more than the time that waiters take to come out of a lock."""


class SharedFailure:
    """The last failure of something that many wait for, behind a lock of the caller's."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """`monotonic` gives seconds that only go forward: a wall clock that is set back would keep a failure alive."""
        self._monotonic = monotonic
        self._error: OperatorError | None = None
        self._until = 0.0

    async def guard(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Attempt it, unless it failed a moment ago.

        Raises:
            OperatorError: It failed, now or then.
        """
        if self._error and self._monotonic() < self._until:
            raise self._error
        try:
            result = await attempt()
        except OperatorError as error:
            self._error, self._until = error, self._monotonic() + REMEMBERED
            raise
        self._error = None
        return result
