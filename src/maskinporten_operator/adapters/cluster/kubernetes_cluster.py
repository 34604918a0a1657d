"""A pass's calls to the API server: one method per operation."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from maskinporten_operator.adapters.cluster.api import APPLY, MERGE_PATCH, ClusterApi
from maskinporten_operator.adapters.cluster.status_errors import AbsentError
from maskinporten_operator.adapters.cluster.watch import list_objects
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import ConflictError, ForbiddenError, RejectedError, TerminatingError
from maskinporten_operator.model.maskinportenclient import FINALIZER
from maskinporten_operator.model.resources import (
    ACCESS_REVIEW,
    DEPLOYMENT,
    NAMESPACE,
    POD,
    SECRET,
    UNREADABLE,
    Kind,
    ObjectMeta,
    parse_meta,
)
from maskinporten_operator.plan.owner_references import APP_LABEL, build_owner_reference
from maskinporten_operator.plan.rollout import PodTrouble, read_trouble
from maskinporten_operator.plan.secret import ObservedSecret
from maskinporten_operator.plan.secret_uses import SecretUse, find_uses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from maskinporten_operator.adapters.cluster.bodies import Reduce

    Body = Mapping[str, Any]
    RecordOwnWrite = Callable[[Kind, Mapping[str, Any]], None]

MANAGER = "maskinporten-operator"
FINALIZER_MANAGER = "maskinporten-operator-finalizer"
REPLICAS_MANAGER = "maskinporten-operator-replicas"
"""One field manager per role: an apply with a role's manager drops what else it owned."""
TIME_FIELD = "synchronizationTime"
"""Of a status: a time in our CRDs, and in NAIS's of Applications a number of nanoseconds."""


def as_nanoseconds(status: Mapping[str, Any]) -> dict[str, Any]:
    """Write the time of a status as nanoseconds since 1970."""
    moment = datetime.fromisoformat(status[TIME_FIELD])
    return {**status, TIME_FIELD: int(moment.timestamp()) * 10**9}


