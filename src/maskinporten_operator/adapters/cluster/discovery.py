"""What the API server serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskinporten_operator.adapters.cluster.errors import AbsentError

if TYPE_CHECKING:
    from maskinporten_operator.adapters.cluster.api import ClusterApi


async def is_served(api: ClusterApi, group: str, version: str, plural: str) -> bool:
    """Whether the API server serves a kind."""
    try:
        body = await api.request("GET", f"/apis/{group}/{version}")
    except AbsentError:
        return False
    return any(resource["name"] == plural for resource in body["resources"])
