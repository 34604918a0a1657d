"""The plan of a deletion: what is the resource's at DigDir, if that was asked for, then its finalizers.

Deleting for good goes the other way than making: consumers' access and the scopes, keys and clients, and last the
finalizers. A crash after any step leaves the finalizer, and the next pass finds by description what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskinporten_operator.model.blockers import Blocker, waiting
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.maskinportenclient import (
    DELETE_ANNOTATION,
    DIGDIRATOR_FINALIZERS,
    FINALIZER,
    PRESERVE_ANNOTATION,
)
from maskinporten_operator.plan.decisions import (
    DeactivateScope,
    DeleteClient,
    DeleteKeys,
    RemoveFinalizers,
    RevokeAccess,
    TeardownStep,
)
from maskinporten_operator.plan.search import NONE_MISSING, Missing, check_mass_absence

if TYPE_CHECKING:
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.registration_settings import RegistrationSettings


@dataclass(frozen=True, slots=True)
class OwnedScope:
    """A scope that is the resource's by its description, and the organisations that have access, or may have."""

    name: str
    consumers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TeardownSnapshot:
    """Everything that the decision needs. Of a resource whose client and scopes are kept, nothing is looked for.

    Attributes:
        finalizers: Those that are ours to remove.
        list_due: Seconds until DigDir's lists may tell of all that an earlier attempt made; 0 if they told.
        clients: The ids of all active registrations with the resource's description.
        scopes: The scopes that are its own, inactive ones too, as many as one pass takes.
        missing: How many registrations of the cluster's resources are missing.
        unfinished: Whether there are more scopes, which further passes take.
    """

    meta: ObjectMeta
    finalizers: tuple[str, ...]
    list_due: float = 0.0
    clients: tuple[str, ...] = ()
    scopes: tuple[OwnedScope, ...] = ()
    missing: Missing = NONE_MISSING
    unfinished: bool = False


def find_finalizers(meta: ObjectMeta, settings: RegistrationSettings, *, is_selected: bool) -> tuple[str, ...]:
    """Find the finalizers that are ours to remove; none if none of them is on the resource.

    In a namespace that isn't selected Digdirator may be at work, and its finalizers are its own.
    """
    ours = (FINALIZER, *DIGDIRATOR_FINALIZERS) if settings.takes_over and is_selected else (FINALIZER,)
    return () if set(ours).isdisjoint(meta.finalizers) else ours


def is_deleted_for_good(meta: ObjectMeta, settings: RegistrationSettings) -> bool:
    """Whether client and scopes are deleted with the resource. Preserving wins; the default is the setting's."""
    if meta.asks(PRESERVE_ANNOTATION):
        return False
    if DELETE_ANNOTATION in meta.annotations:
        return meta.asks(DELETE_ANNOTATION)
    return settings.deletion_policy == "Delete"


def check_clients(seen: TeardownSnapshot) -> Blocker | None:
    """Say that too many registrations are missing to conclude that this one is gone, or None."""
    return None if seen.clients else check_mass_absence(seen.missing, seen.meta)


def plan_teardown(seen: TeardownSnapshot) -> tuple[TeardownStep, ...] | Blocker:
    """Plan what is deleted, in order, or give what it has to wait for."""
    if blocker := _check_list(seen) or check_clients(seen):
        return blocker
    steps: list[TeardownStep] = []
    for scope in seen.scopes:
        # Whoever activates it again begins with nobody.
        steps += [RevokeAccess(scope.name, orgno) for orgno in sorted(scope.consumers)]
        steps.append(DeactivateScope(scope.name))
    if seen.unfinished:
        return tuple(steps)
    for client_id in sorted(seen.clients):
        steps += [DeleteKeys(client_id), DeleteClient(client_id)]
    return (*steps, RemoveFinalizers(seen.finalizers))


def check_unfinished(seen: TeardownSnapshot) -> Blocker | None:
    """Say that scopes are left to further passes; in the same words each time, so that it is written once."""
    if not seen.unfinished:
        return None
    return waiting(Reason.SCOPES_PENDING, "There are more scopes to deactivate than one pass does: others go on", 0.0)


def _check_list(seen: TeardownSnapshot) -> Blocker | None:
    if seen.list_due <= 0:
        return None
    return waiting(
        Reason.AWAITING_LIST,
        "An earlier attempt may have left something at DigDir: waiting for its list to tell",
        seen.list_due,
    )
