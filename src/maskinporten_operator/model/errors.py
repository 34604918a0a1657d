"""Errors by what happens next. Parts translate every outside error into one of these; nothing else leaves them.

Messages are written for the reader of a condition: what is wrong, where, and who can fix it. They hold no secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from maskinporten_operator.model.blockers import Blocker, BlockerKind

if TYPE_CHECKING:
    from maskinporten_operator.model.conditions import Reason


class OperatorError(Exception):
    """Ends a pass. `reason` is that of the condition, Event and log; `str()` is the message."""

    kind: ClassVar[BlockerKind]
    retry_after = 0.0

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def blocker(self) -> Blocker:
        """The error as a value."""
        return Blocker(self.kind, self.reason, str(self), self.retry_after)


class TransientError(OperatorError):
    """A temporary fault: retried with backoff."""

    kind: ClassVar[BlockerKind] = "Transient"


class OutcomeUnknownError(TransientError):
    """A write that may have been carried out, since its answer was lost. Its effect is looked for before a retry."""


class WaitingError(OperatorError):
    """Something has to be waited for: retried after `retry_after` seconds."""

    kind = "Waiting"

    def __init__(self, reason: Reason, message: str, retry_after: float) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class ForbiddenError(WaitingError):
    """The API server forbids it (HTTP 403): for want of a right or quota, or while a control plane is upgraded."""


class RejectedError(OperatorError):
    """Only a change of the spec or of rights helps: rechecked every ten minutes."""

    kind = "Rejected"


class BadRequestError(RejectedError):
    """What was sent is wrong in itself (HTTP 400): of an access, the consumer; of a client, perhaps a scope.

    `words` is what DigDir said, as it said it.
    """

    def __init__(self, reason: Reason, message: str, words: str = "") -> None:
        super().__init__(reason, message)
        self.words = words or message


class AlreadyExistsError(RejectedError):
    """There is one of that name already (HTTP 409)."""


class TerminatingError(OperatorError):
    """The resource or its namespace is being deleted: the pass ends without a report."""

    kind = "Terminating"


class StandbyError(OperatorError):
    """A write wasn't sent, since another process may lead: the pass ends without a report and is repeated later."""

    kind = "Standby"


class ConflictError(TransientError):
    """The object changed since it was read: the pass ends without a report and is repeated at once.

    The fifth in a row is reported, and retried with backoff.
    """

    kind = "Conflict"
