"""The plan for one MaskinportenClient: first what keeps it waiting, then what differs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.blockers import Blocker, rejected, waiting
from maskinporten_operator.model.conditions import VERIFIED, Reason
from maskinporten_operator.model.jwk import build_kid_prefix
from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION, ROTATE_ANNOTATION
from maskinporten_operator.plan.consumed_scopes import (
    Consumption,
    ScopeChoice,
    check_consumption,
    check_lists,
    check_made,
    check_untried,
    choose_scopes,
    judge_consumption,
    sort_consumed,
)
from maskinporten_operator.plan.decisions import (
    AddFinalizer,
    AdoptSecret,
    ClearAnnotations,
    Plan,
    RegisterClient,
    TryScopes,
    WriteSecret,
)
from maskinporten_operator.plan.exposed_scopes import (
    Exposure,
    check_exposure,
    check_pending,
    choose_steps,
    judge_consumers,
    judge_repeated,
    judge_withdrawn,
    plan_scopes,
)
from maskinporten_operator.plan.key_set import KeyPlan, find_newer, plan_keys, sort_by_age
from maskinporten_operator.plan.registration_fields import build_fields, order_scopes, plan_update
from maskinporten_operator.plan.rotation import (
    Rotation,
    find_due,
    find_recheck,
    judge_held_back,
    judge_request,
)
from maskinporten_operator.plan.search import Found, judge_duplicates
from maskinporten_operator.plan.secret import (
    CLIENT_JWK,
    ObservedSecret,
    SecretSummary,
    build_fingerprint,
    build_secret,
    check_secret,
    judge_superseded,
)
from maskinporten_operator.plan.secret_uses import Holders, find_holders, parse_deliveries

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from maskinporten_operator.model.conditions import Verdict
    from maskinporten_operator.model.jwk import PublicJwk
    from maskinporten_operator.model.maskinportenclient import MaskinportenClient, MaskinportenClientSpec
    from maskinporten_operator.model.registrations import AuthorizationServer, Registration
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.model.scopes import Granted
    from maskinporten_operator.plan.decisions import Step
    from maskinporten_operator.plan.registration_settings import RegistrationSettings
    from maskinporten_operator.plan.secret_uses import SecretUse
    from maskinporten_operator.plan.verification import PendingKey

SECRET_RECHECK_SECONDS = 5.0


@dataclass(frozen=True)  # without slots, for what is found once and kept
class Snapshot:
    """Everything that the decision needs, read within one pass that nothing of it blocked.

    Attributes:
        secret: The Secret of the name in the spec, which is its own, or has proved to be and lost its owner. By its
            summary only if it hasn't moved since it was read, and then a plan with steps isn't carried out.
        server: Maskinporten's metadata.
        recent_mints: The ids of keys that this process made for its registration within the last hour.
        pending_key: A key that was minted and hasn't reached the Secret.
        may_age: Whether its key may be replaced now for its age alone.
        uses: By the name of each Secret of its own, the containers that use it; None if nobody looked lately.
        found: Its registration; None if it is proven to have none.
        granted: Which of the consumed scopes may be registered.
        superseded: Its Secrets of other names than the spec's.
        refused: What DigDir said of consumed scopes that it refused lately.
        earlier_refusal: The status' message on those refused to an earlier process; None once they may be tried again.
        exposures: The exposed scopes in the order of the spec, then those that left it.
        unread: Why the exposed scopes couldn't all be read: nothing is done about those that weren't.
        tries_exhausted: Whether the pass has tried as many consumed scopes as it may.
        chosen: The exposed scopes that the pass may change, when it has read them for that; None before.
    """

    resource: MaskinportenClient
    spec: MaskinportenClientSpec
    secret: ObservedSecret | SecretSummary | None
    server: AuthorizationServer
    recent_mints: frozenset[str]
    pending_key: PendingKey | None
    found: Found | None
    granted: Granted
    superseded: tuple[ObservedSecret, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    earlier_refusal: str | None = None
    may_age: bool = False
    uses: Mapping[str, tuple[SecretUse, ...]] | None = None
    exposures: tuple[Exposure, ...] = ()
    unread: Blocker | None = None
    tries_exhausted: bool = False
    chosen: frozenset[str] | None = None

    @property
    def registration(self) -> Registration | None:
        """Its registration with its keys, if it has one."""
        return self.found.registration if self.found else None

    @property
    def registered_keys(self) -> tuple[PublicJwk, ...]:
        """The client's keys as read."""
        return tuple((self.registration.keys if self.registration else None) or ())

    @cached_property
    def current_key(self) -> PublicJwk | None:
        """The registered key that the Secret holds, whoever made it."""
        held = self.secret.jwk if self.secret else None
        return next((key for key in self.registered_keys if held and key.matches(held)), None)

    def sort_consumed(self, settings: RegistrationSettings) -> Consumption:
        """Tell the consumed scopes apart by what may be done with them."""
        return sort_consumed(
            self.spec.consumed_scopes,
            self.granted,
            self.registration.scopes if self.registration else (),
            refused=self.refused,
            prefix=settings.scope_prefix,
            earlier_refusal=self.earlier_refusal,
            tries_exhausted=self.tries_exhausted,
            exposed={one.name for one in self.exposures if one.registered and one.registered.active},
        )


