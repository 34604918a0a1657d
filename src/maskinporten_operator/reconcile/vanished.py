"""What vanished may have been deleted with its owner: then it isn't created again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import TerminatingError
from maskinporten_operator.model.resources import parse_meta

if TYPE_CHECKING:
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.reconcile.ports import Cluster


async def check_still_wanted(owner: ObjectMeta, cluster: Cluster) -> None:
    """Read the owner and its namespace: their deletion may delete what is owned first.

    Raises:
        TerminatingError: One of them is being deleted.
    """
    body = await cluster.find(owner.kind, owner.namespace, owner.name)
    if body is None or (fresh := parse_meta(owner.kind, body)).uid != owner.uid or fresh.deleting:
        raise TerminatingError(Reason.TERMINATING, f"The {owner.kind.name} is being deleted")
    if await cluster.is_namespace_terminating(owner.namespace):
        raise TerminatingError(Reason.TERMINATING, "The namespace is being deleted")
