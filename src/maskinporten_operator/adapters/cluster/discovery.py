"""What the API server serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskinporten_operator.adapters.cluster.status_errors import AbsentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskinporten_operator.adapters.cluster.api import ClusterApi
    from maskinporten_operator.model.resources import Kind


async def find_served(api: ClusterApi, kinds: Iterable[Kind]) -> frozenset[Kind]:
    """Find which of these kinds the API server serves."""
    return frozenset([kind for kind in kinds if await is_served(api, kind)])


async def is_served(api: ClusterApi, kind: Kind) -> bool:
    """Whether the API server serves exactly this group, version and kind."""
    try:
        body = await api.request("GET", kind.root)
    except AbsentError:
        return False
    return any(resource["name"] == kind.plural for resource in body["resources"])
