"""What vanished may have gone with its owner: then it isn't made again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import TerminatingError
from maskinporten_operator.model.resources import parse_meta

if TYPE_CHECKING:
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.reconcile.ports import Cluster


async def check_still_wanted(owner: ObjectMeta, cluster: Cluster) -> None:
    """Read the owner and its namespace anew: a foreground deletion and a namespace's take what is owned first.

    Raises:
        TerminatingError: One of them is going, or gone.
    """
    body = await cluster.find(owner.kind, owner.namespace, owner.name)
    if body is None or (fresh := parse_meta(owner.kind, body)).uid != owner.uid or fresh.deleting:
        raise TerminatingError(Reason.TERMINATING, f"The {owner.kind.name} is being deleted")
    if await cluster.is_namespace_terminating(owner.namespace):
        raise TerminatingError(Reason.TERMINATING, "The namespace is being deleted")
