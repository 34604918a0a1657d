"""The status as it is written: built from an outcome, compared with what is there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import (
    ALL_FIELDS_SUPPORTED,
    AVAILABLE,
    CONSUMERS_VALID,
    MASKINPORTEN_READY,
    READY,
    RECONCILING,
    REGISTRATION_UNIQUE,
    ROTATED,
    SCOPES_DECLARED,
    SCOPES_GRANTED,
    SCOPES_UNIQUE,
    SECRET_UNIQUE,
    STALLED,
    SYNCHRONIZED,
    VERIFIED,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from maskinporten_operator.model.conditions import Verdict
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.model.status_hint import ConditionHint, StatusHint
    from maskinporten_operator.plan.outcomes import Outcome

MOVED_BY_CHANGES = frozenset({"synchronizationTime", "correlationID"})
"""Fields that move only with another change, so that a pass without news writes nothing."""
BEYOND_NAIS = frozenset({"registeredScopes", "exposedScopes", "observedGeneration", "clientID", "key"})
"""Fields that NAIS's own CRDs may not know and prune. What brings one for the first time changes a condition too."""
MAX_MESSAGE_LENGTH = 1024
ABNORMAL_TYPES = frozenset({RECONCILING, STALLED})
"""Conditions that are True or absent, whatever else a pass judged."""
OWN_TYPES = frozenset(
    {
        READY,
        SYNCHRONIZED,
        RECONCILING,
        STALLED,
        MASKINPORTEN_READY,
        AVAILABLE,
        SCOPES_GRANTED,
        CONSUMERS_VALID,
        SCOPES_DECLARED,
        SCOPES_UNIQUE,
        REGISTRATION_UNIQUE,
        SECRET_UNIQUE,
        ALL_FIELDS_SUPPORTED,
        ROTATED,
        VERIFIED,
    }
)


def build_status(
    outcome: Outcome,
    current: StatusHint,
    facts: Mapping[str, Any],
    generation: int,
    now: datetime,
    correlation_id: str,
) -> dict[str, Any]:
    """Build the complete status of the generation that was judged; of what isn't among `facts`, as it is."""
    conditions = _build_conditions(current.conditions, outcome, generation, now)
    states = {verdict.type: verdict.status for verdict in outcome.verdicts}
    return {
        **current.fields,
        "conditions": conditions,
        "observedGeneration": generation,
        "synchronizationState": build_synchronization_state(states),
        "synchronizationTime": format_time(now),
        "correlationID": correlation_id,
        **facts,
    }


def check_status(current: Mapping[str, Any], desired: Mapping[str, Any]) -> str | None:
    """Say which fields differ, or None; without those that the platform's own CRD dropped at the last write."""
    dropped = BEYOND_NAIS - current.keys() if "conditions" in current else frozenset()
    ignored = MOVED_BY_CHANGES | dropped
    names = [name for name, value in desired.items() if name not in ignored and current.get(name) != value]
    return ", ".join(names) or None


def stays_ready(outcome: Outcome, meta: ObjectMeta, current: StatusHint, *, impaired: bool) -> bool:
    """Whether a fault that isn't the resource's leaves it ready: it was at this generation, and isn't `impaired`."""
    ready = current.find_condition(READY)
    return (
        outcome.not_the_resources_fault
        and not impaired
        and not meta.deleting
        and ready is not None
        and ready.status == "True"
        and ready.is_of(meta.generation)
    )


def build_synchronization_state(states: Mapping[str, str]) -> str:
    """Build the legacy `synchronizationState` from the conditions; an Application has one that its rollout ends in."""
    if SYNCHRONIZED in states and states[READY] == "True":
        return "RolloutComplete"
    state = states.get(SYNCHRONIZED, states[READY])
    return {"True": "Synchronized", "False": "FailedSynchronization"}.get(state, "Retrying")


def add_synchronized(verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    """Add `Synchronized` to an Application's verdicts, if the pass failed before it was judged: `Ready` says why."""
    if not verdicts or any(one.type == SYNCHRONIZED for one in verdicts):
        return verdicts
    return (verdicts[0], replace(verdicts[0], type=SYNCHRONIZED), *verdicts[1:])


def format_time(moment: datetime) -> str:
    """Format a time in UTC as Kubernetes does, so that an unchanged time isn't a change."""
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _build_conditions(
    current: Sequence[ConditionHint], outcome: Outcome, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Ours first, `Ready` before all, then those of types that this operator never sets.

    A pass that failed before it judged anything else leaves our other conditions as they are.
    """
    verdicts = (*outcome.verdicts, *_find_abnormal(outcome.verdicts[0]))
    given_up = OWN_TYPES if outcome.judged else {verdict.type for verdict in verdicts} | ABNORMAL_TYPES
    before = {one.type: one for one in current}
    ours = [
        {
            "type": verdict.type,
            "status": verdict.status,
            "reason": str(verdict.reason),
            "message": verdict.message[:MAX_MESSAGE_LENGTH],
            "observedGeneration": generation,
            "lastTransitionTime": _transition_time(before.get(verdict.type), verdict.status) or format_time(now),
        }
        for verdict in verdicts
    ]
    return ours + [dict(one.fields) for one in current if one.type not in given_up]


def _find_abnormal(ready: Verdict) -> tuple[Verdict, ...]:
    """Find what kstatus looks at, which waits while `Reconciling` is True and gives up at `Stalled`.

    `Ready` alone has it wait in either case. By our rule False asks somebody to act, and Unknown takes time.
    """
    kind = {"Unknown": RECONCILING, "False": STALLED}.get(ready.status)
    return (replace(ready, type=kind, status="True"),) if kind else ()


def _transition_time(before: ConditionHint | None, status: str) -> str | None:
    return before.since if before and before.status == status else None
