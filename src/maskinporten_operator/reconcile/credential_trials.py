"""Has credentials tried at Maskinporten, and gives what is known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskinporten_operator.model.conditions import VERIFIED
from maskinporten_operator.model.jwk import PrivateJwk
from maskinporten_operator.model.tokens import TokenAnswer, TokenRequest, Trial
from maskinporten_operator.plan.registration_fields import order_scopes
from maskinporten_operator.plan.secret import build_fingerprint
from maskinporten_operator.plan.verification import PendingKey, find_wait, judge_pending, judge_verified

if TYPE_CHECKING:
    from maskinporten_operator.model.conditions import Verdict
    from maskinporten_operator.model.maskinportenclient import MaskinportenClientSpec
    from maskinporten_operator.model.registrations import AuthorizationServer, Registration
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.client_plan import Snapshot
    from maskinporten_operator.plan.decisions import Plan
    from maskinporten_operator.reconcile.ports import Ports
    from maskinporten_operator.reconcile.progress import ClientProgress

VERIFIED_BEFORE = Trial(TokenAnswer("Issued"), is_over=True)
"""What the status tells of these very credentials."""


def find_pending(
    meta: ObjectMeta,
    spec: MaskinportenClientSpec,
    registration: Registration | None,
    server: AuthorizationServer,
    ports: Ports,
) -> PendingKey | None:
    """Find the key that hasn't reached the Secret, and how long it waits for what Maskinporten says of it."""
    key, published_at = ports.memory.pending_key(meta.uid), ports.memory.published_at(meta.uid)
    if key is None:
        return None
    if registration is None or published_at is None or not ports.settings.verifies:
        return PendingKey(key.kid)
    trial = _try(meta, spec, registration, key, server, ports)
    return PendingKey(key.kid, find_wait(ports.clock.monotonic() - published_at, trial))


def begin_trial(seen: Snapshot, registration: Registration, key: PrivateJwk, ports: Ports, *, waits: bool) -> None:
    """Have a key tried that was published just now.

    It either `waits` for that, or is delivered meanwhile: an answer that comes before the status is written needs no
    second write.
    """
    meta = seen.resource.meta
    if waits:
        ports.memory.record_publication(meta.uid, ports.clock.monotonic())
    _try(meta, seen.spec, registration, key, seen.server, ports)


def judge_credentials(seen: Snapshot, plan: Plan, progress: ClientProgress, ports: Ports) -> Verdict | None:
    """Say whether what the Secret holds is known to work, at the end of a pass; None if nobody asks for that."""
    registration, key, status = progress.registration, progress.key, seen.resource.status
    if not ports.settings.verifies or registration is None or key is None or progress.fingerprint is None:
        return None
    if plan.key_waits:
        return judge_pending()
    known = status.find_condition(VERIFIED)
    if known and known.status == "True" and status.fingerprint == progress.fingerprint:
        trial: Trial | None = VERIFIED_BEFORE
    else:
        assert isinstance(key, PrivateJwk)  # a summary of the Secret is for credentials that are known to work
        trial = _try(seen.resource.meta, seen.spec, registration, key, seen.server, ports)
    return judge_verified(trial, order_scopes(registration.scopes, seen.spec.consumed_scopes))


def _try(
    meta: ObjectMeta,
    spec: MaskinportenClientSpec,
    registration: Registration,
    key: PrivateJwk,
    server: AuthorizationServer,
    ports: Ports,
) -> Trial | None:
    """Have credentials tried, unless there is no scope to ask for."""
    scopes = order_scopes(registration.scopes, spec.consumed_scopes)
    if not scopes:
        return None
    subject = build_fingerprint(registration.client_id, key.kid, scopes, server)
    return ports.digdir.verifier.verify(meta, subject, TokenRequest(registration.client_id, key, scopes))
