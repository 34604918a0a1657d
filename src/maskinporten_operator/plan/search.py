"""The result of the search for a resource's registration, and what it blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskinporten_operator.model.blockers import Blocker, rejected, waiting
from maskinporten_operator.model.conditions import REGISTRATION_UNIQUE, Reason, Verdict
from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION

if TYPE_CHECKING:
    from maskinporten_operator.model.registrations import Registration
    from maskinporten_operator.model.resources import ObjectMeta

ABSENCE_RECHECK_SECONDS = 30.0
"""Seconds between the two passes that must both find a registration gone."""
MASS_ABSENCE_RECHECK_SECONDS = 300.0
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


@dataclass(frozen=True, slots=True)
class Found:
    """The resource has a registration.

    Attributes:
        registration: It, with its keys.
        fresh: Whether it was read by this pass, and not merely listed some time ago.
        others: Ids of further registrations with the same description.
    """

    registration: Registration
    fresh: bool = False
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Released:
    """None was found, and the one that Secret or status names has another description now."""

    client_id: str


@dataclass(frozen=True, slots=True)
class Absent:
    """None was found.

    Attributes:
        client_id: The id that the resource had and that DigDir says is gone; None if it is known to have had none.
        passes: How many passes have found it gone, this one included; they are `ABSENCE_RECHECK_SECONDS` apart.
        missing: How many others are missing with it.
        list_due: Seconds until a list may prove that there is none; 0 when it was proven.
    """

    client_id: str | None = None
    passes: int = 0
    missing: Missing = NONE_MISSING
    list_due: float = 0.0

    @property
    def needs_second_look(self) -> bool:
        """Whether one more pass must find the registration gone."""
        return self.client_id is not None and self.passes < 2


Search = Found | Released | Absent


def check_search(search: Search, meta: ObjectMeta) -> Blocker | None:
    """Say why no client may be registered although none was found; None if one may."""
    if isinstance(search, Found):
        return None
    if isinstance(search, Released):
        return rejected(
            Reason.REGISTRATION_RELEASED,
            f"Client {search.client_id} has another description at DigDir, so it isn't this resource's any more: "
            "set its description back there, or delete this resource and create it again for a new client",
        )
    if blocker := check_mass_absence(search.missing, meta):
        return blocker
    if search.needs_second_look:
        return waiting(
            Reason.REGISTRATION_ABSENT,
            f"DigDir says that client {search.client_id} is gone; looking once more before a new one is registered",
            ABSENCE_RECHECK_SECONDS,
        )
    if search.list_due > 0:
        message = "An earlier attempt may have registered a client: waiting for DigDir's list to tell"
        return waiting(Reason.AWAITING_LIST, message, search.list_due)
    return None


def check_mass_absence(seen: Missing, meta: ObjectMeta) -> Blocker | None:
    """Say that too many registrations are missing, or None; also None if a user confirmed it for this resource."""
    if not seen.is_mass or meta.asks(RESYNC_ANNOTATION):
        return None
    return waiting(
        Reason.MASS_ABSENCE,
        f"{seen.missing} of {seen.known} registrations vanished at once, so nothing is registered or given up: "
        "a cluster admin should check the operator's DigDir address and organisation. "
        f"If they were really deleted, annotate with {RESYNC_ANNOTATION}=true to go on with this one",
        MASS_ABSENCE_RECHECK_SECONDS,
    )


def judge_duplicates(found: Found | None) -> Verdict | None:
    """Name further registrations with the resource's description, which are left alone."""
    others = found.others if found else ()
    if not others:
        return None
    shown = ", ".join(others[:10]) + (f" and {len(others) - 10} more" if len(others) > 10 else "")
    message = f"Further active clients have this resource's description at DigDir: {shown}. They are left alone"
    return Verdict(REGISTRATION_UNIQUE, "False", Reason.DUPLICATE_REGISTRATIONS, message)
