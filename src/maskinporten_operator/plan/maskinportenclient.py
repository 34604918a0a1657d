"""The plan for one MaskinportenClient: first what keeps it waiting, then what differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.blockers import Blocker, rejected, waiting
from maskinporten_operator.model.conditions import REGISTRATION_UNIQUE, Reason, Verdict
from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION, ROTATE_ANNOTATION
from maskinporten_operator.plan.absence import Missing, check_mass_absence
from maskinporten_operator.plan.consumption import (
    Consumption,
    ScopeChoice,
    check_consumption,
    check_lists,
    check_untried,
    choose_scopes,
    judge_consumption,
    sort_consumed,
)
from maskinporten_operator.plan.decisions import (
    ClearAnnotations,
    MarkIntent,
    Plan,
    RegisterClient,
    TryScopes,
    WriteSecret,
)
from maskinporten_operator.plan.keys import KeyPlan, plan_keys
from maskinporten_operator.plan.registration import build_fields, check_drift, order_scopes
from maskinporten_operator.plan.scopes import (
    Exposure,
    check_exposure,
    judge_consumers,
    judge_repeated,
    judge_withdrawn,
    plan_scopes,
)
from maskinporten_operator.plan.secret import build_secret, check_secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from maskinporten_operator.model.maskinportenclient import MaskinportenClient, MaskinportenClientSpec
    from maskinporten_operator.model.registrations import AuthorizationServer, Registration
    from maskinporten_operator.model.scopes import Granted
    from maskinporten_operator.plan.decisions import Step
    from maskinporten_operator.plan.policy import Policy
    from maskinporten_operator.plan.secret import OwnedSecret

LOOK_AGAIN_FOR_SECRET = 5.0
LOOK_AGAIN_FOR_ABSENT = 30.0
"""Seconds between the two passes that must both find a registration gone."""
LOOK_AGAIN_FOR_OWN = 1.0
"""Seconds after which a resource may consume the scope that it has just made itself."""


@dataclass(frozen=True, slots=True)
class Absence:
    """What is known when no registration was found.

    Attributes:
        client_id: The id that the resource had and that DigDir says is gone; None if it is known to have had none.
        passes: How many passes have found it gone, this one included; they are `LOOK_AGAIN_FOR_ABSENT` apart.
        missing: How many others are missing with it.
    """

    client_id: str | None
    passes: int
    missing: Missing

    @property
    def holds_back(self) -> bool:
        """Whether one more pass must find the registration gone."""
        return self.client_id is not None and self.passes < 2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the decision needs, read within one pass.

    Attributes:
        resource: The parsed resource.
        spec: Its spec, which is valid.
        secret: The Secret of the name in the spec, whoever owns it.
        rival: The older resource in the namespace that names the same Secret, if there is one.
        server: Maskinporten's metadata.
        recent_mints: Keys minted for this resource within the last hour.
        pending_key: The id of a key that was minted and hasn't reached the Secret.
        registration: The registration that is the resource's, with its keys.
        fresh: Whether the registration was read by this pass, and not merely listed some time ago.
        others: Ids of further registrations with the same description.
        released: An id from Secret or status whose registration has another description now.
        absence: Set when no registration was found.
        list_due: Seconds until a list may prove that there is no registration; 0 when it was proven.
        granted: Which of the consumed scopes may be registered; None if none are consumed, or nobody looked yet.
        refused: What DigDir said of consumed scopes that it refused lately.
        told: What the status tells of those that it refused an earlier process; None once it is time to try again.
        exposures: The exposed scopes in the order of the spec, then those that left it; None if nobody looked yet.
        unread: Why the exposed scopes couldn't all be read: nothing is done about those that weren't.
        tried_most: Whether the pass has tried as many consumed scopes as it may.
    """

    resource: MaskinportenClient
    spec: MaskinportenClientSpec
    secret: OwnedSecret | None
    rival: str | None
    server: AuthorizationServer
    recent_mints: int
    pending_key: str | None = None
    registration: Registration | None = None
    fresh: bool = False
    others: tuple[str, ...] = ()
    released: str | None = None
    absence: Absence | None = None
    list_due: float = 0.0
    granted: Granted | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    told: str | None = None
    exposures: tuple[Exposure, ...] | None = None
    unread: Blocker | None = None
    tried_most: bool = False

    def sort_consumed(self, policy: Policy) -> Consumption:
        """Tell the consumed scopes apart by what may be done with them."""
        if self.granted is None:
            return Consumption()
        return sort_consumed(
            self.spec.consumed_scopes,
            self.granted,
            self.registration.scopes if self.registration else (),
            refused=self.refused,
            prefix=policy.scope_prefix,
            told=self.told,
            tried_most=self.tried_most,
        )


