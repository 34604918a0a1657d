"""First contact with DigDir: everything that the operator needs of it, looked at step by step."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from digdir_contract import load
from maskinporten_operator.adapters.digdir.auth import JwtGrantAuth
from maskinporten_operator.adapters.digdir.calls import Calls
from maskinporten_operator.adapters.digdir.client_api import ClientApi
from maskinporten_operator.adapters.digdir.credentials import AdminCredentials
from maskinporten_operator.adapters.digdir.exchanges import NOT_JSON, Recorder
from maskinporten_operator.adapters.digdir.http import open_http
from maskinporten_operator.adapters.digdir.metadata import MaskinportenMetadata
from maskinporten_operator.adapters.digdir.scope_api import ScopeApi
from maskinporten_operator.adapters.signers.signer import SigningError
from maskinporten_operator.assembly.diagnosis import Diagnosis, World, find_environments
from maskinporten_operator.assembly.parts import build_source
from maskinporten_operator.assembly.trial import Trial, remove_leftovers
from maskinporten_operator.config import Config
from maskinporten_operator.model.signer_reference import find_provider
from maskinporten_operator.model.tokens import SCOPE_REFUSALS, find_organisation
from maskinporten_operator.plan.findings import (
    CLUSTER_ADMIN,
    Check,
    CheckState,
    advise,
    advise_on_token,
    check_addresses,
    check_clock,
    check_expiry,
    check_registered_key,
    check_server,
    check_signer,
    choose_trial_scopes,
    show_url,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import httpx

    from maskinporten_operator.adapters.digdir.exchanges import Exchange
    from maskinporten_operator.assembly.diagnosis import Attempt
    from maskinporten_operator.model.jwk import PublicJwk
    from maskinporten_operator.model.registrations import AuthorizationServer, Registration

NEEDED_RIGHTS: tuple[str, ...] = Config.model_fields["admin_scopes"].default
"""Those that the operator can't do without, and asks for unless it is told otherwise."""
FORBIDDEN, REFUSED = 403, frozenset({401, 403})


async def diagnose(
    config: Config,
    on_check: Callable[[Check], None],
    on_wait: Callable[[str], None],
    *,
    write: bool = False,
    world: World | None = None,
) -> Diagnosis:
    """Look at everything that the operator needs of DigDir; with `write`, make and delete a client too.

    Args:
        config: The operator's settings.
        on_check: Called with each check as it is made.
        on_wait: Called with what is waited for.
        write: Whether a client is made, and deleted for good.
        world: The network and the clocks.

    Raises:
        CredentialsError: The operator's own credentials can't be used.
    """
    world = world or World()
    credentials = AdminCredentials(config.admin_client_id, build_source(config), world.now)
    async with AsyncExitStack() as stack:
        doctor = Checkup(config, credentials, on_check, on_wait, world, stack)
        await doctor.look(write=write)
        return doctor.diagnosis


