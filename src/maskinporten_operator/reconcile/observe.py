"""Reads what the decision needs into one snapshot. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from maskinporten_operator.model.claims import claim_secret
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import ConflictError, RejectedError, TransientError
from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION
from maskinporten_operator.plan.absence import Missing
from maskinporten_operator.plan.consumption import find_told, spread_tries
from maskinporten_operator.plan.decisions import SCOPE_STEPS, TOUCHES_REGISTRATION, UpdateScope
from maskinporten_operator.plan.maskinportenclient import Absence, Snapshot, find_hold
from maskinporten_operator.plan.registration import choose
from maskinporten_operator.reconcile.exposures import find_fault, observe_exposures
from maskinporten_operator.reconcile.vanished import check_still_wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.blockers import Blocker
    from maskinporten_operator.model.maskinportenclient import MaskinportenClientSpec
    from maskinporten_operator.model.registrations import Registration
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.decisions import Plan
    from maskinporten_operator.plan.outcomes import ClientProgress
    from maskinporten_operator.reconcile.ports import Ports, Sighting


async def observe(progress: ClientProgress, spec: MaskinportenClientSpec, sighting: Sighting, ports: Ports) -> Snapshot:
    """Read the Secret, the registration and the scopes; a missing Secret is noted in `progress`, whatever follows.

    Raises:
        TerminatingError: The Secret vanished because the resource or its namespace is going.
        OperatorError: Something couldn't be read.
    """
    resource, meta = progress.resource, progress.resource.meta
    await ports.registry.ready()
    secret = await ports.cluster.find_secret(meta.namespace, spec.secret_name)
    progress.impaired = secret is None
    seen = Snapshot(
        resource=resource,
        spec=spec,
        secret=secret,
        rival=_find_rival(meta, spec.secret_name, ports),
        server=await ports.metadata.get(),
        recent_mints=ports.memory.recent_mints(meta.uid, ports.clock.monotonic()),
        pending_key=pending.kid if (pending := ports.memory.pending_key(meta.uid)) else None,
    )
    if secret and not secret.is_owned_by(meta):
        return seen  # the plan waits for the Secret, whatever the registration looks like

    search = _Search(ports, ports.policy.build_description(meta), secret.client_id if secret else None)
    seen = await search.run(seen, sighting)
    had_secret = resource.status.secret_name
    if secret is None and seen.registration and (had_secret or seen.registration.keys):
        await check_still_wanted(meta, ports)
    if find_hold(seen):
        return seen  # nothing is done about the scopes either
    return await _observe_exposed(await _observe_consumed(seen, sighting, ports), {}, ports)


async def _observe_consumed(seen: Snapshot, sighting: Sighting, ports: Ports) -> Snapshot:
    """Find out which of the consumed scopes may be registered, and which DigDir refused lately.

    What it refused an earlier process is tried again, though not by all resources at the start of this one.
    """
    consumed, meta = seen.spec.consumed_scopes, seen.resource.meta
    if not consumed:
        return seen
    granted = await ports.grants.find(consumed, sighting.at)
    if meta.asks(RESYNC_ANNOTATION):
        ports.memory.forget_refusals(meta.uid)
        return replace(seen, granted=granted)
    seen = recall_refusals(replace(seen, granted=granted), ports)
    is_early = ports.clock.monotonic() - sighting.at < spread_tries(meta.uid)
    has_tried = ports.memory.has_tried(meta.uid)
    return replace(seen, told=find_told(seen.resource) if is_early and not has_tried else None)


async def _observe_exposed(seen: Snapshot, refusals: Mapping[str, Blocker], ports: Ports) -> Snapshot:
    """Read the exposed scopes; what can't be read keeps nobody from the credentials, nor from the other scopes.

    `refusals` says of scopes why they couldn't be read a moment ago.
    """
    try:
        observed = await observe_exposures(seen.resource, seen.spec, ports)
    except TransientError as fault:
        return replace(seen, exposures=(), unread=fault.blocker)
    exposures = tuple(replace(one, refusal=refusals.get(one.name, one.refusal)) for one in observed)
    return replace(seen, exposures=exposures, unread=find_fault(exposures))


def recall_refusals(seen: Snapshot, ports: Ports) -> Snapshot:
    """Give a snapshot with what DigDir has refused so far."""
    if seen.granted is None:
        return seen
    meta, now = seen.resource.meta, ports.clock.monotonic()
    refused = ports.memory.find_refusals(meta.uid, meta.generation, seen.granted.certain, now)
    return replace(seen, refused=refused)


def find_stale(plan: Plan, seen: Snapshot) -> Stale:
    """Find what a plan replaces and this pass merely knows from a list: others may have changed it since."""
    registration = not seen.fresh and any(isinstance(step, TOUCHES_REGISTRATION) for step in plan.steps)
    touched = {step.scope for step in plan.steps if isinstance(step, SCOPE_STEPS)}
    listed = {exposure.name for exposure in seen.exposures or () if exposure.registered}
    activated = {step.scope for step in plan.steps if isinstance(step, UpdateScope) and step.activates}
    return Stale(registration and seen.registration is not None, frozenset(touched & listed), frozenset(activated))


async def read_again(seen: Snapshot, stale: Stale, ports: Ports) -> Snapshot:
    """Read what is about to be replaced: what others changed since it was listed is kept, or makes it theirs.

    Raises:
        ConflictError: The registration was deleted, or given to somebody else by another description: the next pass
            decides anew.
    """
    if stale.registration:
        seen = await _read_registration_again(seen, ports)
    if stale.scopes:
        seen = await _observe_exposed(seen, await _read_scopes_again(stale, ports), ports)
    return seen


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


async def _read_scopes_again(stale: Stale, ports: Ports) -> dict[str, Blocker]:
    """Read scopes anew, and give why some can't be read: that keeps no other from being changed."""
    refusals: dict[str, Blocker] = {}
    for name in stale.scopes:
        try:
            await ports.scopes.read(name)
            if name in stale.activated:
                await ports.scopes.read_access(name, anew=True)
        except (RejectedError, TransientError) as refusal:
            refusals[name] = refusal.blocker
    return refusals