def plan_maskinportenclient(seen: Snapshot, policy: Policy, now: datetime) -> Plan:
    """Decide what one pass does."""
    consumption = seen.sort_consumed(policy)
    if hold := find_hold(seen) or (None if seen.registration else check_lists(consumption)):
        return Plan(hold=hold)
    steps: list[Step] = [] if seen.resource.marked else [MarkIntent()]
    keys = KeyPlan()
    tries: list[Step] = []
    if choice := _choose_scopes(seen, consumption, policy):
        keys = _plan_keys(seen, policy, now)
        steps += _plan_credentials(seen, choice, keys, policy)
        if consumption.tries and not keys.hold:
            tries.append(TryScopes(consumption.tries, _build_fields(seen, choice, policy)))
    steps += plan_scopes(seen.exposures or (), policy.build_description(seen.resource.meta), policy)
    steps += tries
    if not keys.hold and (done := _find_done_requests(seen)):
        steps.append(ClearAnnotations(done))
    return Plan(
        tuple(steps), keys.hold, credentials_held=keys.hold is not None, next_look=_next_look(consumption, keys, policy)
    )


def find_hold(seen: Snapshot) -> Blocker | None:
    """Find what keeps the resource waiting, whatever its scopes and keys look like."""
    return next((hold for check in HOLDS if (hold := check(seen))), None)


def judge_maskinportenclient(seen: Snapshot, plan: Plan, policy: Policy) -> tuple[Blocker | None, tuple[Verdict, ...]]:
    """Say why the resource isn't ready, if it isn't, and what else is to be told, of what a pass left."""
    mark = policy.build_description(seen.resource.meta)
    exposures, consumption = seen.exposures or (), seen.sort_consumed(policy)
    conflicts = (check_exposure(exposure, mark, policy) for exposure in exposures)
    hold = (
        plan.hold
        or next(filter(None, conflicts), None)
        or seen.unread
        or check_lists(consumption)
        or check_untried(consumption)
        or check_consumption(consumption)
    )
    notices = [judge_consumption(consumption), judge_repeated(seen.spec.scopes), check_duplicates(seen)]
    if not seen.unread:
        notices[1:1] = [judge_consumers(exposures), judge_withdrawn(exposures)]
    return hold, tuple(notice for notice in notices if notice)


def check_secret_owner(seen: Snapshot) -> Blocker | None:
    """A Secret that isn't ours is never overwritten."""
    meta, secret = seen.resource.meta, seen.secret
    if secret is None or secret.is_owned_by(meta):
        return None
    name = secret.manifest["metadata"]["name"]
    if secret.was_owned_by_namesake(meta):
        return waiting(
            Reason.AWAITING_SECRET_REMOVAL,
            f"Secret {name} still belongs to an earlier resource of this name; the garbage collector removes it",
            LOOK_AGAIN_FOR_SECRET,
        )
    owners = ", ".join(str(owner["name"]) for owner in secret.owners)
    whose = f"belongs to MaskinportenClient {owners}" if owners else "was not made for a MaskinportenClient"
    return rejected(
        Reason.SECRET_CONFLICT,
        f"Secret {name} exists and {whose}: choose another secretName, or remove the Secret",
    )


def check_rival(seen: Snapshot) -> Blocker | None:
    """Of two resources that name one Secret which doesn't exist yet, the older goes first."""
    if seen.secret is not None or seen.rival is None:
        return None
    return rejected(
        Reason.SECRET_CONFLICT,
        f"MaskinportenClient {seen.rival}, which is older, names the same Secret: choose another secretName",
    )


def check_released(seen: Snapshot) -> Blocker | None:
    """Somebody gave our registration another description: it isn't ours any more, and nothing is put in its place."""
    if seen.registration or not seen.released:
        return None
    return rejected(
        Reason.REGISTRATION_RELEASED,
        f"Client {seen.released} has another description at DigDir, so it isn't this resource's any more: "
        "set its description back there, or delete this resource and create it again for a new client",
    )


def check_absence(seen: Snapshot) -> Blocker | None:
    """A registration counts as gone when two passes found it gone, and few vanished with it or a user says so."""
    absence = seen.absence
    if absence is None:
        return None
    if is_mass := check_mass_absence(absence.missing, seen.resource.meta):
        return is_mass
    if absence.holds_back:
        return waiting(
            Reason.REGISTRATION_ABSENT,
            f"DigDir says that client {absence.client_id} is gone; looking once more before a new one is registered",
            LOOK_AGAIN_FOR_ABSENT,
        )
    return None


