"""Whether so many registrations are missing at once that DigDir's list is doubted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskinporten_operator.model.blockers import Blocker, waiting
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION

if TYPE_CHECKING:
    from maskinporten_operator.model.resources import ObjectMeta

LOOK_AGAIN_FOR_MASS = 300.0
FEW_ABSENT = 5
ABSENT_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Missing:
    """How many registrations are missing of those that there should be.

    Attributes:
        missing: Resources whose registrations the newest list lacks.
        known: Resources that have a registration by their status.
    """

    missing: int
    known: int

    @property
    def is_mass(self) -> bool:
        """Whether more than `FEW_ABSENT` and more than `ABSENT_SHARE` of them are missing."""
        return self.missing > max(FEW_ABSENT, ABSENT_SHARE * self.known)


NONE_MISSING = Missing(0, 0)


def check_mass_absence(seen: Missing, meta: ObjectMeta) -> Blocker | None:
    """Say that too much is missing to believe it, unless a user asked to go on with this resource."""
    if not seen.is_mass or meta.asks(RESYNC_ANNOTATION):
        return None
    return waiting(
        Reason.MASS_ABSENCE,
        f"{seen.missing} of {seen.known} registrations vanished at once, so nothing is registered or given up: "
        "a cluster admin should check the operator's DigDir address and organisation. "
        f"If they were really deleted, annotate with {RESYNC_ANNOTATION}=true to go on with this one",
        LOOK_AGAIN_FOR_MASS,
    )
