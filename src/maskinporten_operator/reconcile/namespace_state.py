"""Whether a resource's namespace is managed, and whether it is being deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskinporten_operator.reconcile.ports import Cluster, Namespaces


@dataclass(frozen=True, slots=True)
class NamespaceState:
    """What a pass must know of a resource's namespace.

    Attributes:
        is_ending: Whether it is being deleted, which cannot be undone.
    """

    is_ending: bool
    is_selected: bool


async def find_namespace_state(namespace: str, known: Namespaces, cluster: Cluster) -> NamespaceState:
    """Find out about a namespace, once the selected ones have been listed.

    The API server confirms that it is being deleted, since another of that name may exist by now, and that it isn't
    selected, since the watch may not have delivered its labels yet.
    """
    await known.ready()
    return NamespaceState(
        is_ending=known.is_ending(namespace) and await cluster.is_namespace_terminating(namespace),
        is_selected=known.is_selected(namespace) or await cluster.is_namespace_selected(namespace),
    )
