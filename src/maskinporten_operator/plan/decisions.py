"""What a plan consists of: small frozen values, executed in the order of their list.

The order is what makes a crash after any step repairable by the next pass, and each step is safe to repeat:

1. `AdoptSecret`, since the garbage collector may be about to delete what has no owner that exists. Then `AddFinalizer`
   before the first remote write, so that a registration whose answer was lost is looked for.
2. `RegisterClient` or `UpdateRegistration`: found again by its description.
3. `PublishKeys` before the Secret: a workload never holds a key that Maskinporten doesn't know. A key whose Secret
   was never written is an orphan that the grace time removes.
4. `WriteSecret`.
5. The scopes: `RevokeAccess` before a scope is activated again, then `CreateScope` or `UpdateScope`, then
   `GrantAccess`. A scope is found again by its name, an access by the scope's list.
6. `TryScopes`: a refusal changes nothing, and what is accepted is written to the Secret at once.
7. `ClearAnnotations` last: a request counts as done only when its effect can be read.

A deletion for good goes the other way, and its steps are found again as above: `RevokeAccess` and `DeactivateScope` of
each scope, `DeleteKeys` and `DeleteClient` of each client, `RemoveFinalizers` last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.blockers import Blocker
    from maskinporten_operator.model.conditions import Verdict
    from maskinporten_operator.model.jwk import PublicJwk


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Put our finalizer on the resource."""


@dataclass(frozen=True, slots=True)
class AdoptSecret:
    """Become the owner of the Secret that was read, which has none and proved to be the resource's."""


@dataclass(frozen=True, slots=True)
class RegisterClient:
    """Create the registration.

    Attributes:
        fields: What is sent.
        fallbacks: Scopes to send instead, one after the other, while DigDir refuses.
        tentative: Whether it is merely tried: that DigDir refuses all of it is no fault.
    """

    fields: Mapping[str, Any]
    fallbacks: tuple[tuple[str, ...], ...] = ()
    tentative: bool = False


@dataclass(frozen=True, slots=True)
class UpdateRegistration:
    """Replace the registration's fields.

    Attributes:
        fields: What is sent.
        reason: What differed.
        fallbacks: Scopes to send instead, one after the other, while DigDir refuses.
        only_scopes: Whether nothing but the scopes differed.
    """

    client_id: str
    fields: Mapping[str, Any]
    reason: str
    fallbacks: tuple[tuple[str, ...], ...] = ()
    only_scopes: bool = False


@dataclass(frozen=True, slots=True)
class TryScopes:
    """Register scopes of which no list tells, each by an update of its own.

    Attributes:
        fields: The registration's members that are ours; the scopes among them are replaced.
    """

    names: tuple[str, ...]
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PublishKeys:
    """Make `keep`, and a new key if `mint`, the client's complete key set.

    Attributes:
        reason: Why the set changes.
        expired: The ids of others' keys among them that have expired, which DigDir may refuse: then they go.
        delivers: Whether the new key goes into the Secret next; else it waits until it is known to work.
    """

    keep: tuple[PublicJwk, ...]
    mint: bool
    reason: str
    expired: tuple[str, ...] = ()
    delivers: bool = True


@dataclass(frozen=True, slots=True)
class WriteSecret:
    """Write the credentials to the Secret."""

    reason: str


@dataclass(frozen=True, slots=True)
class CreateScope:
    """Create a scope of this full name."""

    scope: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UpdateScope:
    """Replace a scope's fields; `activates` says that it was inactive."""

    scope: str
    fields: Mapping[str, Any]
    reason: str
    activates: bool = False


@dataclass(frozen=True, slots=True)
class DeactivateScope:
    """Deactivate a scope; its consumers stay in its list. `reason` is None where it goes with its resource."""

    scope: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class GrantAccess:
    """Give an organisation access to a scope."""

    scope: str
    orgno: str


@dataclass(frozen=True, slots=True)
class RevokeAccess:
    """Take an organisation's access to a scope back."""

    scope: str
    orgno: str


@dataclass(frozen=True, slots=True)
class ClearAnnotations:
    """Take requests off the resource that have been carried out."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteKeys:
    """Delete a client's keys."""

    client_id: str


@dataclass(frozen=True, slots=True)
class DeleteClient:
    """Delete a client for good."""

    client_id: str


@dataclass(frozen=True, slots=True)
class RemoveFinalizers:
    """Take our finalizers off the resource."""

    names: tuple[str, ...]


ScopeStep = CreateScope | UpdateScope | DeactivateScope | GrantAccess | RevokeAccess
RegistrationStep = RegisterClient | UpdateRegistration
CredentialStep = AdoptSecret | RegistrationStep | PublishKeys | WriteSecret
Step = AddFinalizer | CredentialStep | ScopeStep | TryScopes | ClearAnnotations
TeardownStep = RevokeAccess | DeactivateScope | DeleteKeys | DeleteClient | RemoveFinalizers
SCOPE_STEPS = (CreateScope, UpdateScope, DeactivateScope, GrantAccess, RevokeAccess)
TOUCHES_REGISTRATION = (UpdateRegistration, PublishKeys, TryScopes)


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order, then `blocker` if something keeps the resource from being ready.

    Attributes:
        steps: What to do.
        blocker: Why the resource isn't ready when the steps are done; None when it is.
        unfinished: Whether exposed scopes are left to further passes, since there are too many for one.
        credentials_blocked: Whether the Secret may lag behind the registration when the steps are done.
        next_look: Seconds until a pass has something to do by itself; None when only the resync does.
        key_waits: Whether a new key waits until it is known to work.
        asks_for_uses: Whether it depends on who uses the Secret, which nobody has looked at lately.
        rotation_notice: What is to be told of a rotation that isn't carried out.
    """

    steps: tuple[Step, ...] = ()
    blocker: Blocker | None = None
    credentials_blocked: bool = False
    next_look: float | None = None
    unfinished: bool = False
    key_waits: bool = False
    asks_for_uses: bool = False
    rotation_notice: Verdict | None = None

    @property
    def scopes(self) -> frozenset[str]:
        """The exposed scopes that the steps change."""
        return frozenset(step.scope for step in self.steps if isinstance(step, SCOPE_STEPS))
