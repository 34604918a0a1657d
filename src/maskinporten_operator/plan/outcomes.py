"""How a pass ended: the one table from blockers to conditions, log levels and delays."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from maskinporten_operator.model.conditions import READY, Reason, Status, Verdict

if TYPE_CHECKING:
    from maskinporten_operator.model.blockers import Blocker

REJECTED_RECHECK_SECONDS = 600.0
"""Rights and grants change without a watch event."""
MAX_CONFLICTS = 5
"""Passes in a row that may end in a conflict before it is reported."""
UNRELATED_REASONS = frozenset({Reason.RATE_LIMITED, Reason.CLUSTER_UNAVAILABLE, Reason.SCOPES_PENDING})
"""Reasons to wait that don't concern the resource itself."""
STANDBY_RECHECK_SECONDS = 5.0
"""For a process that may have lost the leadership."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When the next pass follows: after `delay` seconds, with backoff if None; `failed` says that something went wrong.

    With `at_once` the first in a row with backoff doesn't wait; with `patient` it has the resync's priority.
    """

    delay: float | None
    failed: bool
    at_once: bool = False
    patient: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended.

    Attributes:
        verdicts: The conditions, Ready first; empty when nothing is to be reported.
        retry: When the next pass follows; None if only an event or the resync triggers it.
        level: Log level.
        not_the_resources_fault: Whether a resource that was ready at this generation stays so.
        judged: Whether every condition was judged, and not Ready alone.
        acted: Whether the pass wrote anything.
        unfinished: Whether this pass left work to the next.
        silent: How a pass without a report is counted.
        lasting: How it ends instead when `MAX_CONFLICTS` passes in a row, this one included, ended in a conflict.
    """

    verdicts: tuple[Verdict, ...]
    retry: Retry | None
    level: int
    not_the_resources_fault: bool = False
    judged: bool = True
    acted: bool = False
    unfinished: bool = False
    silent: Literal["Done", "Waiting", "Standby", "Conflict"] = "Done"
    lasting: Outcome | None = None


DONE = Outcome((), None, logging.INFO)
"""The resource is finalized: there is nothing to report on."""


def not_selected() -> Outcome:
    """Build the outcome for a resource in a namespace that isn't selected; a watch event triggers the next pass."""
    message = (
        "This namespace isn't managed by the operator: a cluster admin can give it the label that selects it, or "
        "move the resource. What exists already is left as it is"
    )
    ready = Verdict(READY, "False", Reason.NAMESPACE_NOT_SELECTED, message)
    return Outcome((ready,), None, logging.INFO, judged=False)


def deletion_blocked(blocker: Blocker) -> Outcome:
    """Build the outcome for a deletion that has to wait."""
    return _deletion_blocked(not_ready(blocker))


def continue_deletion(blocker: Blocker) -> Outcome:
    """Build the outcome of a pass that left a part of the deletion to the next."""
    return _deletion_blocked(continue_next_pass(blocker))


def _deletion_blocked(outcome: Outcome) -> Outcome:
    verdicts = tuple(replace(one, message=f"The deletion waits: {one.message}") for one in outcome.verdicts)
    return replace(outcome, verdicts=verdicts, lasting=outcome.lasting and _deletion_blocked(outcome.lasting))


def synchronized(notices: tuple[Verdict, ...], next_look: float | None) -> Outcome:
    """Build the outcome of a resource that is as desired; it is rechecked after `next_look` seconds."""
    ready = Verdict(
        READY, "True", Reason.SYNCHRONIZED, "The client is registered and its credentials are in the Secret"
    )
    retry = Retry(next_look, failed=False) if next_look is not None else None
    return Outcome((ready, *notices), retry, logging.INFO)


def not_ready(blocker: Blocker, notices: tuple[Verdict, ...] | None = None, next_look: float | None = None) -> Outcome:
    """Build the outcome for a resource that isn't ready; `notices` is None if no other condition was judged.

    A rejection is rechecked after `next_look` seconds, if that is sooner than usual.
    """
    status: Status
    match blocker.kind:
        case "Terminating":
            return Outcome((), None, logging.DEBUG)
        case "Standby":
            return Outcome((), Retry(STANDBY_RECHECK_SECONDS, failed=False), logging.DEBUG, silent="Standby")
        case "Conflict":  # somebody else wrote meanwhile, which happens every day: the next pass sees it
            retry = Retry(None, failed=False, at_once=True)
            return Outcome((), retry, logging.DEBUG, silent="Conflict", lasting=_back_off(blocker, notices))
        case "Transient":
            return replace(_back_off(blocker, notices), not_the_resources_fault=True)
        case "Waiting":
            status, retry, level = "Unknown", Retry(blocker.retry_after, failed=False), logging.INFO
        case "Rejected":
            status, level = "False", logging.WARNING
            retry = Retry(min(next_look or REJECTED_RECHECK_SECONDS, REJECTED_RECHECK_SECONDS), failed=True)
    is_unrelated = blocker.kind == "Waiting" and blocker.reason in UNRELATED_REASONS
    ready = Verdict(READY, status, blocker.reason, blocker.message)
    return Outcome(
        (ready, *(notices or ())), retry, level, not_the_resources_fault=is_unrelated, judged=notices is not None
    )


def continue_next_pass(blocker: Blocker) -> Outcome:
    """Build the outcome of a pass that left work to the next, which follows at once with low priority.

    It isn't counted as one that changed something, or the queue would take it for one of two that undo each other.
    """
    return replace(not_ready(blocker), retry=Retry(0.0, failed=False, patient=True), unfinished=True)


def _back_off(blocker: Blocker, notices: tuple[Verdict, ...] | None) -> Outcome:
    ready = Verdict(READY, "Unknown", blocker.reason, blocker.message)
    retry = Retry(None, failed=True)
    return Outcome((ready, *(notices or ())), retry, logging.WARNING, judged=notices is not None)
