"""What `token` tells: of a token what is in it, of a refusal what it means and who can fix it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import READY, SCOPES_GRANTED, Reason
from maskinporten_operator.model.tokens import find_organisation
from maskinporten_operator.plan.exposed_scopes import show
from maskinporten_operator.plan.findings import CheckState
from maskinporten_operator.plan.remedies import REMEDIES
from maskinporten_operator.plan.secret import CLIENT_ID, CLIENT_JWK, VALUES
from maskinporten_operator.plan.verification import find_named, show_owners

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.registrations import AuthorizationServer
    from maskinporten_operator.model.status_hint import StatusHint
    from maskinporten_operator.model.tokens import TokenAnswer, TokenRequest
    from maskinporten_operator.plan.findings import Check
    from maskinporten_operator.plan.secret import ObservedSecret

SPREAD = "Time: Maskinporten knows what was registered after two minutes at most"
RESYNC = (
    "You: annotate the MaskinportenClient with digdir.nais.io/resync=true, which has the registration compared anew, "
    "and see what its condition Ready says then"
)
ROTATE = "You: annotate the MaskinportenClient with digdir.nais.io/rotate=true, for a new key"
ADMIN = "A cluster admin, if it stays so"


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose credentials are tried: a MaskinportenClient, and what its Secret holds.

    Attributes:
        delivered: The scopes that the Secret names.
    """

    namespace: str
    name: str
    secret: str
    status: StatusHint
    server: AuthorizationServer
    delivered: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no token: what Maskinporten said, what that means, and who can fix it."""

    error: str
    code: str
    words: str
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class TokenReport:
    """What is told of one request. Nothing in it is secret: the token itself is kept apart.

    Attributes:
        asked: The scopes that were asked for.
        scopes: Those that the token has.
        organisation: The number of the organisation that the token is of, its consumer.
        claims: All claims of the token.
        clock: How far this machine's clock is off, if that may matter.
    """

    namespace: str
    name: str
    secret: str
    client_id: str
    key_id: str
    issuer: str
    token_endpoint: str
    asked: tuple[str, ...]
    resource: tuple[str, ...]
    consumer: str | None
    issued: bool
    scopes: tuple[str, ...]
    organisation: str | None
    expires: datetime | None
    claims: Mapping[str, Any]
    refusal: Refusal | None
    clock: str | None


def build_report(
    holder: Holder, request: TokenRequest, answer: TokenAnswer, claims: Mapping[str, Any], clock: Check | None
) -> TokenReport:
    """Build what is told of an answer; `claims` are empty if there is no token."""
    scope = claims.get("scope")
    is_off = clock is not None and clock.state != CheckState.PASSED
    return TokenReport(
        namespace=holder.namespace,
        name=holder.name,
        secret=holder.secret,
        client_id=request.client_id,
        key_id=request.key.kid,
        issuer=holder.server.issuer,
        token_endpoint=holder.server.token_endpoint,
        asked=request.scopes,
        resource=request.resource,
        consumer=request.consumer,
        issued=answer.outcome == "Issued",
        scopes=tuple(scope.split()) if isinstance(scope, str) else (),
        organisation=find_organisation(claims, "consumer"),
        expires=_read_instant(claims.get("exp")),
        claims=claims,
        refusal=None if answer.outcome == "Issued" else explain_refusal(holder, request, answer),
        clock=clock.message if clock and is_off else None,
    )


def _read_instant(seconds: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


class Topic(Enum):
    """What a refusal is about."""

    CLIENT = auto()
    KEY = auto()
    KEY_ENDED = auto()
    SIGNATURE = auto()
    AUDIENCE = auto()
    REPEATED = auto()
    CLOCK = auto()
    NOT_REGISTERED = auto()
    NOT_USABLE = auto()
    NOT_GRANTED = auto()
    NOT_DELEGATED = auto()
    TARGET = auto()
    OTHER = auto()


CODES = {
    "MP-012": Topic.REPEATED,
    "MP-100": Topic.CLIENT,
    "MP-110": Topic.AUDIENCE,
    "MP-121": Topic.KEY_ENDED,
    "MP-124": Topic.SIGNATURE,
    "MP-130": Topic.CLOCK,
    "MP-200": Topic.NOT_REGISTERED,
    "MP-201": Topic.NOT_USABLE,
    "MP-250": Topic.NOT_GRANTED,
    "MP-251": Topic.NOT_DELEGATED,
}
"""By Maskinporten's own code (DigDir's documentation of its errors)."""
WORDS = {"Unknown key identifier": Topic.KEY, "Issue time": Topic.CLOCK}
"""Of refusals that have no code, by how what Maskinporten says goes."""
ERRORS = {
    "forbidden": Topic.NOT_GRANTED,
    "invalid_scope": Topic.NOT_REGISTERED,
    "invalid_target": Topic.TARGET,
    "invalid_client": Topic.CLIENT,
}
"""Else by OAuth's `error` (RFC 6749 §5.2, RFC 8707 §2)."""


def find_topic(answer: TokenAnswer) -> Topic:
    """Find what a refusal is about."""
    by_words = (topic for words, topic in WORDS.items() if words in answer.words)
    return CODES.get(answer.code) or next(by_words, None) or ERRORS.get(answer.error, Topic.OTHER)


