"""The Lease of the leader election (coordination.k8s.io/v1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.adapters.cluster.status_errors import AbsentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.adapters.cluster.api import ClusterApi

    Body = Mapping[str, Any]

LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


class KubernetesLeases:
    """One Lease by its name. Every method raises `OperatorError`s only."""

    def __init__(self, api: ClusterApi, namespace: str, name: str) -> None:
        self._api = api
        self._path = LEASES.format(namespace=namespace)
        self._metadata = {"namespace": namespace, "name": name}

    async def find(self) -> Body | None:
        """Read the Lease; None if there is none."""
        try:
            return await self._request("GET", self._one)
        except AbsentError:
            return None

    async def create(self, spec: Body) -> Body:
        """Make the Lease.

        Raises:
            ConflictError: There is one.
        """
        return await self._request("POST", self._path, {**self._kind, "metadata": self._metadata, "spec": spec})

    async def replace(self, lease: Body, spec: Body) -> Body | None:
        """Write the Lease if it still is as it was read; None if it is gone.

        Raises:
            ConflictError: Somebody wrote it meanwhile.
        """
        metadata = {name: value for name, value in lease["metadata"].items() if name != "managedFields"}
        try:
            return await self._request("PUT", self._one, {**self._kind, "metadata": metadata, "spec": spec})
        except AbsentError:
            return None

    @property
    def _one(self) -> str:
        return f"{self._path}/{self._metadata['name']}"

    @property
    def _kind(self) -> dict[str, str]:
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}

    async def _request(self, method: str, path: str, body: Body | None = None) -> Body:
        answer: Body = await self._api.request(method, path, body=body)
        return answer
