"""Carries out a plan, step by step, in the order that `plan.decisions` explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskinporten_operator.model.errors import RejectedError
from maskinporten_operator.model.keys import PrivateJwk, build_kid
from maskinporten_operator.model.maskinportenclient import parse
from maskinporten_operator.model.resources import SECRET
from maskinporten_operator.plan.decisions import (
    ClearAnnotations,
    MarkIntent,
    Plan,
    PublishKeys,
    RegisterClient,
    UpdateRegistration,
    WriteSecret,
)
from maskinporten_operator.plan.registration import order_scopes
from maskinporten_operator.plan.secret import build_fingerprint, build_secret

if TYPE_CHECKING:
    from maskinporten_operator.model.registrations import Registration
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.maskinportenclient import Snapshot
    from maskinporten_operator.plan.outcomes import ClientProgress
    from maskinporten_operator.reconcile.ports import Ports


async def execute(plan: Plan, seen: Snapshot, progress: ClientProgress, ports: Ports) -> None:
    """Do what the plan says, noting each effect in `progress`.

    A refused update doesn't keep the credentials from being repaired: it is raised when the other steps are done.
    """
    refusal: RejectedError | None = None
    jwk = seen.secret.jwk if seen.secret else None
    if jwk and jwk == ports.memory.pending_key(seen.resource.meta.uid):
        ports.memory.record_delivery(seen.resource.meta.uid)  # it was written, and the answer to that was lost
    progress.registration = seen.registration
    for step in plan.steps:
        match step:
            case MarkIntent():
                progress.resource = parse(await ports.cluster.add_finalizer(progress.resource.meta))
                progress.wrote = True
            case RegisterClient():
                progress.registration = await ports.registry.register(step.fields)
                progress.actions.append(f"registered client {progress.registration.client_id}")
            case UpdateRegistration():
                assert progress.registration
                try:
                    progress.registration = await ports.registry.update(progress.registration, step.fields)
                    progress.actions.append(f"updated client {step.client_id} ({step.reason})")
                except RejectedError as error:
                    refusal = error
            case PublishKeys():
                jwk = await _publish(step, jwk, progress, ports)
            case WriteSecret():
                await _write_secret(step, seen, jwk, progress, ports)
            case ClearAnnotations():
                progress.resource = parse(await ports.cluster.clear_annotations(progress.resource.meta, step.names))
                progress.wrote = True
    if progress.registration and jwk:
        progress.secret_name = seen.spec.secret_name
        progress.fingerprint = _tell_secret(plan, seen, progress.registration, jwk)
    if refusal:
        raise refusal


def _tell_secret(plan: Plan, seen: Snapshot, registration: Registration, jwk: PrivateJwk) -> str | None:
    """Tell what is in the Secret; None while a plan is held, since it may lag behind the registration then."""
    scopes = order_scopes(registration.scopes, seen.spec.consumed_scopes)
    return None if plan.hold else build_fingerprint(registration.client_id, jwk.kid, scopes, seen.server)


async def _publish(
    step: PublishKeys, held: PrivateJwk | None, progress: ClientProgress, ports: Ports
) -> PrivateJwk | None:
    assert progress.registration
    keys = list(step.keep)
    if step.mint:
        held = await _mint(progress.resource.meta, ports)
        # Left over from a pass that failed after it was published; it must not be in the set twice.
        keys = [held.public(), *(key for key in keys if key.kid != held.kid)]
    progress.registration = await ports.registry.publish_keys(progress.registration, keys)
    what = f"published key {held.kid}" if step.mint and held else "published the keys anew"
    progress.actions.append(f"{what} ({step.reason})")
    return held


async def _mint(meta: ObjectMeta, ports: Ports) -> PrivateJwk:
    if pending := ports.memory.pending_key(meta.uid):
        return pending
    jwk = PrivateJwk(build_kid(meta.uid, ports.random.hex(16)), await ports.mint.take())
    ports.memory.record_mint(meta.uid, jwk, ports.clock.monotonic())
    return jwk


async def _write_secret(
    step: WriteSecret, seen: Snapshot, jwk: PrivateJwk | None, progress: ClientProgress, ports: Ports
) -> None:
    assert progress.registration
    assert jwk
    manifest = build_secret(
        progress.resource.meta,
        seen.spec.secret_name,
        client_id=progress.registration.client_id,
        jwk=jwk,
        scopes=order_scopes(progress.registration.scopes, seen.spec.consumed_scopes),
        server=seen.server,
    )
    await ports.cluster.apply(SECRET, manifest, seen.secret.uid if seen.secret else None)
    ports.memory.record_delivery(progress.resource.meta.uid)
    progress.actions.append(f"wrote Secret {seen.spec.secret_name} ({step.reason})")