def plan_maskinportenclient(seen: Snapshot, settings: RegistrationSettings, now: datetime) -> Plan:
    """Decide what one pass does."""
    consumption = seen.sort_consumed(settings)
    if not seen.registration and (blocker := check_lists(consumption)):
        return Plan(blocker=blocker)
    steps = _plan_ownership(seen)
    keys, rotation = KeyPlan(), Rotation()
    tries: list[Step] = []
    if choice := _choose_scopes(seen, consumption, settings):
        rotation = _judge_rotation(seen, settings, now)
        keys = _plan_keys(seen, rotation, settings, now)
        steps += _plan_credentials(seen, choice, keys, settings)
        if consumption.tries and not keys.blocker:
            tries.append(TryScopes(consumption.tries, _build_fields(seen, choice, settings)))
    exposures = seen.exposures
    wanted = plan_scopes(exposures, settings.build_ownership(seen.resource.meta), settings)
    now_done = choose_steps(wanted, seen.chosen)
    unfinished = len(now_done) < len(wanted) or any(one.pending for one in exposures)
    steps += now_done
    steps += tries
    if not keys.blocker and (done := _find_done_requests(seen, keys, rotation, unfinished=unfinished)):
        steps.append(ClearAnnotations(done))
    return Plan(
        tuple(steps),
        keys.blocker,
        credentials_blocked=keys.blocker is not None,
        next_look=_next_look(seen, consumption, keys, settings, now),
        unfinished=unfinished,
        key_waits=keys.is_waiting,
        asks_for_uses=keys.asks_for_holders,
        rotation_notice=judge_held_back(keys.refusal) if keys.refusal else rotation.notice,
    )


def judge_maskinportenclient(
    seen: Snapshot, plan: Plan, settings: RegistrationSettings
) -> tuple[Blocker | None, tuple[Verdict, ...]]:
    """Say why the resource isn't ready, if it isn't, and what else is to be told, of what a pass left."""
    ownership = settings.build_ownership(seen.resource.meta)
    exposures, consumption = seen.exposures, seen.sort_consumed(settings)
    conflicts = (check_exposure(exposure, ownership, settings) for exposure in exposures)
    blocker = (
        plan.blocker
        or next(filter(None, conflicts), None)
        or seen.unread
        or check_lists(consumption)
        or check_untried(consumption)
        or check_made(consumption)
        or check_consumption(consumption)
        or check_pending(unfinished=plan.unfinished)
    )
    notices = [judge_consumption(consumption), judge_repeated(seen.spec.scopes), judge_duplicates(seen.found)]
    notices.append(plan.rotation_notice)
    notices.append(judge_superseded(seen.superseded, seen.spec.secret_name, settings.key_grace))
    if not seen.unread:
        notices[1:1] = [judge_consumers(exposures), judge_withdrawn(exposures)]
    return blocker, tuple(notice for notice in notices if notice)


def check_secret_owner(secret: ObservedSecret | None, meta: ObjectMeta) -> Blocker | None:
    """A Secret that isn't ours is never overwritten; of one that nothing owns any more, `check_proof` judges."""
    if secret is None or secret.is_owned_by(meta) or secret.is_adoptable(meta):
        return None
    name = secret.name
    if secret.was_owned_by_namesake(meta):
        return _await_removal(name)
    if secret.is_ownerless(meta) and secret.manifest["metadata"].get("deletionTimestamp"):
        return waiting(Reason.AWAITING_SECRET_REMOVAL, f"Secret {name} is being deleted", SECRET_RECHECK_SECONDS)
    owners = ", ".join(str(owner["name"]) for owner in secret.owners if owner["uid"] != meta.uid)
    whose = f"belongs to MaskinportenClient {owners}" if owners else "was not made for a MaskinportenClient"
    return rejected(
        Reason.SECRET_CONFLICT,
        f"Secret {name} exists and {whose}: choose another secretName, or remove the Secret",
    )


