"""Where a resource stands: in a namespace that is going away, or that isn't looked after, nothing is made for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import RejectedError

if TYPE_CHECKING:
    from maskinporten_operator.reconcile.ports import Ports


@dataclass(frozen=True, slots=True)
class Place:
    """What a pass must know of a resource's namespace.

    Attributes:
        is_ending: Whether it is going away, with all that is in it: there is no way back.
        is_selected: Whether it is looked after.
    """

    is_ending: bool
    is_selected: bool


async def find_place(namespace: str, ports: Ports) -> Place:
    """Find out about a namespace. What the watches tell is asked again: another of that name may be there by now."""
    seen = ports.namespaces
    return Place(
        is_ending=seen.is_ending(namespace) and await ports.cluster.is_namespace_terminating(namespace),
        is_selected=seen.is_selected(namespace) or await ports.cluster.is_namespace_selected(namespace),
    )


def check_place(place: Place) -> RejectedError | None:
    """Say why nothing is done for a resource where it stands, or None."""
    if place.is_selected:
        return None
    return RejectedError(
        Reason.NAMESPACE_NOT_SELECTED,
        "This namespace isn't looked after by the operator: a cluster admin can give it the label that selects it, or "
        "move the resource. What exists already is left as it is",
    )
