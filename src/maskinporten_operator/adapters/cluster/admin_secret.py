"""The Secret with the operator's own key, which the operator writes when it renews that."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from maskinporten_operator.adapters.cluster.api import MERGE_PATCH
from maskinporten_operator.adapters.cluster.kubernetes_cluster import MANAGER
from maskinporten_operator.adapters.cluster.status_errors import AbsentError
from maskinporten_operator.model.resources import SECRET, parse_meta
from maskinporten_operator.plan.admin_key import RECORD, AdminSecret

if TYPE_CHECKING:
    from maskinporten_operator.adapters.cluster.api import ClusterApi
    from maskinporten_operator.model.jwk import PrivateJwk
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.admin_key import Renewal


class KubernetesAdminSecret:
    """One Secret by its name, and one entry in it. Every method raises `OperatorError`s only.

    Attributes:
        meta: The Secret's metadata as last read; None before that, and while there is none.
    """

    def __init__(self, api: ClusterApi, namespace: str, name: str, entry: str) -> None:
        self._api = api
        self._path = SECRET.path(namespace, name)
        self._entry = entry
        self.meta: ObjectMeta | None = None

    async def read(self) -> AdminSecret | None:
        """Read it; None if there is none."""
        try:
            body = await self._api.request("GET", self._path)
        except AbsentError:
            self.meta = None
            return None
        self.meta = parse_meta(SECRET, body)
        return AdminSecret(body, self._entry)

    async def write(self, secret: AdminSecret, key: PrivateJwk, renewal: Renewal) -> None:
        """Write key and annotation at once; all else in it stays.

        Raises:
            ConflictError: The Secret changed since it was read.
        """
        read = secret.manifest["metadata"]
        patch = {
            "metadata": {
                "uid": read["uid"],
                "resourceVersion": read["resourceVersion"],
                "annotations": {RECORD: renewal.serialize()},
            },
            "data": {self._entry: b64encode(key.serialize().encode()).decode()},
        }
        await self._api.request("PATCH", self._path, [("fieldManager", MANAGER)], patch, MERGE_PATCH)
