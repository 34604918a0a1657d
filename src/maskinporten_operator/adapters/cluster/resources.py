"""What a pass does at the API server: one method per operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.adapters.cluster.api import APPLY, JSON_PATCH, MERGE_PATCH, ClusterApi
from maskinporten_operator.adapters.cluster.errors import AbsentError
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import ConflictError
from maskinporten_operator.model.resources import FINALIZER, GROUP, KIND, PLURAL, VERSION, ObjectMeta
from maskinporten_operator.plan.secret import OwnedSecret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MANAGER = "maskinporten-operator"
FINALIZER_MANAGER = "maskinporten-operator-finalizer"
"""One field manager per role: an apply with a role's manager drops what else it owned."""


class ClusterResources:
    """Reads and writes of MaskinportenClients, their Secrets and their namespaces.

    Every apply to an existing object carries its uid: an apply to one that was deleted would create it again.
    """

    def __init__(
        self,
        api: ClusterApi,
        accept_client: Callable[[Mapping[str, Any]], None],
        accept_secret: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """`accept_client` and `accept_secret` are given every object as a write left it."""
        self._api = api
        self._accept_client = accept_client
        self._accept_secret = accept_secret

    async def find_client(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Read a MaskinportenClient anew; None if there is none."""
        body: Mapping[str, Any] | None = await self._find(_client_path(namespace, name))
        return body

    async def is_namespace_terminating(self, namespace: str) -> bool:
        """Whether the namespace is going away, or gone."""
        body = await self._find(f"/api/v1/namespaces/{namespace}")
        return body is None or bool(body["metadata"].get("deletionTimestamp"))

    async def find_secret(self, namespace: str, name: str) -> OwnedSecret | None:
        """Read a Secret, whoever owns it."""
        body = await self._find(_secret_path(namespace, name))
        return OwnedSecret(body) if body else None

    async def apply_secret(self, manifest: Mapping[str, Any], uid: str | None) -> None:
        """Apply a Secret; `uid` is that of the one it must be, None to create it."""
        metadata = manifest["metadata"]
        # An apply with a resourceVersion that is long gone creates what is absent, and conflicts with what is there:
        # somebody else may have made a Secret of that name since we looked.
        guard = {"uid": uid} if uid else {"resourceVersion": "1"}
        body = {**manifest, "metadata": {**metadata, **guard}}
        path = _secret_path(metadata["namespace"], metadata["name"])
        self._accept_secret(await _changed_if_absent(self._apply(path, body, MANAGER)))

    async def add_finalizer(self, meta: ObjectMeta) -> Mapping[str, Any]:
        """Put our finalizer on the resource, others' kept."""
        return await self._apply_finalizers(meta, {"finalizers": [FINALIZER]})

    async def remove_finalizer(self, meta: ObjectMeta) -> None:
        """Take our finalizer off, others' kept; done when the resource is gone."""
        try:
            # An apply that leaves the field out removes what this manager owned of it; repeated, it writes nothing.
            body = await self._apply_finalizers(meta, {})
            finalizers = body["metadata"].get("finalizers") or []
            if FINALIZER in finalizers and body["metadata"].get("uid") == meta.uid:
                await self._remove_shared_finalizer(meta, finalizers.index(FINALIZER))
        except (AbsentError, ConflictError) as error:
            # An apply with a uid gives 409 both when the object is gone and when it is another one by now.
            if isinstance(error, ConflictError):
                current = await self.find_client(meta.namespace, meta.name)
                if current and current["metadata"]["uid"] == meta.uid:
                    raise

    async def clear_annotations(self, meta: ObjectMeta, names: Iterable[str]) -> Mapping[str, Any]:
        """Remove annotations, if they are there. An apply can't: they are the user's."""
        patch = {"metadata": {"uid": meta.uid, "annotations": dict.fromkeys(names)}}
        return await self._patch_client(_client_path(meta.namespace, meta.name), patch, MERGE_PATCH)

    async def write_status(self, meta: ObjectMeta, status: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace the status, unless the resource changed since `meta`.

        A merge patch, since an apply fails on fields that the served CRD doesn't know, where this drops them. The uid
        is no guard at this endpoint, the resourceVersion is.
        """
        patch = {"metadata": {"resourceVersion": str(meta.resource_version)}, "status": status}
        return await self._patch_client(_client_path(meta.namespace, meta.name) + "/status", patch, MERGE_PATCH)

    async def _apply_finalizers(self, meta: ObjectMeta, finalizers: Mapping[str, Any]) -> Mapping[str, Any]:
        manifest = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid, **finalizers},
        }
        body = await self._apply(_client_path(meta.namespace, meta.name), manifest, FINALIZER_MANAGER)
        self._accept_client(body)
        return body

    async def _remove_shared_finalizer(self, meta: ObjectMeta, position: int) -> None:
        """Take our finalizer out of a list that somebody else's applied manifest holds too."""
        path = f"/metadata/finalizers/{position}"
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": meta.uid},
            {"op": "test", "path": path, "value": FINALIZER},
            {"op": "remove", "path": path},
        ]
        await self._patch_client(_client_path(meta.namespace, meta.name), patch, JSON_PATCH)

    async def _patch_client(self, path: str, patch: Any, content_type: str) -> Mapping[str, Any]:
        body: Mapping[str, Any] = await _changed_if_absent(
            self._api.request("PATCH", path, [("fieldManager", MANAGER)], patch, content_type)
        )
        self._accept_client(body)
        return body

    async def _apply(self, path: str, body: Mapping[str, Any], manager: str) -> Mapping[str, Any]:
        result: Mapping[str, Any] = await self._api.request(
            "PATCH", path, [("fieldManager", manager), ("force", "true")], body, APPLY
        )
        return result

    async def _find(self, path: str) -> Any:
        try:
            return await self._api.request("GET", path)
        except AbsentError:
            return None


async def _changed_if_absent(request: Any) -> Any:
    """A resource that is gone when it is written to has changed: the pass ends, and the store learns of it."""
    try:
        return await request
    except AbsentError as error:
        raise ConflictError(Reason.CLUSTER_UNAVAILABLE, str(error)) from None


def _client_path(namespace: str, name: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}"


def _secret_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets/{name}"
