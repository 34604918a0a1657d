"""What keeps a resource from being ready, or from being deleted, as a value that checks give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from maskinporten_operator.model.conditions import Reason

BlockerKind = Literal["Rejected", "Waiting", "Transient", "Conflict", "Terminating", "Standby"]
"""What happens next, in the words of the errors of `model/errors.py`."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """Why a pass can't do all that it is for.

    Attributes:
        reason: The word for condition, event, log and metric.
        message: For the reader of the condition: what is wrong, where, and who can fix it; holds no secrets.
        retry_after: Seconds until it is tried again, of one that waits.
    """

    kind: BlockerKind
    reason: Reason
    message: str
    retry_after: float = 0.0


def rejected(reason: Reason, message: str) -> Blocker:
    """Only an edit of the spec, or of somebody's rights, helps."""
    return Blocker("Rejected", reason, message)


def waiting(reason: Reason, message: str, retry_after: float) -> Blocker:
    """Nothing is wrong that trying within `retry_after` seconds would help."""
    return Blocker("Waiting", reason, message, retry_after)
