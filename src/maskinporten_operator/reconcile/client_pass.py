"""One pass over one MaskinportenClient."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.blockers import Blocker, rejected
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.maskinportenclient import parse
from maskinporten_operator.model.resources import InvalidSpec
from maskinporten_operator.plan.client_plan import (
    has_more_to_try,
    judge_maskinportenclient,
    needs_secret,
    plan_maskinportenclient,
)
from maskinporten_operator.plan.consumed_scopes import MAX_TRIES, TRIES_RECHECK_SECONDS, check_forbidden
from maskinporten_operator.plan.exposed_scopes import build_scope_status
from maskinporten_operator.plan.outcomes import DONE, Outcome, continue_next_pass, not_ready, not_selected, synchronized
from maskinporten_operator.plan.registration_fields import check_description
from maskinporten_operator.plan.search import Found
from maskinporten_operator.reconcile.attempt import conclude
from maskinporten_operator.reconcile.credential_trials import judge_credentials
from maskinporten_operator.reconcile.execute import execute
from maskinporten_operator.reconcile.exposures import recall_exposures
from maskinporten_operator.reconcile.finalize import finalize
from maskinporten_operator.reconcile.namespace_state import find_namespace_state
from maskinporten_operator.reconcile.observe import (
    decide_age,
    find_stale,
    observe,
    observe_uses,
    read_again,
    read_recalled,
    recall_refusals,
)
from maskinporten_operator.reconcile.progress import ClientProgress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.maskinportenclient import MaskinportenClientSpec
    from maskinporten_operator.plan.client_plan import Snapshot
    from maskinporten_operator.plan.decisions import Plan
    from maskinporten_operator.reconcile.ports import Cluster, FirstSeen, Ports


async def reconcile_maskinportenclient(body: Mapping[str, Any], first_seen: FirstSeen, ports: Ports) -> Outcome:
    """Run one pass over a MaskinportenClient. Raises nothing but cancellation."""
    progress = ClientProgress(parse(body), key_max_age=ports.settings.key_max_age)
    return await conclude(_attempt(progress, first_seen, ports), progress, ports)


async def _attempt(progress: ClientProgress, first_seen: FirstSeen, ports: Ports) -> Outcome:
    namespace = await find_namespace_state(progress.resource.meta.namespace, ports.known.namespaces, ports.cluster)
    if namespace.is_ending and not await _read_again_before_its_end(progress, ports.cluster):
        return DONE
    meta, spec = progress.resource.meta, progress.resource.spec
    if meta.deleting or namespace.is_ending:
        return await finalize(progress, first_seen, namespace, ports)
    if not namespace.is_selected:
        return not_selected()
    if isinstance(spec, InvalidSpec):
        return _refuse_spec(spec.message, progress)
    return await _converge(progress, spec, first_seen, ports)


async def _converge(
    progress: ClientProgress, spec: MaskinportenClientSpec, first_seen: FirstSeen, ports: Ports
) -> Outcome:
    if forbidden := check_forbidden(spec.consumed_scopes, ports.settings):
        return _refuse_spec(forbidden, progress)
    if too_long := check_description(ports.settings.build_ownership(progress.resource.meta)):
        return not_ready(too_long)
    seen = await observe(progress, spec, first_seen, ports)
    if isinstance(seen, Blocker):
        return not_ready(seen)
    seen = decide_age(seen, ports)
    plan = plan_maskinportenclient(seen, ports.settings, ports.clock.now())
    if needs_secret(seen, plan, ports.settings):
        seen = await read_recalled(seen, progress, first_seen, ports)
        if isinstance(seen, Blocker):
            return not_ready(seen)
        plan = plan_maskinportenclient(seen, ports.settings, ports.clock.now())
    if plan.asks_for_uses:
        seen = await observe_uses(seen, ports)
        plan = plan_maskinportenclient(seen, ports.settings, ports.clock.now())
    if stale := find_stale(plan, seen):
        seen = await read_again(seen, plan, stale, ports)
        plan = plan_maskinportenclient(seen, ports.settings, ports.clock.now())
    if not plan.unfinished:
        ports.memory.end_round(seen.resource.meta.uid)
    refusal = await execute(plan, seen, progress, ports)
    return _judge(seen, plan, refusal, progress, ports)


def _refuse_spec(fault: str, progress: ClientProgress) -> Outcome:
    """Say what is wrong, and that the client stays as it is: workloads may use it."""
    client_id = progress.resource.status.client_id
    stays = f". Client {client_id} stays as it is until the spec can be used" if client_id else ""
    return not_ready(rejected(Reason.INVALID_SPEC, fault + stays))


async def _read_again_before_its_end(progress: ClientProgress, cluster: Cluster) -> bool:
    """Read a resource whose namespace is being deleted, since its annotations may be newer; False if it is gone."""
    meta = progress.resource.meta
    body = await cluster.find(meta.kind, meta.namespace, meta.name)
    if body is None or body["metadata"]["uid"] != meta.uid:
        return False
    progress.resource = parse(body)
    return True


def _judge(seen: Snapshot, plan: Plan, refusal: Blocker | None, progress: ClientProgress, ports: Ports) -> Outcome:
    exposures = recall_exposures(seen.exposures, ports.digdir.scopes)
    tries_exhausted = progress.tries >= MAX_TRIES
    others = seen.found.others if seen.found else ()
    found = Found(progress.registration, others=others) if progress.registration else None
    left = recall_refusals(replace(seen, found=found, exposures=exposures, tries_exhausted=tries_exhausted), ports)
    ownership = ports.settings.build_ownership(seen.resource.meta)
    if not (seen.unread or plan.unfinished):
        progress.exposed_scopes = build_scope_status(exposures, ownership, ports.settings)
    blocker, notices = judge_maskinportenclient(left, plan, ports.settings)
    if plan.rotation_notice:
        ports.memory.end_aging(seen.resource.meta.uid)
    if verified := judge_credentials(seen, plan, progress, ports):
        notices = (*notices, verified)
    error = refusal or blocker
    if error is None:
        return synchronized(notices, plan.next_look)
    if plan.unfinished:
        return continue_next_pass(error)
    outcome = replace(not_ready(error, notices, plan.next_look), judged=not seen.unread)
    if outcome.retry and outcome.retry.delay is not None and has_more_to_try(left, ports.settings):
        delay = min(outcome.retry.delay, TRIES_RECHECK_SECONDS)
        outcome = replace(outcome, retry=replace(outcome.retry, delay=delay, patient=True))
    return outcome
