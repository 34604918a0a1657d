"""What `status` tells of a resource: who it is, how it is, what it has, and what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.application import parse_application
from maskinporten_operator.model.conditions import READY, Reason
from maskinporten_operator.model.jwk import PublicJwk
from maskinporten_operator.model.maskinportenclient import parse
from maskinporten_operator.model.resources import APPLICATION, InvalidSpec
from maskinporten_operator.plan.remedies import REMEDIES
from maskinporten_operator.plan.rotation import find_request
from maskinporten_operator.plan.secret_uses import find_holders
from maskinporten_operator.plan.status import ABNORMAL_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from maskinporten_operator.model.conditions import Status
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.model.status_hint import ConditionHint, StatusHint
    from maskinporten_operator.plan.secret_uses import SecretUse

MAX_EVENTS = 5


@dataclass(frozen=True, slots=True)
class ConditionState:
    """One condition; `since` is when its status last changed."""

    type: str
    status: Status
    reason: str
    message: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class KeyState:
    """A key that is registered on the client; `since` is when it was registered or came into the Secret.

    `pods` names those that may have it; None if nobody could look.
    """

    id: str
    since: datetime | None
    is_current: bool
    pods: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class ConsumedState:
    """A consumed scope of the spec, and whether it is registered on the client."""

    name: str
    is_registered: bool


@dataclass(frozen=True, slots=True)
class ExposedState:
    """An exposed scope as the status tells of it."""

    name: str
    state: str
    consumers: int


@dataclass(frozen=True, slots=True)
class Happening:
    """An Event."""

    last: datetime | None
    reason: str
    message: str
    count: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else the API server has of a resource; None is what couldn't be read.

    Attributes:
        deliveries: Since when keys were in the Secret, by key id.
        uses: The containers that use the Secret.
        events: Its Events, as sent.
    """

    deliveries: Mapping[str, datetime] | None = None
    uses: Sequence[SecretUse] | None = None
    events: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """What is told of one resource.

    Attributes:
        ready: The condition `Ready`; None if the operator hasn't looked at the resource yet.
        conditions: The others, but for those that repeat `Ready`.
        consumed: The consumed scopes of a MaskinportenClient; those of an Application are its client's.
        events: The latest, the newest first; None if they couldn't be read.
        next: What comes next, in sentences.
        remedy: Who can fix what keeps it from being ready, if somebody must.
    """

    kind: str
    namespace: str
    name: str
    ready: ConditionState | None
    client_id: str | None
    secret: str | None
    keys: tuple[KeyState, ...]
    consumed: tuple[ConsumedState, ...]
    exposed: tuple[ExposedState, ...]
    conditions: tuple[ConditionState, ...]
    events: tuple[Happening, ...] | None
    next: tuple[str, ...]
    remedy: str | None


def build_overview(body: Mapping[str, Any], around: Surroundings, now: datetime) -> Overview:
    """Build what is told of an Application or a MaskinportenClient; never raises for anything that it says."""
    is_application = body["kind"] == APPLICATION.name
    resource = parse_application(body) if is_application else parse(body)
    meta, status = resource.meta, resource.status
    conditions = [_build_condition(one) for one in status.conditions if one.type]
    ready = next((one for one in conditions if one.type == READY), None)
    return Overview(
        kind=meta.kind.name,
        namespace=meta.namespace,
        name=meta.name,
        ready=ready,
        client_id=status.client_id,
        secret=status.secret_name,
        keys=() if is_application else _build_keys(status, around, now),
        consumed=() if is_application else _build_consumed(body, status),
        exposed=_build_exposed(status),
        conditions=tuple(one for one in conditions if one.type not in {READY, *ABNORMAL_TYPES}),
        events=None if around.events is None else _choose_events(around.events),
        next=tuple(_find_next(meta, status, ready)),
        remedy=_find_remedy(ready),
    )


def _build_condition(hint: ConditionHint) -> ConditionState:
    return ConditionState(hint.type or "", hint.status, hint.reason or "", hint.message or "", parse_time(hint.since))


def _build_keys(status: StatusHint, around: Surroundings, now: datetime) -> tuple[KeyState, ...]:
    """Build the registered keys, the newest first, as far as the status and the Secret's annotation tell their age."""
    current = status.key_id or ""
    deliveries = dict(around.deliveries or {})
    since = deliveries | ({current: moment} if (moment := parse_time(status.key_created)) else {})
    kids = sorted(status.key_ids, key=lambda kid: (kid == current, since[kid].timestamp() if kid in since else 0.0))
    holders = None
    if around.uses is not None:
        holders = find_holders(around.uses, [PublicJwk({"kid": kid}) for kid in kids], deliveries, now)
    return tuple(
        KeyState(kid, since.get(kid), kid == current, None if holders is None else holders.get(kid, ()))
        for kid in reversed(kids)
    )


def _build_consumed(body: Mapping[str, Any], status: StatusHint) -> tuple[ConsumedState, ...]:
    spec = parse(body).spec
    if isinstance(spec, InvalidSpec):
        return ()
    return tuple(ConsumedState(name, name in status.registered_scopes) for name in spec.consumed_scopes)


def _build_exposed(status: StatusHint) -> tuple[ExposedState, ...]:
    return tuple(ExposedState(one.name or "", one.state or "", one.consumers) for one in status.exposed_scopes)


def _choose_events(events: Iterable[Mapping[str, Any]]) -> tuple[Happening, ...]:
    found = [
        Happening(
            parse_time(one.get("lastTimestamp") or one.get("eventTime")),
            str(one.get("reason") or ""),
            str(one.get("message") or one.get("note") or ""),
            n if isinstance(n := one.get("count"), int) else 1,
        )
        for one in events
    ]
    found.sort(key=lambda one: one.last.timestamp() if one.last else 0.0, reverse=True)
    return tuple(found[:MAX_EVENTS])


def _find_next(meta: ObjectMeta, status: StatusHint, ready: ConditionState | None) -> Iterable[str]:
    if meta.deleting:
        yield "It is being deleted"
    if ready is None or status.fields.get("observedGeneration") != meta.generation:
        yield (
            "The operator has yet to look at this version. If that takes longer than a minute, a cluster admin must "
            "see whether the operator runs and manages this kind and namespace"
        )
    elif ready.status == "Unknown":
        yield "The operator goes on by itself"
    elif ready.status == "False":
        yield "The operator looks again every ten minutes, and at each edit"
    if find_request(meta) not in {None, status.rotation_request}:
        yield "A new key is asked for"
    if due := parse_time(status.next_rotation):
        yield f"The key is replaced about {due:%Y-%m-%d}"


def _find_remedy(ready: ConditionState | None) -> str | None:
    if ready is None or ready.status == "True" or ready.reason not in set(Reason):
        return None
    return REMEDIES.get(Reason(ready.reason))


def parse_time(text: Any) -> datetime | None:
    """Read a time as Kubernetes writes it; None for what is none."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
