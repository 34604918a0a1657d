"""Reads what the decision needs into one snapshot. Writes nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from maskinporten_operator.model.claims import claim_secret
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import ConflictError, RejectedError, TransientError
from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION
from maskinporten_operator.model.scopes import Granted
from maskinporten_operator.plan.client_plan import (
    Snapshot,
    check_proof,
    check_rival,
    check_secret_owner,
    find_key_due,
)
from maskinporten_operator.plan.consumed_scopes import find_earlier_refusal, spread_tries
from maskinporten_operator.plan.decisions import TOUCHES_REGISTRATION, UpdateScope
from maskinporten_operator.plan.exposed_scopes import MAX_READS
from maskinporten_operator.plan.registration_fields import choose
from maskinporten_operator.plan.search import Absent, Found, Missing, Released, Search, check_search
from maskinporten_operator.plan.secret import SecretSummary
from maskinporten_operator.reconcile.credential_trials import find_pending
from maskinporten_operator.reconcile.exposures import find_fault, observe_exposures
from maskinporten_operator.reconcile.vanished import check_still_wanted

MAX_SUPERSEDED = 10

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from maskinporten_operator.model.blockers import Blocker
    from maskinporten_operator.model.maskinportenclient import MaskinportenClient, MaskinportenClientSpec
    from maskinporten_operator.model.registrations import Registration
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.decisions import Plan
    from maskinporten_operator.plan.exposed_scopes import Exposure
    from maskinporten_operator.plan.secret import ObservedSecret
    from maskinporten_operator.reconcile.ports import FirstSeen, Known, Ports, RegistrationIndex, ScopeIndex
    from maskinporten_operator.reconcile.progress import ClientProgress


async def observe(
    progress: ClientProgress,
    spec: MaskinportenClientSpec,
    first_seen: FirstSeen,
    ports: Ports,
    *,
    may_recall: bool = True,
) -> Snapshot | Blocker:
    """Read the Secret, the registration and the scopes, unless one of the first two blocks all that follows.

    A Secret that hasn't moved since it was read is told by its summary, if it `may_recall` that. A missing one is noted
    in `progress`, whatever follows.

    Raises:
        TerminatingError: The Secret vanished, or lost its owner, because the resource or its namespace is going.
        OperatorError: Something couldn't be read.
    """
    resource, meta = progress.resource, progress.resource.meta
    await ports.digdir.registrations.ready()
    await ports.known.children.secrets_listed()
    recalled = _recall_secret(meta, spec.secret_name, ports) if may_recall else None
    secret = await ports.cluster.find_secret(meta.namespace, spec.secret_name) if recalled is None else None
    progress.impaired = recalled is None and secret is None
    rival, server = _find_rival(meta, spec.secret_name, ports.known), await ports.digdir.metadata.get()
    if blocker := check_secret_owner(secret, meta):
        return blocker
    is_lost = secret is not None and not secret.is_owned_by(meta)
    found_secret = recalled or secret
    id_in_secret = found_secret.client_id if found_secret and not is_lost else None
    search = await _Search(resource, id_in_secret, ports).run(first_seen)
    found = search if isinstance(search, Found) else None
    if is_lost or (found_secret is None and found and (resource.status.secret_name or found.registration.keys)):
        await check_still_wanted(meta, ports.cluster)
    if blocker := check_rival(rival, found_secret) or check_search(search, meta):
        return blocker
    if secret and is_lost and (blocker := check_proof(secret, meta, found.registration if found else None)):
        return blocker
    granted = await _find_granted(resource, spec, first_seen, ports)
    exposures, unread = await _observe_exposed(resource, spec, ports)
    seen = Snapshot(
        resource=resource,
        spec=spec,
        secret=found_secret,
        server=server,
        recent_mints=_find_mints(meta, found, ports),
        pending_key=find_pending(meta, spec, found.registration if found else None, server, ports),
        found=found,
        granted=granted,
        superseded=await _find_superseded(meta, spec, ports),
        uses=ports.memory.find_uses(meta.uid, ports.clock.monotonic()),
        earlier_refusal=_recall_earlier_refusal(resource, first_seen, ports),
        exposures=exposures,
        unread=unread,
    )
    return recall_refusals(seen, ports)


def _recall_secret(meta: ObjectMeta, name: str, ports: Ports) -> SecretSummary | None:
    """Recall the summary of a Secret that is this very resource's, unless a key of its own waits to be delivered."""
    summary = ports.known.children.recall_secret(meta.namespace, name)
    if summary is None or summary.owner_uid != meta.uid or ports.memory.pending_key(meta.uid):
        return None
    return summary


