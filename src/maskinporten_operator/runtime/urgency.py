"""How urgent a pass over a resource is, by what the resource looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import READY
from maskinporten_operator.model.status_hint import read_status
from maskinporten_operator.runtime.queue import Priority

if TYPE_CHECKING:
    from collections.abc import Mapping

    Body = Mapping[str, Any]


def find_urgency(body: Body) -> Priority:
    """Say how urgent a change of a resource is."""
    return Priority.REPAIR if body["metadata"].get("deletionTimestamp") else Priority.CHANGE


def find_urgency_of_listed(body: Body) -> Priority:
    """Say how urgent a resource is that may be as it was, as at a start: one that was ready comes last.

    The status is a hint: whoever may write it delays their own resource.
    """
    metadata, ready = body["metadata"], read_status(body).find_condition(READY)
    was_ready = ready is not None and ready.status == "True" and ready.is_of(metadata.get("generation"))
    is_settled = was_ready and not metadata.get("deletionTimestamp")
    return Priority.RESYNC if is_settled else find_urgency(body)