def check_list(seen: Snapshot) -> Blocker | None:
    """Nothing is registered before a list that is new enough has shown that there is nothing to adopt."""
    if seen.registration or seen.list_due <= 0:
        return None
    return waiting(
        Reason.AWAITING_LIST,
        "An earlier attempt may have registered a client: waiting for DigDir's list to tell",
        seen.list_due,
    )


def has_become_own(seen: Snapshot, policy: Policy) -> bool:
    """Whether a consumed scope that wasn't granted is one that the resource itself exposes by now."""
    active = {one.name for one in seen.exposures or () if one.registered and one.registered.active}
    consumption = seen.sort_consumed(policy)
    return not active.isdisjoint(set(consumption.missing) - consumption.refused.keys())


def has_more_to_try(seen: Snapshot, policy: Policy) -> bool:
    """Whether consumed scopes are left to be tried by later passes; `seen` is what a pass left."""
    consumption = seen.sort_consumed(policy)
    return seen.tried_most and bool(consumption.tries or consumption.untried)


HOLDS = (check_secret_owner, check_rival, check_released, check_absence, check_list)


def _choose_scopes(seen: Snapshot, consumption: Consumption, policy: Policy) -> ScopeChoice | None:
    registered = seen.registration.scopes if seen.registration else None
    return choose_scopes(consumption, seen.spec.consumed_scopes, registered, policy.default_scope)


def _build_fields(seen: Snapshot, choice: ScopeChoice, policy: Policy) -> dict[str, Any]:
    return build_fields(seen.spec, seen.resource.meta, policy, choice.wanted)


def _plan_credentials(seen: Snapshot, choice: ScopeChoice, keys: KeyPlan, policy: Policy) -> list[Step]:
    fields = _build_fields(seen, choice, policy)
    registration_step: Step | None = RegisterClient(fields, choice.fallbacks, choice.tentative)
    if seen.registration:
        registration_step = check_drift(seen.registration, fields, choice.fallbacks)
    steps = [step for step in (registration_step, keys.publish) if step]
    if not keys.hold and (reason := _check_secret(seen, keys, changes_registration=registration_step is not None)):
        steps.append(WriteSecret(reason))
    return steps


def _next_look(consumption: Consumption, keys: KeyPlan, policy: Policy) -> float | None:
    """Access that is granted later comes without an edit."""
    moments = [keys.next_look]
    if consumption.missing or consumption.lost:
        moments.append(policy.grant_recheck)
    return min((one for one in moments if one is not None), default=None)


def _plan_keys(seen: Snapshot, policy: Policy, now: datetime) -> KeyPlan:
    registered = (seen.registration.keys if seen.registration else None) or ()
    return plan_keys(
        registered,
        seen.secret.jwk if seen.secret else None,
        pending=seen.pending_key,
        rotate=seen.resource.meta.asks(ROTATE_ANNOTATION),
        recent_mints=seen.recent_mints,
        grace=policy.key_grace,
        now=now,
    )


def _check_secret(seen: Snapshot, keys: KeyPlan, *, changes_registration: bool) -> str | None:
    if keys.publish and keys.publish.mint:
        return "it receives a new key"
    if changes_registration:
        return "the registration changes"
    assert seen.registration and seen.secret and seen.secret.jwk  # else a key would be minted  # noqa: PT018
    scopes = order_scopes(seen.registration.scopes, seen.spec.consumed_scopes)
    desired = build_secret(
        seen.resource.meta,
        seen.spec.secret_name,
        client_id=seen.registration.client_id,
        jwk=seen.secret.jwk,
        scopes=scopes,
        server=seen.server,
    )
    return check_secret(seen.secret, desired)


def _find_done_requests(seen: Snapshot) -> tuple[str, ...]:
    return tuple(name for name in (ROTATE_ANNOTATION, RESYNC_ANNOTATION) if seen.resource.meta.asks(name))


def check_duplicates(seen: Snapshot) -> Verdict | None:
    """Further registrations with the resource's description are named, and left alone."""
    if not seen.others:
        return None
    shown = ", ".join(seen.others[:10]) + (f" and {len(seen.others) - 10} more" if len(seen.others) > 10 else "")
    message = f"Further active clients have this resource's description at DigDir: {shown}. They are left alone"
    return Verdict(REGISTRATION_UNIQUE, "False", Reason.DUPLICATE_REGISTRATIONS, message)
