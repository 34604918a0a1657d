"""What a plan consists of: small frozen values, executed in the order of their list.

The order is what makes a crash after any step repairable by the next pass, and each step is safe to repeat:

1. `MarkIntent` before the first remote write, so that a registration whose answer was lost is looked for.
2. `RegisterClient` or `UpdateRegistration`: found again by its description.
3. `PublishKeys` before the Secret: a workload never holds a key that Maskinporten doesn't know. A key whose Secret
   was never written is an orphan that the grace time removes.
4. `WriteSecret`.
5. `ClearAnnotations` last: a request counts as done only when its effect can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.conditions import Verdict
    from maskinporten_operator.model.errors import OperatorError
    from maskinporten_operator.model.keys import PublicJwk


@dataclass(frozen=True, slots=True)
class MarkIntent:
    """Put our finalizer on the resource."""


@dataclass(frozen=True, slots=True)
class RegisterClient:
    """Create the registration with these fields."""

    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UpdateRegistration:
    """Replace the registration's fields; `reason` names what differed."""

    client_id: str
    fields: Mapping[str, Any]
    reason: str


@dataclass(frozen=True, slots=True)
class PublishKeys:
    """Make `keep`, and a new key if `mint`, the client's complete key set."""

    keep: tuple[PublicJwk, ...]
    mint: bool
    reason: str


@dataclass(frozen=True, slots=True)
class WriteSecret:
    """Write the credentials to the Secret."""

    reason: str


@dataclass(frozen=True, slots=True)
class ClearAnnotations:
    """Take requests off the resource that have been carried out."""

    names: tuple[str, ...]


Step = MarkIntent | RegisterClient | UpdateRegistration | PublishKeys | WriteSecret | ClearAnnotations
TOUCHES_REGISTRATION = (UpdateRegistration, PublishKeys)


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order, then `hold` if something keeps the resource from being ready.

    Attributes:
        steps: What to do.
        hold: Why the resource isn't ready when the steps are done; None when it is.
        notices: Further conditions.
        next_look: Seconds until a pass has something to do by itself; None when only the resync does.
    """

    steps: tuple[Step, ...] = ()
    hold: OperatorError | None = None
    notices: tuple[Verdict, ...] = ()
    next_look: float | None = None
