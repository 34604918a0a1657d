"""Reads what a resource exposes: the scopes of its spec, and others that have its ownership."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from maskinporten_operator.model.claims import claim_scope
from maskinporten_operator.model.errors import OperatorError, RejectedError, TransientError
from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION
from maskinporten_operator.plan.exposed_scopes import Exposure, check_scope_description, is_owned_scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskinporten_operator.model.blockers import Blocker
    from maskinporten_operator.model.maskinportenclient import ExposedScope, MaskinportenClient, MaskinportenClientSpec
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.model.scopes import AccessList, RegisteredScope
    from maskinporten_operator.plan.registration_settings import RegistrationSettings
    from maskinporten_operator.reconcile.memory import Memory, Round
    from maskinporten_operator.reconcile.ports import Clock, Known, Ports, ScopeIndex


async def observe_exposures(
    resource: MaskinportenClient, spec: MaskinportenClientSpec, ports: Ports, max_reads: int
) -> tuple[Exposure, ...]:
    """Read the exposed scopes, in the order of the spec, then those that left it.

    What would take more than `max_reads` calls is left to further passes.

    Raises:
        OperatorError: A list couldn't be read.
    """
    wanted = {f"{ports.settings.scope_prefix}:{subscope}": scope for subscope, scope in spec.exposed_scopes.items()}
    scopes, status_names = ports.digdir.scopes, frozenset(resource.status.scope_names)
    try:
        await scopes.ready()
    except OperatorError:
        if wanted or status_names:
            raise
        return ()  # nothing is known to be its own: what it consumes doesn't wait for that
    round_ = find_round(resource, ports.memory, ports.clock)
    look = _Look(resource, status_names, scopes, ports.known, ports.settings, round_, max_reads)
    exposed: list[Exposure] = []
    fault: TransientError | None = None
    for name, scope in wanted.items():
        try:
            exposed.append(await look.observe_exposed(name, scope))
        except TransientError as error:
            if fault:
                raise  # a second one is no scope's own
            fault = error
            exposed.append(Exposure(name, scope, scopes.find(name), refusal=fault.blocker))
    owned = scopes.find_owned(look.ownership)
    withdrawn = [await look.observe_withdrawn(scope) for scope in owned if scope.name not in wanted]
    return (*exposed, *withdrawn)


def find_round(resource: MaskinportenClient, memory: Memory, clock: Clock, *, deletes: bool = False) -> Round:
    """Find the round of passes that this one belongs to."""
    meta = resource.meta
    anew = meta.asks(RESYNC_ANNOTATION)
    return memory.join_round(meta.uid, meta.generation, clock.monotonic(), anew=anew, deletes=deletes)


def find_fault(exposures: Iterable[Exposure]) -> Blocker | None:
    """Find the fault that kept a scope from being read, if there was one."""
    return next((one.refusal for one in exposures if one.refusal and one.refusal.kind == "Transient"), None)


def recall_exposures(seen: tuple[Exposure, ...], scopes: ScopeIndex) -> tuple[Exposure, ...]:
    """Give the scopes as a pass left them, as the index knows them."""
    return tuple(replace(one, registered=scopes.find(one.name), access=scopes.find_access(one.name)) for one in seen)


@dataclass(slots=True)
class _Look:
    """The observation of a resource's scopes in one pass.

    Attributes:
        status_names: The scopes that the status names.
        round: What earlier passes have done of the same.
        left: How many calls it may still make.
    """

    resource: MaskinportenClient
    status_names: frozenset[str]
    scopes: ScopeIndex
    known: Known
    settings: RegistrationSettings
    round: Round
    left: int

    @property
    def ownership(self) -> str:
        return self.settings.build_ownership(self.resource.meta)

    async def observe_exposed(self, name: str, wanted: ExposedScope) -> Exposure:
        """Read a scope of the spec, unless it is known or the pass has made enough calls."""
        scopes = self.scopes
        if check_scope_description(name, wanted, self.ownership):
            return Exposure(name, wanted, scopes.find(name))
        if refusal := self.round.refusals.get(name):
            return Exposure(name, wanted, scopes.find(name), refusal=refusal)
        if self._needs_call(name) and self.left <= 0:
            return Exposure(name, wanted, scopes.find(name), scopes.find_access(name), pending=True)
        try:
            registered = await self._read_scope(name)
            access = await self._read_access(name) if self._is_ours(registered) else None
            self.round.read.add(name)
            issuer = await scopes.find_issuer(wanted.delegation_source) if wanted.delegation_source else None
        except RejectedError as error:  # of this scope, which keeps nothing else from being done
            return Exposure(name, wanted, scopes.find(name), refusal=error.blocker)
        rival = _find_rival(self.resource.meta, wanted, self.known) if registered is None else None
        return Exposure(name, wanted, registered, access, rival, issuer)

    async def observe_withdrawn(self, scope: RegisteredScope) -> Exposure:
        """Read who may use a scope that left the spec; it is merely counted."""
        access = None
        if scope.active:
            if self.left <= 0 and not self.scopes.is_access_known(scope.name):
                return Exposure(scope.name, None, scope, pending=scope.name not in self.round.read)
            with suppress(RejectedError, TransientError):
                access = await self._read_access(scope.name, anew=False)
            self.round.read.add(scope.name)
        return Exposure(scope.name, None, scope, access)

    def _needs_call(self, name: str) -> bool:
        """Whether it takes a call to know a scope and who may use it."""
        if self._must_read(name):
            return True
        return self._is_ours(self.scopes.find(name)) and not self.scopes.is_access_known(name)

    def _must_read(self, name: str) -> bool:
        """Whether a scope must be read, since the list may be wrong about it."""
        registered = self.scopes.find(name)
        if self.scopes.is_unconfirmed(name):
            return True
        hidden = registered is None and name in self.status_names  # nothing is ever erased at DigDir
        # It may have become ours since.
        foreign = registered is not None and not self._is_ours(registered)
        return (hidden or foreign or self.round.anew) and name not in self.round.read

    async def _read_scope(self, name: str) -> RegisteredScope | None:
        """Give a scope as listed, or read it where the list may be wrong."""
        if not self._must_read(name):
            return self.scopes.find(name)
        self.left -= 1
        return await self.scopes.read(name)

    async def _read_access(self, name: str, *, anew: bool | None = None) -> AccessList:
        """Give who may use a scope; `anew` is by default what the resource asks for."""
        anew = (self.round.anew if anew is None else anew) and name not in self.round.read
        self.left -= anew or not self.scopes.is_access_known(name)
        return await self.scopes.read_access(name, anew=anew)

    def _is_ours(self, scope: RegisteredScope | None) -> bool:
        return is_owned_scope(scope, self.ownership, self.settings.cluster)


def _find_rival(meta: ObjectMeta, wanted: ExposedScope, known: Known) -> str | None:
    rival = known.resources.find_rival(meta, claim_scope(wanted.subscope), known.namespaces.is_selected)
    return f"{rival[0]}/{rival[1]}" if rival else None
