"""The organisation's own scopes and their access lists: listed for all resources, kept up with our own writes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskinporten_operator.adapters.digdir.lagging_listing import LaggingListing
from maskinporten_operator.adapters.digdir.listing import SharedListing
from maskinporten_operator.adapters.digdir.scope_api import is_orgno
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import (
    AlreadyExistsError,
    BadRequestError,
    OperatorError,
    OutcomeUnknownError,
    RejectedError,
    TransientError,
)
from maskinporten_operator.model.scopes import AccessList, RegisteredScope
from maskinporten_operator.plan.exposed_scopes import find_owner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from maskinporten_operator.adapters.digdir.scope_api import ScopeApi

MAX_SOURCES_AGE = 3600.0
MIN_SOURCES_INTERVAL = 10.0
"""Seconds: how long delegation sources are remembered, and how soon they are read again for one that isn't known."""
LIST_SHARED = 5.0
"""Seconds for which a list serves all scopes that may not be read alone; it lags behind as long anyway."""
KEPT_OF_OTHERS = ("subscope", "description", "active", "owner_orgno")
"""The members of a scope that isn't this cluster's: enough to say whose it is, and whether it may be consumed."""


@dataclass(frozen=True, slots=True)
class _Rows:
    access: AccessList
    read_at: float


class DigdirScopeIndex(LaggingListing[RegisteredScope]):
    """The organisation's scopes by name and by owner, and who may use ours."""

    def __init__(
        self,
        api: ScopeApi,
        *,
        cluster: str,
        lag: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(
            api.list_own, lag, monotonic, sleep, key=lambda one: one.name, owner=lambda one: find_owner(one, cluster)
        )
        self._api = api
        self._access: dict[str, _Rows] = {}
        self._access_due = -float("inf")  # rows that were read before this instant are read again
        self._written: defaultdict[str, dict[str, float]] = defaultdict(dict)  # by scope: when whose access was
        self._sources = SharedListing(api.list_delegation_sources, self._take_sources, monotonic, sleep)
        self._issuers: Mapping[str, str] = {}  # by the name of their delegation source
        self._issuers_read = -float("inf")

    def expire_access(self) -> None:
        """Let each access list be read anew when it is needed next."""
        self._access_due = self._monotonic()

    def find(self, name: str) -> RegisteredScope | None:
        """Give the scope of this full name, whoever's it is, inactive or not."""
        return self._by_key.get(name)

    def find_orgno(self) -> str | None:
        """Find the organisation's number, which each of its scopes tells."""
        numbers = (scope.fields.get("owner_orgno") for scope in self._by_key.values())
        return next((one for one in numbers if isinstance(one, str)), None)

    async def read(self, name: str) -> RegisteredScope | None:
        """Read a scope anew; None if DigDir says that it doesn't exist."""
        try:
            scope = await self._api.find(name)
        except RejectedError as refusal:
            return await self._find_in_new_list(name, refusal)
        self._forget(name)
        if scope:
            self._record(scope)
        return scope

    async def _find_in_new_list(self, name: str, refusal: RejectedError) -> RegisteredScope | None:
        """Look in a new list for a scope that the operator has no right to read alone.

        By DigDir's published types reading one takes `idporten:scopes.read`, and listing them `.read` or `.write`.
        Many that are looked for one after another share a list.
        """
        if refusal.reason != Reason.FORBIDDEN_BY_DIGDIR:
            raise refusal
        written = self._unconfirmed.get(name, -float("inf"))
        await self.listed_after(max(self._monotonic() - LIST_SHARED, written))
        if name not in self._by_key:
            raise refusal  # it is another organisation's
        self._unconfirmed.pop(name, None)
        return self._by_key[name]

    async def create(self, name: str, fields: Mapping[str, Any]) -> None:
        """Create a scope.

        Raises:
            TransientError: There is one by now; it has been read.
            OutcomeUnknownError: It may exist; it is unconfirmed.
        """
        try:
            with self._writing(name):
                scope = await self._api.create(fields)
        except (OutcomeUnknownError, asyncio.CancelledError):
            if owner := self._owner(RegisteredScope(name, fields)):
                self._lost_answers[owner] = self._monotonic()
            raise
        except AlreadyExistsError:
            # A list lags behind, or an answer was lost.
            await self.read(name)
            raise TransientError(Reason.SCOPE_CONFLICT, f"Scope {name} exists by now") from None
        self._record(scope)
        self._access[name] = _Rows(AccessList(), self._monotonic())

    async def update(self, name: str, fields: Mapping[str, Any]) -> None:
        """Replace a scope's fields."""
        with self._writing(name):
            scope = await self._api.update(name, fields)
        self._record(scope)

    async def deactivate(self, name: str) -> None:
        """Deactivate a scope; done when there is none."""
        with self._writing(name):
            await self._api.deactivate(name)
        if known := self._by_key.get(name):
            self._record(RegisteredScope(name, {**known.fields, "active": False}))

    async def read_access(self, name: str, *, anew: bool = False) -> AccessList:
        """Give who may use a scope: read once, and again after each resync, or if asked to."""
        known = self._access.get(name)
        if known and self.is_access_known(name) and not anew:
            return known.access
        started = self._monotonic()
        rows = await self._api.list_accesses(name)
        consumers = {row.orgno for row in rows if row.approved and row.scope == name and is_orgno(row.orgno)}
        unconfirmed: frozenset[str] = frozenset()
        if known:
            recent = self._choose_recent(self._written.pop(name, {}), started)
            consumers = (consumers - recent.keys()) | (known.access.consumers & recent.keys())
            unconfirmed = known.access.unconfirmed & recent.keys()
            if recent:
                self._written[name] = recent
        self._access[name] = _Rows(AccessList(frozenset(consumers), unconfirmed), started)
        return self._access[name].access

    def is_access_known(self, name: str) -> bool:
        """Whether `read_access` gives who may use a scope without a call."""
        known = self._access.get(name)
        return known is not None and known.read_at > self._access_due

    def find_access(self, name: str) -> AccessList | None:
        """Give who may use a scope as far as it was read."""
        rows = self._access.get(name)
        return rows.access if rows else None

    async def grant(self, name: str, orgno: str) -> None:
        """Give an organisation access; a refusal is remembered until the list is read again."""
        try:
            await self._write_access(self._api.grant, name, orgno)
        except BadRequestError as error:
            self._change(name, orgno, AccessList.refusing, str(error))
            raise
        self._change(name, orgno, AccessList.granted)

    async def revoke(self, name: str, orgno: str) -> None:
        """Take an organisation's access back; done when it has none."""
        await self._write_access(self._api.revoke, name, orgno)
        self._change(name, orgno, AccessList.revoked)

    async def find_issuer(self, source: str) -> str | None:
        """Find a delegation source's issuer by the source's name; None if DigDir lists none of that name."""
        await self._keep_sources(source)
        return self._issuers.get(source)

    async def _keep_sources(self, wanted: str) -> None:
        """Read the delegation sources hourly, once for all that wait; the last list is used during an outage."""
        is_known = self._sources.is_listed and wanted in self._issuers
        if self._monotonic() - self._issuers_read <= (MAX_SOURCES_AGE if is_known else MIN_SOURCES_INTERVAL):
            return
        try:
            await self._sources.listed_after(self._issuers_read)
        except OperatorError:
            if not is_known:
                raise

    def _take_sources(self, issuers: Mapping[str, str], started: float) -> None:
        self._issuers = issuers
        self._issuers_read = started

    async def _write_access(self, write: Callable[[str, str], Awaitable[None]], name: str, orgno: str) -> None:
        try:
            await write(name, orgno)
        except (OutcomeUnknownError, asyncio.CancelledError):
            self._change(name, orgno, AccessList.after_lost_answer)
            raise

    def _change(self, name: str, orgno: str, change: Callable[..., AccessList], *more: str) -> None:
        self._written[name][orgno] = self._monotonic()
        if known := self._access.get(name):
            self._access[name] = _Rows(change(known.access, orgno, *more), known.read_at)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        """A scope is unconfirmed from when it is written to until an answer has been recorded, or it was refused."""
        self._begin_write(name)
        try:
            yield
        except RejectedError:
            self._unconfirmed.pop(name, None)
            raise

    def _replace(self, listed: Iterable[RegisteredScope], started: float) -> None:
        super()._replace(listed, started)
        self._access = {name: rows for name, rows in self._access.items() if name in self._by_key}
        self._written = defaultdict(dict, {one: at for one, at in self._written.items() if one in self._by_key})

    def _store(self, scope: RegisteredScope) -> None:
        if not self._owner(scope):
            scope = RegisteredScope(
                scope.name, {one: scope.fields[one] for one in KEPT_OF_OTHERS if one in scope.fields}
            )
        super()._store(scope)