def explain_refusal(holder: Holder, request: TokenRequest, answer: TokenAnswer) -> Refusal:
    """Say what a refusal means, and who can fix it."""
    topic = find_topic(answer)
    if topic is Topic.NOT_REGISTERED:
        meaning, remedy = _explain_not_registered(holder, request, answer)
    elif topic is Topic.KEY:
        meaning, remedy = _explain_key(holder, request)
    else:
        meaning, remedy = _explain(topic, holder, request, answer)
    return Refusal(answer.error, answer.code, answer.words, meaning, remedy)


def _explain(topic: Topic, holder: Holder, request: TokenRequest, answer: TokenAnswer) -> tuple[str, str]:
    kid, named = request.key.kid, find_named(answer.words, request.scopes)
    scopes = show(named)
    return {
        Topic.CLIENT: (f"Maskinporten knows no active client {request.client_id}", f"{SPREAD}. {RESYNC}"),
        Topic.KEY_ENDED: (f"The time of key {kid} has ended at DigDir", ROTATE),
        Topic.SIGNATURE: (f"Another key than that of Secret {holder.secret} is registered as {kid}", RESYNC),
        Topic.AUDIENCE: (
            f"Maskinporten isn't the issuer that Secret {holder.secret} names: {holder.server.issuer}",
            "Time, if somebody edited the Secret: it is put back. Else a cluster admin: MASKINPORTEN_WELL_KNOWN_URL",
        ),
        Topic.REPEATED: (
            "The request reached Maskinporten twice",
            "You: try again. Whoever runs the proxy between here and Maskinporten, if it stays so",
        ),
        Topic.CLOCK: (
            "By Maskinporten's clock the request was made too early or too late",
            "Whoever runs this machine: its clock (NTP). A workload has that of its node",
        ),
        Topic.NOT_USABLE: (
            f"Inactive, or not for clients of Maskinporten: {scopes}",
            f"Whoever owns {show_owners(named)} must activate it, and allow the integration type maskinporten",
        ),
        Topic.NOT_GRANTED: (
            f"Access isn't granted to the organisation: {scopes}",
            f"Whoever owns {show_owners(named)} must grant access, which may take minutes to arrive",
        ),
        Topic.NOT_DELEGATED: (
            f"Not delegated by organisation {request.consumer}: {scopes}",
            "That organisation: delegate it to the client's organisation, at the scope's delegation source",
        ),
        Topic.TARGET: (
            f"Maskinporten takes no token for {show(request.resource)}",
            "You: write the resource as the API's owner says",
        ),
    }.get(topic, ("Maskinporten gives no token with these credentials", ADMIN))


def _explain_not_registered(holder: Holder, request: TokenRequest, answer: TokenAnswer) -> tuple[str, str]:
    """Tell a scope that the client lacks from one that Maskinporten doesn't know of yet."""
    named = find_named(answer.words, request.scopes)
    lacking = [scope for scope in named if scope not in holder.delivered]
    if not lacking:
        return f"Registered, and not known to Maskinporten so far: {show(named)}", f"{SPREAD}. {RESYNC}"
    remedy = "You: add it to the consumed scopes of the spec, or ask for what MASKINPORTEN_SCOPES names only"
    condition = holder.status.find_condition(SCOPES_GRANTED)
    if condition and condition.message and any(scope in condition.message for scope in lacking):
        remedy = f"{REMEDIES[Reason.SCOPES_NOT_GRANTED]}. ScopesGranted says: {condition.message}"
    return f"Not registered on the client: {show(lacking)}", remedy


def _explain_key(holder: Holder, request: TokenRequest) -> tuple[str, str]:
    kid = request.key.kid
    if kid in holder.status.key_ids:
        return f"Key {kid} is registered, and not known to Maskinporten so far", f"{SPREAD}. {RESYNC}"
    return f"Key {kid} isn't registered on client {request.client_id}, as far as the status tells", RESYNC


# Why nothing can be asked for


def check_secret_values(secret: ObservedSecret) -> str | None:
    """Say which values a Secret lacks without which no token can be asked for, or None."""
    lacking = [CLIENT_ID] if secret.client_id is None else []
    lacking += [CLIENT_JWK] if secret.jwk is None else []
    lacking += list(VALUES[1:]) if secret.server is None else []
    if not lacking:
        return None
    return (
        f"Secret {secret.name} has no usable {', '.join(lacking)}. The operator puts back what is its own: if it stays "
        "so, it doesn't run, or the Secret isn't its own"
    )


def describe_ready(status: StatusHint) -> str:
    """Say in a sentence how a MaskinportenClient is, and who can fix it."""
    ready = status.find_condition(READY)
    if ready is None:
        return "The operator hasn't looked at the MaskinportenClient yet"
    remedy = REMEDIES.get(Reason(ready.reason)) if ready.reason in set(Reason) else None
    said = f"Ready is {ready.status}, {ready.reason}: {ready.message}"
    return f"{said}. → {remedy}" if remedy and ready.status != "True" else said