async def read_recalled(
    seen: Snapshot, progress: ClientProgress, first_seen: FirstSeen, ports: Ports
) -> Snapshot | Blocker:
    """Read the Secret of a snapshot that has its summary: something is to be done, and not by what is remembered.

    Raises:
        OperatorError: As `observe` does.
    """
    assert isinstance(seen.secret, SecretSummary)
    secret = await ports.cluster.find_secret(seen.resource.meta.namespace, seen.spec.secret_name)
    if secret is None or secret.version != seen.secret.version:
        return await observe(progress, seen.spec, first_seen, ports, may_recall=False)
    return replace(seen, secret=secret)


async def _find_superseded(meta: ObjectMeta, spec: MaskinportenClientSpec, ports: Ports) -> tuple[ObservedSecret, ...]:
    """Read the resource's Secrets of other names; whoever may write Secrets may make it many."""
    names = [name for name in ports.known.secrets.find_owned(meta) if name != spec.secret_name]
    found = []
    for name in names[:MAX_SUPERSEDED]:
        with suppress(RejectedError):  # it can't be read, and nothing depends on it
            secret = await ports.cluster.find_secret(meta.namespace, name)
            if secret and secret.is_owned_by(meta):
                found.append(secret)
    return tuple(found)


def _find_mints(meta: ObjectMeta, found: Found | None, ports: Ports) -> frozenset[str]:
    if found is None:
        return frozenset()
    return ports.memory.recent_mints(meta.uid, found.registration.client_id, ports.clock.monotonic())


async def _find_granted(
    resource: MaskinportenClient, spec: MaskinportenClientSpec, first_seen: FirstSeen, ports: Ports
) -> Granted:
    if not spec.consumed_scopes:
        return Granted(frozenset())
    granted = await ports.digdir.grants.find(spec.consumed_scopes, first_seen.at)
    if resource.meta.asks(RESYNC_ANNOTATION):
        ports.memory.forget_refusals(resource.meta.uid)
    return granted


def _recall_earlier_refusal(resource: MaskinportenClient, first_seen: FirstSeen, ports: Ports) -> str | None:
    """Recall what DigDir refused to an earlier process; the new tries are spread over the resources."""
    uid = resource.meta.uid
    is_early = ports.clock.monotonic() - first_seen.at < spread_tries(uid)
    return find_earlier_refusal(resource) if is_early and not ports.memory.has_tried(uid) else None


async def _observe_exposed(
    resource: MaskinportenClient, spec: MaskinportenClientSpec, ports: Ports
) -> tuple[tuple[Exposure, ...], Blocker | None]:
    """Read the exposed scopes, and say why they couldn't all be read, if they couldn't.

    This blocks neither the credentials nor the other scopes.
    """
    try:
        exposures = await observe_exposures(resource, spec, ports, MAX_READS)
    except TransientError as fault:
        return (), fault.blocker
    return exposures, find_fault(exposures)


async def _observe_exposed_again(
    seen: Snapshot, names: Collection[str], refusals: Mapping[str, Blocker], ports: Ports
) -> Snapshot:
    """Observe again scopes that were just read; `refusals` has why some couldn't be."""
    before = {one.name: one for one in seen.exposures if one.name not in names}
    try:
        observed = await observe_exposures(seen.resource, seen.spec, ports, max_reads=0)
    except TransientError as fault:
        return replace(seen, exposures=(), unread=fault.blocker)
    exposures = tuple(
        before.get(one.name) or replace(one, refusal=refusals.get(one.name, one.refusal)) for one in observed
    )
    return replace(seen, exposures=exposures, unread=find_fault(exposures))


