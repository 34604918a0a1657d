"""The organisation's client registrations: one list for all resources, kept up with our own writes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from maskinporten_operator.adapters.digdir.lagging_listing import LaggingListing
from maskinporten_operator.adapters.digdir.wire import OwnedClients
from maskinporten_operator.model.errors import BadRequestError, OutcomeUnknownError, RejectedError
from maskinporten_operator.model.registrations import Registration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from maskinporten_operator.adapters.digdir.client_api import ClientApi
    from maskinporten_operator.model.jwk import PublicJwk

MAX_FOREIGN_IDS = 1000
"""Clients that aren't this cluster's of which it is remembered that they exist."""


class DigdirRegistrationIndex(LaggingListing[Registration]):
    """Registrations of this cluster, by id and by description.

    Foreign registrations aren't kept; one that a resource asks for is read by its id.
    """

    def __init__(
        self,
        client: ClientApi,
        *,
        cluster: str,
        lag: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._prefix = f"{cluster}:"
        read = partial(client.list_owned_clients, OwnedClients(self._prefix))
        super().__init__(read, lag, monotonic, sleep, key=lambda one: one.client_id, owner=lambda one: one.description)
        # Ids asked for by themselves that exist and aren't this cluster's, the newest last: users write such ids.
        self._foreign_ids: dict[str, None] = {}

    def __iter__(self) -> Iterator[Registration]:
        return iter(tuple(self._by_key.values()))

    def find(self, description: str) -> tuple[Registration, ...]:
        """Give the usable registrations with exactly this description."""
        return self.find_owned(description)

    def count_missing(self, client_ids: AbstractSet[str]) -> int:
        """Count the clients that neither the newest list, nor a write or read since, has.

        One that isn't this cluster's is known once it was read alone.
        """
        # Of views of keys the difference walks through all of ours, and this through the ids.
        return len(set(client_ids).difference(self._by_key, self._foreign_ids))

    def absence_provable_at(self, description: str, seen_at: float, *, had_finalizer: bool) -> float:
        """Say when (monotonic seconds) a list may prove that no such registration exists."""
        return max(seen_at, self.complete_at(description, had_finalizer=had_finalizer))

    async def read(self, client_id: str) -> Registration | None:
        """Read a registration with its keys; None if DigDir says that it doesn't exist or is inactive."""
        registration = await self._client.find_client(client_id)
        if registration is None or registration.fields.get("active", True) is not True:
            self._forget(client_id)
            return None
        if registration.keys is None:
            registration = replace(registration, keys=await self._client.list_keys(client_id))
        self._record(registration)
        return registration

    async def read_keys(self, registration: Registration) -> Registration:
        """Read the keys of a registration that is listed without, and give it with them, until the next list.

        The rest is as it was listed, so a list that is newer outranks it: nothing was read of the client itself.
        """
        completed = replace(registration, keys=await self._client.list_keys(registration.client_id))
        if self._by_key.get(registration.client_id) is registration:
            self._by_key[registration.client_id] = completed
        return completed

    async def register(self, fields: Mapping[str, Any]) -> Registration:
        """Create a registration.

        Raises:
            OutcomeUnknownError: It may exist; `absence_provable_at` knows of it.
        """
        description = str(fields["description"])
        try:
            registration = await self._client.create_client(fields)
        except (OutcomeUnknownError, asyncio.CancelledError):
            self._lost_answers[description] = self._monotonic()
            raise
        registration = replace(registration, keys=())
        self._record(registration)
        return registration

    async def update(self, registration: Registration, fields: Mapping[str, Any]) -> Registration:
        """Replace a registration's fields."""
        self._begin_write(registration.client_id)
        try:
            updated = await self._client.update_client(registration.client_id, fields)
        except BadRequestError:
            self._unconfirmed.pop(registration.client_id, None)  # it is as it was
            raise
        if updated.keys is None:
            updated = replace(updated, keys=registration.keys)
        self._record(updated)
        return updated

    async def publish_keys(self, registration: Registration, keys: Sequence[PublicJwk]) -> Registration:
        """Make `keys` the client's complete key set."""
        self._begin_write(registration.client_id)
        published = replace(registration, keys=await self._client.replace_keys(registration.client_id, keys))
        self._record(published)
        return published

    async def delete_keys(self, client_id: str) -> None:
        """Delete the keys of a client that is about to be deleted; a refusal is passed over."""
        with suppress(RejectedError):  # they end with the client
            await self._client.delete_keys(client_id)

    async def delete(self, client_id: str) -> None:
        """Delete a client for good.

        Raises:
            OperatorError: It isn't proven that the client is gone.
        """
        try:
            await self._client.delete_client(client_id)
        except RejectedError:
            # An inactive client takes no more writes: what was deleted before is deleted.
            if await self.read(client_id) is not None:
                raise
        self._forget(client_id)

    def _replace(self, listed: Iterable[Registration], started: float) -> None:
        super()._replace(listed, started)
        for description in self._lost_answers.keys() & self._by_owner.keys():
            del self._lost_answers[description]

    def _store(self, registration: Registration) -> None:
        if registration.usable and registration.description.startswith(self._prefix):
            super()._store(registration)
            self._foreign_ids.pop(registration.client_id, None)

    def _record(self, registration: Registration) -> None:
        super()._record(registration)
        self._lost_answers.pop(registration.description, None)
        if registration.client_id not in self._by_key:
            self._foreign_ids.pop(registration.client_id, None)
            self._foreign_ids[registration.client_id] = None
            while len(self._foreign_ids) > MAX_FOREIGN_IDS:
                del self._foreign_ids[next(iter(self._foreign_ids))]

    def _forget(self, client_id: str) -> None:
        super()._forget(client_id)
        self._foreign_ids.pop(client_id, None)
