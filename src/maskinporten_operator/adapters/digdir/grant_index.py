"""The scopes that the organisation may use: listed every few minutes, for all resources together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from maskinporten_operator.adapters.digdir.listing import SharedListing
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.registrations import INTEGRATION_TYPE
from maskinporten_operator.model.scopes import Granted
from maskinporten_operator.plan.consumed_scopes import OWN_SCOPES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from maskinporten_operator.adapters.digdir.scope_api import ScopeApi
    from maskinporten_operator.adapters.digdir.scope_index import DigdirScopeIndex
    from maskinporten_operator.model.scopes import RegisteredScope

MIN_LOOK_INTERVAL = 10.0
"""Seconds between two looks for a name that isn't known, and after a look that failed."""
MIN_DUE = 2.0
"""Seconds after which somebody asks again whose question came during a look."""
T = TypeVar("T")
log = structlog.get_logger()


class HintList(SharedListing[tuple[T, ...]]):
    """A list whose last content is kept when it can't be read.

    Attributes:
        name: What it lists, for logs and conditions.
        rows: What was read last.
        fault: Why the newest attempt failed; None if it didn't.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Awaitable[tuple[T, ...]]],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        super().__init__(read, self._take_in, monotonic, sleep)
        self.name = name
        self.rows: tuple[T, ...] = ()
        self.fault: OperatorError | None = None

    async def look(self) -> None:
        """Read it anew; the first fault in a row is logged."""
        try:
            await self.refresh()
        except OperatorError as error:
            if self.fault is None:
                log.warning("list not read", list=self.name, reason=str(error.reason), message=str(error))
            self.fault = error
        else:
            self.fault = None

    def _take_in(self, rows: tuple[T, ...], started: float) -> None:  # noqa: ARG002 - as `SharedListing` tells it
        self.rows = rows


class DigdirGrantIndex:
    """The scopes that DigDir's lists allow on the organisation's clients.

    That is what its owner granted, what is open to all, what consumers may delegate, and the organisation's own
    (DigDir's documentation of scopes). The lists are hints: they don't tell of private scopes that are open or may be
    delegated, and one that can't be read keeps nobody from what the others tell.
    """

    def __init__(
        self,
        api: ScopeApi,
        own: DigdirScopeIndex,
        *,
        max_age: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`max_age` is how many seconds the lists are believed."""
        self._own = own
        self._max_age = max_age
        self._monotonic = monotonic
        self._granted = HintList("granted scopes", api.list_granted, monotonic, sleep)
        self._open = HintList("open scopes", api.list_open, monotonic, sleep)
        self._delegated = HintList("delegated scopes", api.list_delegated, monotonic, sleep)
        self._own_fault: OperatorError | None = None
        self._names: frozenset[str] = frozenset()
        self._withdrawn: frozenset[str] = frozenset()  # names that were listed once and aren't any more
        self._orgno: str | None = None
        self._tried = -float("inf")  # when somebody last had the lists read
        self._retried = -float("inf")  # when those that failed were read again by themselves
        self._looked = -float("inf")  # when the newest look was begun that has ended, well or not
        self._expired_at = -float("inf")  # when DigDir last refused what the lists allow
        self._look: asyncio.Task[None] | None = None
        self._look_began = -float("inf")

    async def find(self, names: Iterable[str], asked: float) -> Granted:
        """Say which of the scopes may be registered on a client.

        A name that isn't known has the lists read anew, unless they are newer than the question of `asked` (monotonic
        seconds), or were read a few seconds ago. Raises nothing: what couldn't be read is named.
        """
        wanted = set(names)
        await self._keep_young()
        due = 0.0
        if wanted - self._find_known(wanted) and self._looked <= asked:
            due = await self._look_again(asked)
        names = self._find_known(wanted)
        inactive = {name for name in wanted if self._own.find(name)} - names
        return Granted(
            names,
            orgno=self._orgno or self._own.find_orgno(),
            due=due,
            own=names - self._names,
            withdrawn=(self._withdrawn & wanted | inactive) - names,
            unread=self._find_unread(),
        )

    def begin(self, alone_since: float) -> None:
        """Begin anew as the leader: another process may have written until `alone_since` (monotonic seconds)."""
        for one in self._lists:
            one.begin(alone_since)
        self._looked = self._tried = -float("inf")

    def expire(self) -> None:
        """DigDir refused what the lists allow: the next question reads them again."""
        self._expired_at = self._monotonic()

    @property
    def _lists(self) -> tuple[HintList[Any], ...]:
        return self._granted, self._open, self._delegated

    def _find_known(self, wanted: set[str]) -> frozenset[str]:
        return frozenset(name for name in wanted if name in self._names or self._is_own(name))

    def _is_own(self, name: str) -> bool:
        scope = self._own.find(name)
        return scope is not None and scope.active

    def _find_unread(self) -> tuple[str, ...]:
        own = (OWN_SCOPES,) if self._own_fault else ()
        return own + tuple(one.name for one in self._lists if one.fault)

    async def _keep_young(self) -> None:
        """Read the lists once they are too old, and those that failed again."""
        if self._looked == -float("inf"):
            await self._join_look()  # all that ask first share it
            return
        now = self._monotonic()
        is_old = self._expired_at > self._looked or now - self._looked > self._max_age
        if is_old and now - self._tried >= MIN_LOOK_INTERVAL:
            self._tried = now
            await self._read(*self._lists, with_own=self._own_fault is not None)
            self._looked = now
        elif self._find_unread() and now - max(self._tried, self._retried) >= MIN_LOOK_INTERVAL:
            self._retried = now  # which keeps nobody from a look at all lists
            await self._read(*(one for one in self._lists if one.fault), with_own=self._own_fault is not None)

    async def _look_again(self, asked: float) -> float:
        """Read the lists once for all that ask meanwhile; give the seconds until they may be read again."""
        is_running = self._look is not None and not self._look.done()
        may_begin = self._tried + MIN_LOOK_INTERVAL <= self._monotonic()
        if self._look_began > asked if is_running else may_begin:
            await self._join_look()
        return 0.0 if self._looked > asked else max(self._tried + MIN_LOOK_INTERVAL - self._monotonic(), MIN_DUE)

    async def _join_look(self) -> None:
        if self._look is None or self._look.done():
            self._tried, self._look_began = self._monotonic(), float("inf")
            self._look = asyncio.create_task(self._look_for_new())
        # One that waits and is cancelled must not take the look from the others.
        await asyncio.shield(self._look)

    async def _look_for_new(self) -> None:
        self._look_began = self._monotonic()
        await self._read(*self._lists, with_own=True)
        self._looked = self._look_began

    async def _read(self, *lists: HintList[Any], with_own: bool) -> None:
        """Read lists again; one that can't be read keeps its content."""
        own = [self._read_own(anew=self._looked > -float("inf"))] if with_own else []
        await asyncio.gather(*own, *(one.look() for one in lists))
        self._take_in()

    async def _read_own(self, *, anew: bool) -> None:
        """Read the organisation's own scopes, or wait for their first list."""
        try:
            await (self._own.refresh() if anew else self._own.ready())
        except OperatorError as error:
            if self._own_fault is None:
                log.warning("list not read", list=OWN_SCOPES, reason=str(error.reason), message=str(error))
            self._own_fault = error
        else:
            self._own_fault = None

    def _take_in(self) -> None:
        approved = [one for one in self._granted.rows if one.approved]
        open_ones = [one for one in self._open.rows if one.fields.get("accessible_for_all") is True]
        delegated = [one for one in self._delegated.rows if one.fields.get("delegation_source")]
        usable = {one.name for one in (*open_ones, *delegated) if one.active and _allows_maskinporten(one)}
        names = frozenset({one.scope for one in approved} | usable)
        denied = {one.scope for one in self._granted.rows if not one.approved}
        self._withdrawn = (self._withdrawn | self._names | denied) - names
        self._names = names
        self._orgno = next((one.orgno for one in approved), self._orgno)


def _allows_maskinporten(scope: RegisteredScope) -> bool:
    """Whether clients of our type may have a scope; none are named where all may."""
    types = scope.fields.get("allowed_integration_types")
    return not isinstance(types, list) or not types or INTEGRATION_TYPE in types
