"""Errors by what happens next. Parts translate every outside error into one of these; nothing else leaves them.

Messages are written for the reader of a condition: what is wrong, where, and who can mend it. They hold no secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from maskinporten_operator.model.blockers import Blocker, BlockerKind

if TYPE_CHECKING:
    from maskinporten_operator.model.conditions import Reason


class OperatorError(Exception):
    """A pass can't go on. `reason` is the word for condition, event and log; `str()` is the message."""

    kind: ClassVar[BlockerKind]
    retry_after = 0.0

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def blocker(self) -> Blocker:
        """What it keeps from being done, as a value."""
        return Blocker(self.kind, self.reason, str(self), self.retry_after)


class TransientError(OperatorError):
    """A fault that goes by: tried again with backoff."""

    kind: ClassVar[BlockerKind] = "Transient"


class OutcomeUnknownError(TransientError):
    """A write that may have happened: the answer was lost. It is looked for before it is repeated."""


class WaitingError(OperatorError):
    """Nothing is wrong that trying sooner would help: tried again after `retry_after` seconds."""

    kind = "Waiting"

    def __init__(self, reason: Reason, message: str, retry_after: float) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class RejectedError(OperatorError):
    """Only an edit of the spec, or of somebody's rights, helps: looked at again slowly."""

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
    """The resource or its namespace is going away: the pass ends quietly."""

    kind = "Terminating"


class StandbyError(OperatorError):
    """A write was held back, since another process may lead by now: the pass ends quietly, and is made again later."""

    kind = "Standby"


class ConflictError(TransientError):
    """The object changed, or is another one, since it was read: the pass ends quietly, and is made again at once.

    One that comes again in each of several passes is a fault like others.
    """

    kind = "Conflict"