def _find_rival(meta: ObjectMeta, secret_name: str, ports: Ports) -> str | None:
    rival = ports.fleet.find_rival(meta, claim_secret(meta.namespace, secret_name), ports.namespaces.is_selected)
    return rival[1] if rival else None


async def _read_registration_again(seen: Snapshot, ports: Ports) -> Snapshot:
    assert seen.registration
    registration = await ports.registry.read(seen.registration.client_id)
    if registration is None or registration.description != seen.registration.description:
        what = "deleted" if registration is None else "given another description"
        raise ConflictError(Reason.REGISTRATION_ABSENT, f"Client {seen.registration.client_id} was {what} just now")
    return replace(seen, registration=registration, fresh=True)


@dataclass(slots=True)
class _Search:
    """The search for the resource's registration: in the list, by the ids we know, in a list that is new enough."""

    ports: Ports
    description: str
    held_id: str | None

    async def run(self, seen: Snapshot, sighting: Sighting) -> Snapshot:
        registry, memory, uid = self.ports.registry, self.ports.memory, seen.resource.meta.uid
        known = self._known_ids(seen)
        # An id that we know and the list lacks is asked for, before another registration is taken for the one.
        elsewhere = [one for one in known if await self._is_elsewhere(one)]
        listed = bool(registry.find(self.description))
        if found := await self._choose(seen):
            return found
        if listed:  # it was read just now, and isn't what the list said
            elsewhere = [one for one in known if await self._is_elsewhere(one)]
        if elsewhere:
            memory.record_presence(uid)
            return replace(seen, released=elsewhere[0])

        passes = memory.count_absent(uid, self.ports.clock.monotonic()) if known else 0
        asked = max(sighting.at, memory.absent_since(uid) or 0.0)
        provable_at = registry.absence_provable_at(self.description, asked, marked=sighting.marked)
        list_due = provable_at - self.ports.clock.monotonic()
        if list_due <= 0 and passes != 1:
            await registry.listed_after(provable_at)
            if found := await self._choose(seen):
                return found
        absence = Absence(known[0] if known else None, passes, count_missing(self.ports))
        return replace(seen, absence=absence, list_due=max(list_due, 0.0))

    def _known_ids(self, seen: Snapshot) -> list[str]:
        """Give the ids by which the Secret and the status know the registration; users can write both."""
        ids = (self.held_id, seen.resource.status.client_id)
        return list(dict.fromkeys(one for one in ids if one is not None))

    async def _is_elsewhere(self, client_id: str) -> bool:
        """Whether an id that isn't listed as this resource's names a registration that isn't."""
        listed = self.ports.registry.find(self.description)
        if any(one.client_id == client_id for one in listed):
            return False
        try:
            read = await self.ports.registry.read(client_id)
        except RejectedError:
            if listed:  # a Secret may name anything, another organisation's client too
                return False
            raise
        return read is not None and (read.description != self.description or not read.usable)

    async def _choose(self, seen: Snapshot) -> Snapshot | None:
        """Choose among the listed ones; what the Secret doesn't vouch for is read, since a list may be old."""
        while candidates := self.ports.registry.find(self.description):
            chosen = choose(candidates, *self._known_ids(seen))
            assert chosen
            vouched_for = chosen.client_id == self.held_id and chosen.keys is not None
            doubtful = self.ports.registry.is_doubtful(chosen.client_id) or seen.resource.meta.asks(RESYNC_ANNOTATION)
            if vouched_for and not doubtful:
                return self._found(seen, chosen, fresh=False)
            if (read := await self.ports.registry.read(chosen.client_id)) and read.description == self.description:
                return self._found(seen, read, fresh=True)
        return None

    def _found(self, seen: Snapshot, registration: Registration, *, fresh: bool) -> Snapshot:
        self.ports.memory.record_presence(seen.resource.meta.uid)
        others = tuple(
            sorted(
                one.client_id
                for one in self.ports.registry.find(self.description)
                if one.client_id != registration.client_id
            )
        )
        return replace(seen, registration=registration, fresh=fresh, others=others)


def count_missing(ports: Ports) -> Missing:
    """Count the resources whose registration DigDir's list lacks, and those that have one by their status."""
    known = tuple(ports.fleet.known_client_ids(ports.namespaces.is_selected))
    return Missing(sum(not ports.registry.holds(one) for one in known), len(known))