def recall_refusals(seen: Snapshot, ports: Ports) -> Snapshot:
    """Give a snapshot with what DigDir has refused so far."""
    meta, now = seen.resource.meta, ports.clock.monotonic()
    return replace(seen, refused=ports.memory.find_refusals(meta.uid, meta.generation, seen.granted.certain, now))


def decide_age(seen: Snapshot, ports: Ports) -> Snapshot:
    """Decide whether the key may be replaced now, if it has reached its age: a few at a time, and at a quiet time."""
    meta, due = seen.resource.meta, find_key_due(seen, ports.settings)
    if due is None or due > ports.clock.now() or ports.known.children.is_rolling_out(meta.namespace, meta.name):
        return seen
    return replace(seen, may_age=ports.memory.begin_aging(meta.uid, ports.clock.monotonic()))


async def observe_uses(seen: Snapshot, ports: Ports) -> Snapshot:
    """Find out who uses the Secret, before a key is given up that may be in use."""
    meta = seen.resource.meta
    names = [seen.spec.secret_name, *(secret.name for secret in seen.superseded)]
    uses = await ports.cluster.find_uses(meta.namespace, names)
    ports.memory.record_uses(meta.uid, uses, ports.clock.monotonic())
    return replace(seen, uses=uses)


def find_stale(plan: Plan, seen: Snapshot) -> Stale:
    """Find what a plan replaces and the pass knows from a list only: others may have changed it since."""
    touches_registration = any(isinstance(step, TOUCHES_REGISTRATION) for step in plan.steps)
    listed = {exposure.name for exposure in seen.exposures if exposure.registered}
    activated = {step.scope for step in plan.steps if isinstance(step, UpdateScope) and step.activates}
    is_stale = touches_registration and seen.found is not None and not seen.found.fresh
    return Stale(is_stale, plan.scopes & listed, frozenset(activated))


async def read_again(seen: Snapshot, plan: Plan, stale: Stale, ports: Ports) -> Snapshot:
    """Read what a plan is about to replace, since others may have changed it, or its ownership, since it was listed.

    No other scopes than those of the plan may be changed by what was read.

    Raises:
        ConflictError: The registration was deleted, or given to somebody else by another description: the next pass
            decides anew.
    """
    if stale.registration:
        seen = await _read_registration_again(seen, ports.digdir.registrations)
    if stale.scopes:
        seen = await _observe_exposed_again(
            seen, stale.scopes, await _read_scopes_again(stale, ports.digdir.scopes), ports
        )
    return replace(seen, chosen=plan.scopes)


@dataclass(frozen=True, slots=True)
class Stale:
    """What must be read before a plan is carried out.

    Attributes:
        registration: Whether the registration must.
        scopes: Scopes by name.
        activated: Those of them whose access lists must be read too: nobody has access by an oversight.
    """

    registration: bool
    scopes: frozenset[str]
    activated: frozenset[str]

    def __bool__(self) -> bool:
        return self.registration or bool(self.scopes)


async def _read_scopes_again(stale: Stale, scopes: ScopeIndex) -> dict[str, Blocker]:
    """Read scopes, and give why some can't be read."""
    refusals: dict[str, Blocker] = {}
    for name in stale.scopes:
        try:
            await scopes.read(name)
            if name in stale.activated:
                await scopes.read_access(name, anew=True)
        except (RejectedError, TransientError) as refusal:
            refusals[name] = refusal.blocker
    return refusals


def _find_rival(meta: ObjectMeta, secret_name: str, known: Known) -> str | None:
    rival = known.resources.find_rival(meta, claim_secret(meta.namespace, secret_name), known.namespaces.is_selected)
    return rival[1] if rival else None


async def _read_registration_again(seen: Snapshot, registrations: RegistrationIndex) -> Snapshot:
    assert seen.found
    before = seen.found.registration
    registration = await registrations.read(before.client_id)
    if registration is None or registration.description != before.description:
        what = "deleted" if registration is None else "given another description"
        raise ConflictError(Reason.REGISTRATION_ABSENT, f"Client {before.client_id} was {what} just now")
    return replace(seen, found=replace(seen.found, registration=registration, fresh=True))


