"""`doctor --write`: one client is made, given a key, used, and deleted for good."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from maskinporten_operator.adapters.clock import SystemRandomness
from maskinporten_operator.adapters.digdir.credentials import AdminCredentials, MintedKey
from maskinporten_operator.adapters.digdir.exchanges import NOT_JSON
from maskinporten_operator.assembly.parameters import build_registration_settings
from maskinporten_operator.model.errors import RejectedError
from maskinporten_operator.model.jwk import PrivateJwk, build_kid
from maskinporten_operator.plan.findings import (
    CLIENT_ADMIN,
    CLUSTER_ADMIN,
    MAINTAINER,
    MAX_RUN_SECONDS,
    Check,
    CheckState,
    advise,
    advise_on_token,
    build_trial_description,
    find_leftovers,
)
from maskinporten_operator.plan.registration_fields import build_members, build_update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from maskinporten_operator.adapters.digdir.auth import JwtGrantAuth
    from maskinporten_operator.adapters.digdir.client_api import ClientApi
    from maskinporten_operator.assembly.diagnosis import Attempt, Diagnosis, World
    from maskinporten_operator.config import Config
    from maskinporten_operator.model.registrations import Registration

PATIENCE = 150.0
"""Seconds; Maskinporten sees a change within two minutes (DigDir's documentation)."""
BETWEEN_TOKENS = 10.0
PAUSES = (0.0, 2.0, 5.0, 15.0)
"""Seconds before each attempt to delete a client: a temporary fault must leave none behind."""
SUCCESSES = (200, 204)
LATER = f"after {MAX_RUN_SECONDS / 60:.0f} minutes"
BAD_REQUEST, NOT_FOUND, CONFLICT = 400, 404, 409


class Trial:
    """The short life of a client."""

    def __init__(
        self,
        diagnosis: Diagnosis,
        api: ClientApi,
        config: Config,
        scopes: Sequence[str],
        world: World,
        build_auth: Callable[[Sequence[str], AdminCredentials], JwtGrantAuth],
    ) -> None:
        """`scopes` are tried one after another; `build_auth` builds what gets tokens for a client."""
        self._diagnosis = diagnosis
        self._api = api
        self._config = config
        self._scopes = scopes
        self._world = world
        self._build_auth = build_auth
        self._description = build_trial_description(config.cluster_name, SystemRandomness().hex(16), world.now())
        self._made: str | None = None
        self._is_unconfirmed = False

    async def run(self, *, clock_is_right: bool) -> None:
        """Make the client, look at all that is done with one, and delete it, whatever happens meanwhile."""
        try:
            client = await self._register()
            if client and (scopes := await self._update(client)) is not None:
                await self._look_at_no_keys(client.client_id)
                key = PrivateJwk(build_kid("doctor", SystemRandomness().hex(16)), self._world.mint())
                if await self._publish(client.client_id, key):
                    await self._use(client.client_id, key, scopes, clock_is_right=clock_is_right)
        finally:
            await self._remove()

    async def _register(self) -> Registration | None:
        """Register it without scopes; if that is refused, with one."""
        answered, without = self._diagnosis.answered, {BAD_REQUEST: "a client must have scopes"}
        made = await self._create((), without)
        if made.went_well or made.status == BAD_REQUEST:
            answered["allow_clients_without_scopes"] = made.went_well
        scopes = iter(self._scopes)
        while not made.went_well and made.status == BAD_REQUEST:
            scope = next(scopes, None)
            if scope is None:
                message = "no scope is known with which a client can be registered"
                remedy = f"{CLUSTER_ADMIN} must set DEFAULT_CLIENT_SCOPE to one that the organisation may use"
                self._diagnosis.add(Check("register a client", CheckState.FAILED, message, remedy))
                return None
            made = await self._create((scope,), {BAD_REQUEST: "another scope is tried"})
        if made.went_well and made.status:
            answered["created_status"] = made.status
        return made.result

    async def _create(self, scopes: Sequence[str], tolerated: dict[int, str]) -> Attempt[Registration]:
        members = self._build_members(scopes)

        async def create() -> Registration:
            self._is_unconfirmed = True  # until there is an answer it may have been made
            try:
                made = await self._api.create_client(members)
            except RejectedError:
                self._is_unconfirmed = False
                raise
            self._is_unconfirmed, self._made = False, made.client_id
            return made

        about = f"with {' '.join(scopes)}" if scopes else "without scopes"
        return await self._diagnosis.call("register a client", create, about=about, tolerated=tolerated)

    def _build_members(self, scopes: Sequence[str]) -> dict[str, object]:
        config = self._config
        return build_members(config.client_name, self._description, build_registration_settings(config), scopes)

    async def _update(self, client: Registration) -> tuple[str, ...] | None:
        """Send it back as it was read, with a scope if it has none; give its scopes, or None if that failed."""
        choices = [client.scopes] if client.scopes else [*((scope,) for scope in self._scopes), ()]
        for scopes in choices:
            refused = {BAD_REQUEST: "another scope is tried"} if scopes and not client.scopes else {}
            fields = build_update(client, self._build_members(scopes))
            update = partial(self._api.update_client, client.client_id, fields)
            about = f"with {' '.join(scopes)}" if scopes else "without scopes"
            updated = await self._diagnosis.call("update it", update, about=about, tolerated=refused)
            if updated.went_well:
                return tuple(scopes)
            if updated.status not in refused:
                return None
        return None

    async def _look_at_no_keys(self, client_id: str) -> None:
        """Read and delete keys while there are none, of which nothing public tells how it is answered."""
        diagnosis = self._diagnosis
        await diagnosis.call("read it", partial(self._api.find_client, client_id))
        listed = await diagnosis.call("list its keys", partial(self._api.list_keys, client_id))
        if listed.went_well:
            form = "empty-object" if listed.document == {} else "keys"
            diagnosis.answered["empty_jwks"] = "not-found" if listed.status == NOT_FOUND else form
        refused = {CONFLICT: "there are none"}
        deleted = await diagnosis.call("delete no keys", partial(self._api.delete_keys, client_id), tolerated=refused)
        if deleted.status and (deleted.went_well or deleted.status in refused):
            diagnosis.answered["missing_keys_deletion_status"] = (
                deleted.status if deleted.status >= BAD_REQUEST else 200
            )

    async def _publish(self, client_id: str, key: PrivateJwk) -> bool:
        diagnosis = self._diagnosis
        replace = partial(self._api.replace_keys, client_id, [key.public()])
        if not (await diagnosis.call("give it a key", replace)).went_well:
            return False
        listed = await diagnosis.call("list its key", partial(self._api.list_keys, client_id))
        if listed.went_well and key.kid not in {one.kid for one in listed.result or ()}:
            message = "the answer doesn't have the key that was taken"
            diagnosis.add(Check("list its key", CheckState.FAILED, message, MAINTAINER))
        return True

    async def _use(self, client_id: str, key: PrivateJwk, scopes: Sequence[str], *, clock_is_right: bool) -> None:
        """Get a token for it, as soon as Maskinporten knows it."""
        diagnosis, name = self._diagnosis, "token for it"
        if not scopes:
            diagnosis.skip(name, "it has no scopes")
            return
        credentials = AdminCredentials(client_id, MintedKey(key), self._world.now)
        begun = self._world.monotonic()
        while True:
            attempt = await diagnosis.attempt(self._build_auth(scopes, credentials).obtain_token)
            waited = self._world.monotonic() - begun
            if attempt.went_well:
                message = f"with {' '.join(scopes)}, {waited:.0f} s after its key was taken"
                diagnosis.add(Check(name, CheckState.PASSED, message))
                return
            if waited >= PATIENCE:
                diagnosis.add(_judge_no_token(name, attempt, waited, client_id, scopes, clock_is_right))
                return
            diagnosis.on_wait(
                f"Maskinporten doesn't know the new client yet; trying for {PATIENCE - waited:.0f} s more"
            )
            await self._world.sleep(BETWEEN_TOKENS)

    async def _remove(self) -> None:
        """Delete what this run made, also what it may have made."""
        if self._is_unconfirmed:
            self._diagnosis.on_wait("the client may have been made though no answer came: looking for it")
            await self._world.sleep(self._config.list_lag.total_seconds())
        listed = await self._diagnosis.attempt(self._api.list_clients)
        found = [one.client_id for one in listed.result or () if one.usable and one.description == self._description]
        for client_id in dict.fromkeys([*([self._made] if self._made else []), *found]):
            await delete_for_good(self._diagnosis, self._api, client_id, self._world, "delete it")
        if self._is_unconfirmed and not found:
            message = f"a client with the description {self._description!r} may have been made, and isn't listed"
            remedy = f"Run this again {LATER}: what is left is told then, and deleted with --write"
            self._diagnosis.add(Check("delete it", CheckState.FAILED, message, remedy))


async def remove_leftovers(
    diagnosis: Diagnosis,
    api: ClientApi,
    clients: Iterable[Registration],
    cluster: str,
    world: World,
    *,
    write: bool,
) -> None:
    """Tell which clients earlier runs left behind; delete those of this cluster if `write` says so.

    One that a run may be using now is never deleted.
    """
    leftovers = find_leftovers(clients, cluster, world.now())
    for client in leftovers.own:
        if write:
            await delete_for_good(diagnosis, api, client.client_id, world, "rest of an earlier run")
            continue
        message = f"client {client.client_id} was left behind by an earlier run"
        diagnosis.add(
            Check("rest of an earlier run", CheckState.WARNING, message, "Run with --write, which deletes it")
        )
    for client in leftovers.running:
        message = f"client {client.client_id} was left behind, or is in use by a run: {client.description}"
        remedy = f"Run with --write {LATER}, which deletes it if it is still there"
        diagnosis.add(Check("client of another run", CheckState.WARNING, message, remedy))
    for client in leftovers.others:
        message = f"client {client.client_id} was left behind, or is in use by a run: {client.description}"
        remedy = "Run with --write, and that cluster's settings, unless one runs there now"
        diagnosis.add(Check("rest of another cluster", CheckState.WARNING, message, remedy))


async def delete_for_good(diagnosis: Diagnosis, api: ClientApi, client_id: str, world: World, name: str) -> None:
    """Delete a client and its keys; tell it, by the check's name, if it is still active after several attempts."""
    for pause in PAUSES:
        await world.sleep(pause)
        # Keys that can't be deleted, or aren't there, keep no client from being deleted.
        await diagnosis.attempt(partial(api.delete_keys, client_id))
        deleted = await diagnosis.attempt(partial(api.delete_client, client_id))
        if deleted.status in SUCCESSES:
            diagnosis.answered["deleted_status"] = deleted.status
        read = await diagnosis.attempt(partial(api.find_client, client_id))
        if read.went_well and not (read.result and read.result.usable):
            diagnosis.answered["inactive_client_is_found"] = read.result is not None
            message = f"client {client_id} isn't active any more"
            judged = diagnosis.judge(name, deleted.exchange) if deleted.went_well and deleted.exchange else None
            diagnosis.add(
                replace(judged, message=f"{judged.message} ({message})")
                if judged
                else Check(name, CheckState.PASSED, message)
            )
            return
    message = f"client {client_id} is still active: {deleted.error or read.error or 'DigDir shows it so'}"
    remedy = f"Run again with --write {LATER}, or {CLIENT_ADMIN[0].lower()}{CLIENT_ADMIN[1:]} must delete it"
    diagnosis.add(Check(name, CheckState.FAILED, message, remedy))


def _judge_no_token(
    name: str, attempt: Attempt[None], waited: float, client_id: str, scopes: Sequence[str], clock_is_right: bool
) -> Check:
    exchange = attempt.exchange
    if exchange is None:
        return Check(name, CheckState.FAILED, str(attempt.error), advise(None, is_json=False))
    message = f"Maskinporten gives the new client none after {waited:.0f} s (HTTP {exchange.status}{exchange.detail})"
    is_json = exchange.document is not NOT_JSON
    if is_json and exchange.status < 500:
        error = exchange.document.get("error") if isinstance(exchange.document, dict) else None
        remedy = advise_on_token(error, client_id, scopes, clock_is_right=clock_is_right, is_trial=True)
    else:
        remedy = advise(exchange.status, is_json=is_json)
    return Check(name, CheckState.FAILED, message, remedy)