class Checkup:
    """One look at everything."""

    def __init__(
        self,
        config: Config,
        credentials: AdminCredentials,
        on_check: Callable[[Check], None],
        on_wait: Callable[[str], None],
        world: World,
        stack: AsyncExitStack,
    ) -> None:
        self._config = config
        self._credentials = credentials
        self._provider = find_provider(config.admin_signer) if config.admin_signer else None
        self._world = world
        self._stack = stack
        base_url = show_url(str(config.digdir_base_url)).rstrip("/")
        self.diagnosis = Diagnosis(base_url, Recorder(world.now), on_check, on_wait)
        self._environments = find_environments()
        # Unless it turns out otherwise:
        self._clock_is_right = True
        self._is_reached = True

    async def look(self, *, write: bool) -> None:
        """Look at settings, Maskinporten, the API, the token, each right and each list; then write, if asked to."""
        self._plain = await self._open()
        self._metadata = MaskinportenMetadata(
            self._plain, str(self._config.maskinporten_well_known_url), self._world.monotonic
        )
        add = self.diagnosis.add
        add(check_expiry(self._credentials.expires, self._world.now()))
        await self._try_signer()
        is_one = add(
            check_addresses(self.diagnosis.base_url, str(self._config.maskinporten_well_known_url), self._environments)
        )
        server = await self._discover() if is_one else None
        is_one = is_one and (server is None or add(check_server(server, self.diagnosis.base_url, self._environments)))
        if not is_one:  # a token isn't sent to another environment
            self.diagnosis.skip("API", "the environments are mixed up")
            return
        await self._reach_api()
        self._check_clock()
        api = await self._authorize(server) if server else None
        if api is None or not self._is_reached:
            why = "the API can't be reached" if api else "there is no token"
            self.diagnosis.skip("API with a token", why)
            if write:
                self.diagnosis.skip("writing", why)
            return
        clients = await self._read_clients(api)
        scopes = await self._read_scopes(api)
        await self._try_writing(api, clients, scopes, write=write)

    # The signer

    async def _try_signer(self) -> None:
        """Sign once, where somebody else holds the key, and compare the signature with the certificate."""
        if self._provider is None:
            return
        began = self._world.monotonic()
        try:
            is_certified = await self._credentials.prove()
        except SigningError as error:
            self.diagnosis.add(check_signer(self._provider, str(error), None, self._world.monotonic() - began))
        else:
            self.diagnosis.add(check_signer(self._provider, "", is_certified, self._world.monotonic() - began))

    async def _compare_key(self, registered: Sequence[PublicJwk]) -> None:
        """Compare what the signer signs with the key that DigDir has of that name."""
        kid = self._credentials.kid
        if self._provider is None or kid is None:
            return
        found = next((key for key in registered if key.kid == kid), None)
        try:
            is_same = await self._credentials.proves(found) if found else None
        except SigningError as error:
            self.diagnosis.add(check_signer(self._provider, str(error), None, 0.0))
        else:
            self.diagnosis.add(check_registered_key(kid, is_same))

    # Maskinporten

    async def _discover(self) -> AuthorizationServer | None:
        otherwise = f"{CLUSTER_ADMIN} must check MASKINPORTEN_WELL_KNOWN_URL"
        where = show_url(str(self._config.maskinporten_well_known_url))
        found = await self.diagnosis.call("discovery", self._metadata.get, where=where, otherwise=otherwise)
        return found.result

    async def _reach_api(self) -> None:
        """Make a call that takes no token, to separate faults of the address from those of the token."""
        api = ScopeApi(self._calls(self._plain))
        otherwise = f"{CLUSTER_ADMIN} must check DIGDIR_BASE_URL"
        asked = await self.diagnosis.call("API without a token", api.list_delegation_sources, otherwise=otherwise)
        self._is_reached = asked.exchange is not None

    def _check_clock(self) -> None:
        leads = [(one.lead, one.seconds) for one in self.diagnosis.recorder.exchanges if one.lead is not None]
        if not leads:
            self.diagnosis.skip("clock", "nobody's answer tells the time")
            return
        lead, seconds = min(leads, key=lambda one: one[1])  # the quickest answer tells it best
        self._clock_is_right = self.diagnosis.add(check_clock(lead, seconds))

    async def _authorize(self, server: AuthorizationServer) -> Calls | None:
        """Get a token as the operator does, look at each right, and give calls with all those that there are."""
        asked = self._config.admin_scopes
        auth = self._build_auth(asked)
        whole = await self._obtain(auth, "token", asked)
        refusal = self.diagnosis.recorder.exchanges[-1]
        if whole:
            self._judge_token(server)
        elif not (isinstance(refusal.document, dict) and refusal.document.get("error") in SCOPE_REFUSALS):
            return None
        had = [right for right in dict.fromkeys((*asked, *NEEDED_RIGHTS)) if await self._check_right(right)]
        granted = [right for right in asked if right in had]
        if not whole:
            if not granted:
                return None
            auth = self._build_auth(granted)
            if not await self._obtain(auth, "token with the rest", granted):
                return None
        self.diagnosis.granted = frozenset(granted)
        return self._calls(await self._open(auth))

    async def _obtain(self, auth: JwtGrantAuth, name: str, rights: Sequence[str]) -> bool:
        """Get a token; report the failure if there is none."""
        attempt = await self.diagnosis.attempt(auth.obtain_token)
        if attempt.went_well:
            return True
        message, remedy = str(attempt.error), advise(None, is_json=False)
        if exchange := attempt.exchange:
            client_id, is_json = self._config.admin_client_id, isinstance(exchange.document, dict)
            message = f"Maskinporten gives client {client_id} no token (HTTP {exchange.status}{exchange.detail})"
            remedy = advise(exchange.status, is_json=is_json)
            if is_json and 400 <= exchange.status < 429:
                error = exchange.document.get("error")
                named = [right for right in rights if right in exchange.detail] or rights
                remedy = advise_on_token(error, client_id, named, clock_is_right=self._clock_is_right)
        return self.diagnosis.add(Check(name, CheckState.FAILED, message, remedy))

    def _judge_token(self, server: AuthorizationServer) -> None:
        exchange = self.diagnosis.recorder.exchanges[-1]
        claims = exchange.read_claims()
        number = find_organisation(claims, "consumer")
        message = (
            f"for client {self._config.admin_client_id}"
            + (f" of organisation {number}" if number else "")
            + f", with {' '.join(self._config.admin_scopes)}"
        )
        if claims.get("iss", server.issuer) != server.issuer:
            remedy = f"{CLUSTER_ADMIN} must check that MASKINPORTEN_WELL_KNOWN_URL is of the environment of the API"
            self.diagnosis.add(Check("token", CheckState.FAILED, f"{message}; it is of another issuer", remedy))
        else:
            self.diagnosis.add(Check("token", CheckState.PASSED, message))

    async def _check_right(self, right: str) -> bool:
        """Get a token with one right alone, and make a harmless call that takes it."""
        name, asked = f"right {right}", right in self._config.admin_scopes
        auth = self._build_auth((right,))
        if not await self._obtain(auth, name, (right,)):
            return False
        calls = self._calls(await self._open(auth))
        clients, scopes = ClientApi(calls), ScopeApi(calls)
        harmless: dict[str, Callable[[], Awaitable[Any]]] = {
            "idporten:dcr.read": clients.list_clients,
            # Not by the published types, but for those who rotate their keys with no other right.
            "idporten:dcr.write": lambda: clients.list_keys(self._config.admin_client_id),
            "idporten:scopes.read": scopes.list_own,
            "idporten:scopes.write": scopes.list_own,
        }
        message = "Maskinporten gives a token with it"
        if right in harmless and self._is_reached:
            attempt = await self.diagnosis.attempt(harmless[right])
            if attempt.exchange is None:
                remedy = advise(None, is_json=False)
                return self.diagnosis.add(Check(name, CheckState.FAILED, str(attempt.error), remedy))
            message += f"; {self.diagnosis.show(attempt.exchange)}: {attempt.exchange.status}{attempt.exchange.detail}"
            if attempt.error:
                self.diagnosis.add(self._judge_refusal(name, right, message, attempt.exchange))
                return True
        if asked:
            return self.diagnosis.add(Check(name, CheckState.PASSED, message))
        remedy = f"{CLUSTER_ADMIN} must name it in ADMIN_SCOPES"
        return self.diagnosis.add(
            Check(name, CheckState.FAILED, f"{message}, but ADMIN_SCOPES doesn't name it", remedy)
        )

    def _judge_refusal(self, name: str, right: str, message: str, exchange: Exchange) -> Check:
        """Judge that a call failed though the token has a right that should allow it."""
        if exchange.status not in REFUSED:  # which says nothing of the right
            return Check(
                name, CheckState.WARNING, message, advise(exchange.status, is_json=exchange.document is not NOT_JSON)
            )
        match = self.diagnosis.match(exchange)
        if exchange.status == FORBIDDEN and match and right not in match.operation.rights:
            remedy = "Run with --write: that this right allows this call too isn't published"
            return Check(name, CheckState.WARNING, message, remedy)
        return Check(name, CheckState.FAILED, message, advise(exchange.status, is_json=True, granted=(right,)))

    # The API

    async def _read_clients(self, calls: Calls) -> tuple[Registration, ...] | None:
        api, diagnosis = ClientApi(calls), self.diagnosis
        if not self._may("list-clients", "list clients"):
            return None
        listed = await diagnosis.call("list clients", api.list_clients)
        if listed.result:
            diagnosis.answered["list_includes_jwks"] = any("jwks" in row for row in listed.document)
            known = {one.client_id for one in listed.result}
            client_id = self._config.admin_client_id
            client_id = client_id if client_id in known else listed.result[0].client_id
            await diagnosis.call("read a client", lambda: api.find_client(client_id))
            keys = await diagnosis.call("list a client's keys", lambda: api.list_keys(client_id))
            if keys.result is not None and client_id == self._config.admin_client_id:
                await self._compare_key(keys.result)
        return listed.result

    async def _read_scopes(self, calls: Calls) -> tuple[str, ...]:
        """Read all lists of scopes; give those with which a client might be registered."""
        api, diagnosis = ScopeApi(calls), self.diagnosis
        own = await self._list("list-own-scopes", "list own scopes", api.list_own)
        if own:
            await self._read_own_scope(api, own[0].name)
        granted = await self._list("list-accesses-given-to-me", "list granted scopes", api.list_granted)
        opened = await self._list("list-all-scopes", "list open scopes", api.list_open)
        await self._list("list-all-scopes", "list delegated scopes", api.list_delegated)
        prefixes = await self._list("list-own-prefixes", "list own prefixes", api.list_prefixes)
        prefix = self._config.scope_prefix
        if prefixes is not None and prefix not in prefixes:
            message = f"SCOPE_PREFIX is {prefix}, and the organisation's are: {', '.join(prefixes) or 'none'}"
            remedy = f"{CLUSTER_ADMIN} must set it before a scope is exposed, or ask DigDir for that prefix"
            diagnosis.add(Check("scope prefix", CheckState.WARNING, message, remedy))
        return choose_trial_scopes(
            self._config.default_client_scope,
            opened or (),
            [one.scope for one in granted or () if one.approved],
            own or (),
        )

    async def _read_own_scope(self, api: ScopeApi, name: str) -> None:
        diagnosis, question = self.diagnosis, "scope_read_with_write_right"
        tolerated = {FORBIDDEN: "the right to write doesn't suffice to read one, so the operator lists them all"}
        read = await diagnosis.call("read a scope", lambda: api.find(name), tolerated=tolerated)
        if "idporten:scopes.read" not in diagnosis.granted and (read.went_well or read.status == FORBIDDEN):
            diagnosis.answered[question] = read.went_well
        accesses = await diagnosis.call("list a scope's accesses", lambda: api.list_accesses(name))
        self._learn_of_empty_lists(accesses)
        if any(one.get("state") == "DENIED" for one in _rows(accesses.document)):
            diagnosis.answered["access_list_includes_denied"] = True

    async def _list(
        self, operation: str, name: str, action: Callable[[], Awaitable[tuple[Any, ...]]]
    ) -> tuple[Any, ...] | None:
        """Read a list; None if that failed, or takes a right that there isn't."""
        if not self._may(operation, name):
            return None
        listed = await self.diagnosis.call(name, action)
        self._learn_of_empty_lists(listed)
        return listed.result

    def _learn_of_empty_lists(self, listed: Attempt[Any]) -> None:
        if listed.went_well and listed.exchange and (listed.exchange.is_refusal or listed.document == []):
            self.diagnosis.answered["empty_list_is_error"] = listed.exchange.is_refusal

    def _may(self, operation: str, name: str) -> bool:
        needed = load().operations[operation].sufficient_rights
        if not needed or needed & self.diagnosis.granted:
            return True
        self.diagnosis.skip(name, f"takes {' or '.join(sorted(needed))}")
        return False

    # Writing

    async def _try_writing(
        self, calls: Calls, clients: tuple[Registration, ...] | None, scopes: tuple[str, ...], *, write: bool
    ) -> None:
        api, diagnosis = ClientApi(calls), self.diagnosis
        if clients is None:
            if write:
                diagnosis.skip(
                    "writing", "rests of earlier runs couldn't be looked for, as there is no list of clients"
                )
            return
        await remove_leftovers(diagnosis, api, clients, self._config.cluster_name, self._world, write=write)
        if not write:
            return
        if "idporten:dcr.write" not in diagnosis.granted:
            diagnosis.skip("writing", "takes idporten:dcr.write")
            return
        trial = Trial(diagnosis, api, self._config, scopes, self._world, self._build_auth)
        await trial.run(clock_is_right=self._clock_is_right)

    # Connections

    def _build_auth(self, rights: Sequence[str], credentials: AdminCredentials | None = None) -> JwtGrantAuth:
        """Build what gets tokens with these rights, by default for the operator's own client."""
        now, monotonic = self._world.now, self._world.monotonic
        credentials = credentials or self._credentials
        return JwtGrantAuth(self._plain, self._metadata, credentials, rights, now, monotonic=monotonic)

    async def _open(self, auth: httpx.Auth | None = None) -> httpx.AsyncClient:
        return await self._stack.enter_async_context(
            open_http(
                self._config.ca_bundle,
                connections=1,
                auth=auth,
                observe=self.diagnosis.recorder.record,
                transport=self._world.transport,
            )
        )

    def _calls(self, http: httpx.AsyncClient) -> Calls:
        return Calls(http, self.diagnosis.base_url, lambda *_: None, self._world.monotonic)


def _rows(document: Any) -> list[dict[str, Any]]:
    return [row for row in document if isinstance(row, dict)] if isinstance(document, list) else []