class KubernetesCluster:
    """Reads and writes of resources, what they own, and their namespaces.

    Every apply to an existing object carries its uid: an apply to one that was deleted would create it again.
    """

    def __init__(
        self,
        api: ClusterApi,
        record_own_write: RecordOwnWrite,
        namespace_selector: str = "",
        on_secret: Callable[[ObservedSecret], None] = lambda _: None,
        count_refused_status: Callable[[Kind], None] = lambda _: None,
    ) -> None:
        """`record_own_write` is given every object as a write left it, `on_secret` every Secret that is read.

        The selector chooses the managed namespaces.
        """
        self._on_secret = on_secret
        self._api = api
        self._record_own_write = record_own_write
        self._namespace_selector = namespace_selector
        self._count_refused_status = count_refused_status
        self._times_as_numbers: set[Kind] = set()

    async def find(self, kind: Kind, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Read an object anew; None if there is none."""
        body: Mapping[str, Any] | None = await self._find(kind.path(namespace, name))
        return body

    async def is_namespace_terminating(self, namespace: str) -> bool:
        """Whether the namespace is being deleted, or gone."""
        body = await self._find(f"/api/v1/namespaces/{namespace}")
        return body is None or bool(body["metadata"].get("deletionTimestamp"))

    async def is_namespace_selected(self, namespace: str) -> bool:
        """Whether the namespace is managed, by its labels now."""
        if not self._namespace_selector:
            return True
        query = [("fieldSelector", f"metadata.name={namespace}"), ("labelSelector", self._namespace_selector)]
        return bool((await self._api.request("GET", NAMESPACE.path(), query))["items"])

    async def find_secret(self, namespace: str, name: str) -> ObservedSecret | None:
        """Read a Secret, whoever owns it.

        Raises:
            RejectedError: It is beyond what is read. To pass over that would look like a Secret without a key.
        """
        body = await self._find(SECRET.path(namespace, name))
        if body and (reason := body.get(UNREADABLE)):
            message = f"Secret {name} can't be read ({reason}): take out what made it so, or delete it"
            raise RejectedError(Reason.SECRET_CONFLICT, message)
        if body is None:
            return None
        secret = ObservedSecret(body)
        self._on_secret(secret)
        return secret

    async def find_uses(self, namespace: str, secrets: Sequence[str]) -> Mapping[str, tuple[SecretUse, ...]]:
        """Find, by Secret, the running containers that use it; none where the operator may not list pods."""

        def reduce(pod: Mapping[str, Any]) -> Mapping[str, Any]:
            return {name: find_uses(pod, name) for name in secrets}

        pods = await self._list_pods(namespace, reduce)
        return {} if pods is None else {name: tuple(use for pod in pods for use in pod[name]) for name in secrets}

    async def find_troubles(self, namespace: str, app: str) -> Sequence[PodTrouble]:
        """Find what keeps an application's pods from coming up; none where the operator may not list pods."""
        pods = await self._list_pods(namespace, lambda pod: {"trouble": read_trouble(pod)}, f"{APP_LABEL}={app}")
        return [pod["trouble"] for pod in pods or ()]

    async def _list_pods(self, namespace: str, reduce: Reduce, selector: str = "") -> Sequence[Body] | None:
        """List pods as `reduce` makes them; None where the operator may not."""
        try:
            return await list_objects(self._api, POD.path(namespace), reduce, selector)
        except ForbiddenError:
            if await self._may_list_pods(namespace):
                raise  # so it was for a moment, as while a control plane is upgraded
            return None

    async def _may_list_pods(self, namespace: str) -> bool:
        """Ask the API server, which answers everybody about their own rights as soon as it knows of any."""
        asked = {"namespace": namespace, "verb": "list", "resource": POD.plural}
        body = {
            "apiVersion": ACCESS_REVIEW.api_version,
            "kind": ACCESS_REVIEW.name,
            "spec": {"resourceAttributes": asked},
        }
        answer = await self._api.request("POST", ACCESS_REVIEW.path(), body=body)
        return bool(answer["status"]["allowed"])

    async def apply(self, kind: Kind, manifest: Mapping[str, Any], uid: str | None) -> Mapping[str, Any]:
        """Apply an object; `uid` is that of the one it must be, None to create it."""
        metadata = manifest["metadata"]
        # An apply with a resourceVersion that is long gone creates what is absent, and conflicts with what is there:
        # somebody else may have made an object of that name since we looked.
        guard = {"uid": uid} if uid else {"resourceVersion": "1"}
        body = {**manifest, "metadata": {**metadata, **guard}}
        request = self._apply(kind.path(metadata["namespace"], metadata["name"]), body, MANAGER)
        return await self._write(kind, request if uid else self._create(kind, metadata["namespace"], request))

    async def adopt(self, kind: Kind, body: Mapping[str, Any], owner: ObjectMeta) -> Mapping[str, Any]:
        """Make a resource the only owner of an object that was read.

        By a merge patch: an apply leaves the references that others wrote, and the API server takes only one that
        controls. The garbage collector deletes an object only while it has the owners for which it does so, so this
        may come just before it.

        Raises:
            ConflictError: The object changed since it was read, so nothing is taken over unseen.
        """
        meta = parse_meta(kind, body)
        guard = {"uid": meta.uid, "resourceVersion": str(meta.resource_version)}
        patch = {"metadata": {**guard, "ownerReferences": [build_owner_reference(owner)]}}
        return await self._patch(meta, patch, MERGE_PATCH)

    async def apply_replicas(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Apply a Deployment's number of pods, and nothing else; the manifest carries the uid."""
        metadata = manifest["metadata"]
        path = DEPLOYMENT.path(metadata["namespace"], metadata["name"])
        return await self._write(DEPLOYMENT, self._apply(path, manifest, REPLICAS_MANAGER))

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete an object unless it is another one by now; done when it is gone."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        try:
            await self._api.request("DELETE", kind.path(namespace, name), body=options)
        except (AbsentError, ConflictError):
            return

    async def add_finalizer(self, meta: ObjectMeta) -> Mapping[str, Any]:
        """Put our finalizer on the resource, others' kept."""
        manifest = {
            "apiVersion": meta.kind.api_version,
            "kind": meta.kind.name,
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid, "finalizers": [FINALIZER]},
        }
        body = await self._apply(meta.kind.path(meta.namespace, meta.name), manifest, FINALIZER_MANAGER)
        self._record_own_write(meta.kind, body)
        return body

    async def remove_finalizers(self, meta: ObjectMeta, names: Sequence[str]) -> None:
        """Take finalizers off, others' kept; done when the resource is gone.

        Not by an apply that leaves ours out: it takes `foregroundDeletion` and `orphan` along, which the API server
        adds and no manager owns, and with them what the user said about the Secret.

        Raises:
            ConflictError: The resource changed between the read and the write.
        """
        current = await self.find(meta.kind, meta.namespace, meta.name)
        if current is None or current["metadata"]["uid"] != meta.uid:
            return
        finalizers = current["metadata"].get("finalizers") or []
        left = [one for one in finalizers if one not in names]
        if left == finalizers:
            return
        guard = {"uid": meta.uid, "resourceVersion": current["metadata"]["resourceVersion"]}
        await self._patch(meta, {"metadata": {**guard, "finalizers": left}}, MERGE_PATCH)

    async def clear_annotations(self, meta: ObjectMeta, names: Iterable[str]) -> Mapping[str, Any]:
        """Remove annotations, if they are there. An apply can't: they are the user's."""
        patch = {"metadata": {"uid": meta.uid, "annotations": dict.fromkeys(names)}}
        return await self._patch(meta, patch, MERGE_PATCH)

    async def write_status(self, meta: ObjectMeta, status: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace the status, unless the resource changed since `meta`.

        A merge patch, since an apply fails on fields that the served CRD doesn't know, where this drops them. The uid
        is no guard at this endpoint, the resourceVersion is.
        """
        try:
            try:
                return await self._write_status(meta, status)
            except RejectedError as error:
                if TIME_FIELD not in str(error):
                    raise
            # The served schema wants the time in its other form; that holds for all resources of the kind.
            self._times_as_numbers ^= {meta.kind}
            return await self._write_status(meta, status)
        except (RejectedError, ForbiddenError):
            self._count_refused_status(meta.kind)
            raise

    async def _write_status(self, meta: ObjectMeta, status: Mapping[str, Any]) -> Mapping[str, Any]:
        form = as_nanoseconds if meta.kind in self._times_as_numbers else dict
        patch = {"metadata": {"resourceVersion": str(meta.resource_version)}, "status": form(status)}
        return await self._patch(meta, patch, MERGE_PATCH, subresource="/status")

    async def _patch(self, meta: ObjectMeta, patch: Any, content_type: str, subresource: str = "") -> Mapping[str, Any]:
        path = meta.kind.path(meta.namespace, meta.name) + subresource
        request = self._api.request("PATCH", path, [("fieldManager", MANAGER)], patch, content_type)
        return await self._write(meta.kind, request)

    async def _write(self, kind: Kind, request: Awaitable[Any]) -> Mapping[str, Any]:
        """Record what a write left; an object that is gone by then is a conflict."""
        try:
            body: Mapping[str, Any] = await request
        except AbsentError as error:
            raise ConflictError(Reason.REFUSED_BY_CLUSTER, str(error)) from None
        self._record_own_write(kind, body)
        return body

    async def _create(self, kind: Kind, namespace: str, request: Awaitable[Any]) -> Any:
        """Translate a 404 to a creation: the namespace is gone, or the kind isn't served."""
        try:
            return await request
        except AbsentError as error:
            if await self.is_namespace_terminating(namespace):
                raise TerminatingError(Reason.TERMINATING, "The namespace is being deleted") from None
            message = (
                f"The API server doesn't serve {kind.plural}.{kind.group}: a cluster admin must install it, or "
                f"configure another ({error})"
            )
            raise RejectedError(Reason.REFUSED_BY_CLUSTER, message) from None

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
