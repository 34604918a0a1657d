"""Where a resource stands: in a namespace that is going away, or that isn't looked after, nothing is made for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskinporten_operator.reconcile.ports import Cluster, Namespaces


@dataclass(frozen=True, slots=True)
class NamespaceState:
    """What a pass must know of a resource's namespace.

    Attributes:
        is_ending: Whether it is going away, with all that is in it: there is no way back.
        is_selected: Whether it is looked after.
    """

    is_ending: bool
    is_selected: bool


async def find_namespace_state(namespace: str, known: Namespaces, cluster: Cluster) -> NamespaceState:
    """Find out about a namespace.

    That it is going is asked again, since another of that name may be there by now; and that it isn't selected, since
    the watch may not have told of its labels yet. Before the selected ones were listed once nothing is done: who else
    claims something, and how many registrations are missing, is counted in these.
    """
    await known.ready()
    return NamespaceState(
        is_ending=known.is_ending(namespace) and await cluster.is_namespace_terminating(namespace),
        is_selected=known.is_selected(namespace) or await cluster.is_namespace_selected(namespace),
    )