def check_proof(secret: ObservedSecret, meta: ObjectMeta, registration: Registration | None) -> Blocker | None:
    """A Secret that nothing owns is the resource's if its private key is one of those of the resource's client.

    Its labels prove nothing, since whoever may write Secrets may set them.
    """
    jwk, keys = secret.jwk, (registration.keys or ()) if registration else ()
    if jwk and any(key.matches(jwk) for key in keys):
        return None
    name = secret.name
    if secret.was_owned_by_namesake(meta):
        return _await_removal(name)
    lacking = "this resource has no client at DigDir"
    if registration:
        lacking = f"its private key isn't registered on client {registration.client_id}"
    if jwk is None:
        lacking = f"it holds no usable {CLIENT_JWK}"
    return rejected(
        Reason.SECRET_CONFLICT,
        f"Secret {name} exists, nothing owns it, and it can't be taken back, as {lacking}: "
        "choose another secretName, or remove the Secret",
    )


def _await_removal(name: str) -> Blocker:
    return waiting(
        Reason.AWAITING_SECRET_REMOVAL,
        f"Secret {name} still belongs to an earlier resource of this name; the garbage collector removes it",
        SECRET_RECHECK_SECONDS,
    )


def check_rival(rival: str | None, secret: ObservedSecret | SecretSummary | None) -> Blocker | None:
    """Of two resources that name one Secret which doesn't exist yet, the older, the `rival`, goes first."""
    if secret is not None or rival is None:
        return None
    return rejected(
        Reason.SECRET_CONFLICT,
        f"MaskinportenClient {rival}, which is older, names the same Secret: choose another secretName",
    )


def has_more_to_try(seen: Snapshot, settings: RegistrationSettings) -> bool:
    """Whether consumed scopes are left to be tried by later passes; `seen` is what a pass left."""
    consumption = seen.sort_consumed(settings)
    return seen.tries_exhausted and bool(consumption.tries or consumption.untried)


def _plan_ownership(seen: Snapshot) -> list[Step]:
    is_lost = isinstance(seen.secret, ObservedSecret) and not seen.secret.is_owned_by(seen.resource.meta)
    adoption: list[Step] = [AdoptSecret()] if is_lost else []
    return adoption if seen.resource.has_finalizer else [*adoption, AddFinalizer()]


def _choose_scopes(seen: Snapshot, consumption: Consumption, settings: RegistrationSettings) -> ScopeChoice | None:
    registered = seen.registration.scopes if seen.registration else None
    return choose_scopes(consumption, seen.spec.consumed_scopes, registered, settings.default_scope)


def _build_fields(seen: Snapshot, choice: ScopeChoice, settings: RegistrationSettings) -> dict[str, Any]:
    return build_fields(seen.spec, seen.resource.meta, settings, choice.wanted)


def _plan_credentials(seen: Snapshot, choice: ScopeChoice, keys: KeyPlan, settings: RegistrationSettings) -> list[Step]:
    fields = _build_fields(seen, choice, settings)
    registration_step: Step | None = RegisterClient(fields, choice.fallbacks, choice.tentative)
    if seen.registration:
        registration_step = plan_update(seen.registration, fields, choice.fallbacks)
    steps = [step for step in (registration_step, keys.publish) if step]
    if not keys.blocker and (reason := _check_secret(seen, keys, changes_registration=registration_step is not None)):
        steps.append(WriteSecret(reason))
    return steps


def _next_look(
    seen: Snapshot, consumption: Consumption, keys: KeyPlan, settings: RegistrationSettings, now: datetime
) -> float | None:
    """Access that is granted later comes without an edit, and so does the age of a key."""
    moments = [keys.next_look]
    if due := find_key_due(seen, settings):
        moments.append((due - now).total_seconds() + 1 if due > now else find_recheck(seen.resource.meta.uid))
    if consumption.missing or consumption.lost:
        moments.append(settings.grant_recheck)
    return min((one for one in moments if one is not None), default=None)


def find_key_due(seen: Snapshot, settings: RegistrationSettings) -> datetime | None:
    """Find when the key in the Secret has reached its age."""
    current = seen.current_key
    return find_due(seen.resource.meta.uid, current, settings.key_max_age) if current else None


def _judge_rotation(seen: Snapshot, settings: RegistrationSettings, now: datetime) -> Rotation:
    resource, current = seen.resource, seen.current_key
    reported = current is not None and _is_reported(seen, current.kid)
    rotation = judge_request(resource.meta, current, resource.status, reported=reported, now=now)
    due = find_key_due(seen, settings)
    if rotation.reason or not (seen.may_age and due and due <= now):
        return rotation
    return replace(rotation, reason="the key has reached its age")


