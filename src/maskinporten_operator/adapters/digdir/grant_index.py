"""The scopes that the organisation may use: listed every few minutes, for all resources together."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from maskinporten_operator.adapters.digdir.listing import SharedListing
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.registrations import INTEGRATION_TYPE
from maskinporten_operator.model.scopes import Granted, RegisteredScope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from maskinporten_operator.adapters.digdir.scope_api import ScopeApi
    from maskinporten_operator.adapters.digdir.scope_index import ScopeIndex

LEAST_BETWEEN = 10.0
"""Seconds between two looks for a name that isn't known, and after a look that failed."""
LEAST_DUE = 2.0
"""Seconds after which somebody asks again whose question came during a look."""


class GrantIndex:
    """What may be registered on a client of the organisation.

    That is what its owner granted, what is open to all, what consumers may delegate, and the organisation's own
    (DigDir's documentation of scopes).
    """

    def __init__(
        self,
        api: ScopeApi,
        own: ScopeIndex,
        *,
        max_age: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`max_age` is how many seconds the lists are believed."""
        self._api = api
        self._own = own
        self._max_age = max_age
        self._monotonic = monotonic
        self._listing = SharedListing(self._list, self._take, monotonic, sleep)
        self._names: frozenset[str] = frozenset()
        self._orgno: str | None = None
        self._listed = -float("inf")  # when the newest lists were started
        self._tried = -float("inf")  # when somebody last had them read
        self._doubted = -float("inf")  # when DigDir last refused what the lists allow
        self._look: asyncio.Task[None] | None = None
        self._look_began = -float("inf")

    async def find(self, names: Iterable[str], asked: float) -> Granted:
        """Say which of the scopes may be registered on a client.

        A name that isn't known has the lists read anew, unless they are newer than the question of `asked` (monotonic
        seconds), or were read a few seconds ago.

        Raises:
            OperatorError: The lists were never read, and can't be now.
        """
        await self._own.ready()
        await self._keep_young()
        wanted = set(names)
        due = 0.0
        if wanted - self._find_known(wanted) and self._listed <= asked:
            due = await self._look_again(asked)
        return Granted(frozenset(self._find_known(wanted)), self._orgno or self._own.find_orgno(), due)

    def begin(self) -> None:
        """Count from now on as from a new start: another process may have written until this moment."""
        self._listing.begin()
        self._listed = self._tried = -float("inf")

    def doubt(self) -> None:
        """DigDir refused what the lists allow: they are read anew when somebody asks next."""
        self._doubted = self._monotonic()

    def _find_known(self, wanted: set[str]) -> set[str]:
        return {name for name in wanted if name in self._names or self._is_own(name)}

    def _is_own(self, name: str) -> bool:
        scope = self._own.find(name)
        return scope is not None and scope.active

    async def _keep_young(self) -> None:
        """Read the lists again once they are too old; an outage leaves what was known."""
        if not self._listing.is_listed:
            self._tried = self._monotonic()
            await self._listing.ready()
            return
        now = self._monotonic()
        is_old = self._doubted > self._listed or now - self._listed > self._max_age
        if is_old and now - self._tried >= LEAST_BETWEEN:
            self._tried = now
            with suppress(OperatorError):
                await self._listing.refresh()

    async def _look_again(self, asked: float) -> float:
        """Look once for all that ask meanwhile; give the seconds until another look may tell more."""
        wait = self._tried + LEAST_BETWEEN - self._monotonic()
        if wait <= 0 and (self._look is None or self._look.done()):
            self._tried, self._look_began = self._monotonic(), float("inf")
            self._look = asyncio.create_task(self._look_for_new())
        if self._look and not self._look.done() and self._look_began > asked:
            # One that waits and is cancelled must not take the look from the others.
            await asyncio.shield(self._look)
        return 0.0 if self._listed > asked else max(self._tried + LEAST_BETWEEN - self._monotonic(), LEAST_DUE)

    async def _look_for_new(self) -> None:
        """Read all lists again; an outage leaves what was known."""
        self._look_began = self._monotonic()
        with suppress(OperatorError):
            await asyncio.gather(self._own.refresh(), self._listing.refresh())

    async def _list(self) -> tuple[frozenset[str], str | None]:
        granted = [grant for grant in await self._api.list_granted() if grant.approved]
        scopes = [one for one in await self._api.list_open() if one.fields.get("accessible_for_all") is True]
        scopes += [one for one in await self._api.list_delegated() if one.fields.get("delegation_source")]
        usable = {one.name for one in scopes if one.active and _allows_maskinporten(one)}
        names = frozenset({grant.scope for grant in granted} | usable)
        return names, next((grant.orgno for grant in granted), None)

    def _take(self, listed: tuple[frozenset[str], str | None], started: float) -> None:
        self._names, orgno = listed
        self._orgno = orgno or self._orgno
        self._listed = started


def _allows_maskinporten(scope: RegisteredScope) -> bool:
    """Whether clients of our type may have a scope; none are named where all may."""
    types = scope.fields.get("allowed_integration_types")
    return not isinstance(types, list) or not types or INTEGRATION_TYPE in types