@dataclass(slots=True)
class _Search:
    """The search for the resource's registration: in the list, by the ids we know, in a list that is new enough.

    Attributes:
        id_in_secret: The client id in its Secret; None if it has none, or is yet to prove whose it is.
        known: The ids by which Secret and status know the registration; users can write both.
        description: By which a registration is the resource's.
    """

    resource: MaskinportenClient
    id_in_secret: str | None
    ports: Ports
    registrations: RegistrationIndex = field(init=False)
    known: list[str] = field(init=False)
    description: str = field(init=False)

    def __post_init__(self) -> None:
        self.registrations = self.ports.digdir.registrations
        ids = (self.id_in_secret, self.resource.status.client_id)
        self.known = list(dict.fromkeys(one for one in ids if one is not None))
        self.description = self.ports.settings.build_ownership(self.resource.meta)

    async def run(self, first_seen: FirstSeen) -> Search:
        registrations, memory, uid = self.registrations, self.ports.memory, self.resource.meta.uid
        # An id that we know and the list lacks is asked for, before another registration is taken for the one.
        foreign_ids = [one for one in self.known if await self._is_foreign(one)]
        listed = bool(registrations.find(self.description))
        if found := await self._choose():
            return found
        if listed:  # it was read just now, and isn't what the list said
            foreign_ids = [one for one in self.known if await self._is_foreign(one)]
        if foreign_ids:
            memory.record_presence(uid)
            return Released(foreign_ids[0])

        passes = memory.count_absent(uid, self.ports.clock.monotonic()) if self.known else 0
        asked = max(first_seen.at, memory.absent_since(uid) or 0.0)
        provable_at = registrations.absence_provable_at(self.description, asked, had_finalizer=first_seen.had_finalizer)
        list_due = provable_at - self.ports.clock.monotonic()
        if list_due <= 0 and passes != 1:
            await registrations.listed_after(provable_at)
            if found := await self._choose():
                return found
        client_id = self.known[0] if self.known else None
        return Absent(client_id, passes, count_missing(self.ports.known, self.registrations), max(list_due, 0.0))

    async def _is_foreign(self, client_id: str) -> bool:
        """Whether an id that isn't listed as this resource's names a registration that isn't."""
        listed = self.registrations.find(self.description)
        if any(one.client_id == client_id for one in listed):
            return False
        try:
            read = await self.registrations.read(client_id)
        except RejectedError:
            if listed:  # a Secret may name anything, another organisation's client too
                return False
            raise
        return read is not None and (read.description != self.description or not read.usable)

    async def _choose(self) -> Found | None:
        """Choose among the listed ones; unless the Secret has its id it is read, since a list may be old."""
        while candidates := self.registrations.find(self.description):
            chosen = choose(candidates, *self.known)
            assert chosen
            is_in_secret = chosen.client_id == self.id_in_secret
            unconfirmed = self.registrations.is_unconfirmed(chosen.client_id) or self.resource.meta.asks(
                RESYNC_ANNOTATION
            )
            if is_in_secret and not unconfirmed:
                if chosen.keys is None:  # DigDir's list tells of no keys
                    chosen = await self.registrations.read_keys(chosen)
                return self._find(chosen, fresh=False)
            if (read := await self.registrations.read(chosen.client_id)) and read.description == self.description:
                return self._find(read, fresh=True)
        return None

    def _find(self, registration: Registration, *, fresh: bool) -> Found:
        self.ports.memory.record_presence(self.resource.meta.uid)
        ids = {one.client_id for one in self.registrations.find(self.description)} - {registration.client_id}
        return Found(registration, fresh, tuple(sorted(ids)))


def count_missing(known: Known, registrations: RegistrationIndex) -> Missing:
    """Count the resources whose registration DigDir's list lacks, and those that have one by their status."""
    ids = tuple(known.resources.known_client_ids(known.namespaces.is_selected))
    return Missing(sum(map(registrations.count_missing, ids)), sum(map(len, ids)))