def _plan_keys(seen: Snapshot, rotation: Rotation, settings: RegistrationSettings, now: datetime) -> KeyPlan:
    return plan_keys(
        seen.registered_keys,
        seen.secret.jwk if seen.secret else None,
        superseded=tuple(jwk for secret in seen.superseded if (jwk := secret.jwk)),
        pending=seen.pending_key,
        rotate=rotation.reason,
        verifies=settings.verifies,
        undelivered=_find_undelivered(seen),
        recent_mints=seen.recent_mints,
        holders=_find_holders(seen, now),
        grace=settings.key_grace,
        now=now,
    )


def needs_secret(seen: Snapshot, plan: Plan, settings: RegistrationSettings) -> bool:
    """Whether a pass needs the Secret itself, and not its summary: to do something, or to have its key tried."""
    return isinstance(seen.secret, SecretSummary) and (
        bool(plan.steps)
        or plan.blocker is not None
        or plan.asks_for_uses
        or (settings.verifies and not _is_verified(seen))
    )


def _is_verified(seen: Snapshot) -> bool:
    """Whether the very credentials in the Secret are known to work."""
    verified, held = seen.resource.status.find_condition(VERIFIED), seen.secret.jwk if seen.secret else None
    return verified is not None and verified.status == "True" and held is not None and _is_reported(seen, held.kid)


def _find_holders(seen: Snapshot, now: datetime) -> Holders | None:
    """Find which pods may have which of the keys that were in the Secret."""
    if seen.uses is None:
        return None
    held = seen.secret.jwk if seen.secret else None
    never = _find_undelivered(seen) | ({seen.pending_key.kid} if seen.pending_key else set())
    keys = (key for key in seen.registered_keys if (held and key.matches(held)) or (key.ours and key.kid not in never))
    deliveries: dict[str, datetime] = {}
    for secret in (*seen.superseded, seen.secret):
        deliveries |= parse_deliveries(secret.deliveries if secret else None)
    uses = [use for containers in seen.uses.values() for use in containers]
    holders = find_holders(uses, sort_by_age(keys), deliveries, now)
    for secret in seen.superseded:  # whenever a container was started, it has what is in there
        if secret.jwk and (pods := {use.pod for use in seen.uses.get(secret.name, ())}):
            holders[secret.jwk.kid] = tuple(sorted(pods.union(holders.get(secret.jwk.kid, ()))))
    return holders


def _find_undelivered(seen: Snapshot) -> frozenset[str]:
    """Find the ids of keys that never were in the Secret: newer ones than the status names as the last that was.

    Not where the Secret holds another one than that: somebody put it back, and a newer one may be in use.
    """
    meta, status, held = seen.resource.meta, seen.resource.status, seen.secret.jwk if seen.secret else None
    if status.fingerprint is None and held is None:
        own = build_kid_prefix(meta.uid)
        return frozenset(key.kid for key in seen.registered_keys if key.kid.startswith(own))
    last = next((key for key in seen.registered_keys if _is_reported(seen, key.kid)), None)
    if last is None or (held and held.kid != last.kid):
        return frozenset()
    return find_newer(seen.registered_keys, last)


def _is_reported(seen: Snapshot, kid: str) -> bool:
    """Whether the status tells of a Secret with this key and all else that is registered."""
    if seen.registration is None:
        return False
    scopes = order_scopes(seen.registration.scopes, seen.spec.consumed_scopes)
    fingerprint = build_fingerprint(seen.registration.client_id, kid, scopes, seen.server)
    return seen.resource.status.fingerprint == fingerprint


def _check_secret(seen: Snapshot, keys: KeyPlan, *, changes_registration: bool) -> str | None:
    if keys.publish and keys.publish.mint and keys.publish.delivers:
        return "it receives a new key"
    if changes_registration:
        return "the registration changes"
    assert seen.registration and seen.secret and seen.secret.jwk  # else a key would be minted  # noqa: PT018
    scopes = order_scopes(seen.registration.scopes, seen.spec.consumed_scopes)
    desired = build_secret(
        seen.resource.meta,
        seen.spec.secret_name,
        client_id=seen.registration.client_id,
        jwk=None if isinstance(seen.secret, SecretSummary) else seen.secret.jwk,
        scopes=scopes,
        server=seen.server,
    )
    return check_secret(seen.secret, desired)


def _find_done_requests(seen: Snapshot, keys: KeyPlan, rotation: Rotation, *, unfinished: bool) -> tuple[str, ...]:
    """Find the annotations to remove; of those that ask for a new key only `true` is."""
    rotates = keys.publish is not None and keys.publish.mint and keys.publish.delivers
    done = {ROTATE_ANNOTATION: rotation.is_done or rotates, RESYNC_ANNOTATION: not unfinished}
    return tuple(name for name, is_done in done.items() if is_done and seen.resource.meta.asks(name))
