"""Requests to the API server of which only reads are sent. Writes are seen by later reads, and by nobody else."""

from __future__ import annotations

import copy
import itertools
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from maskinporten_operator.adapters.cluster.api import APPLY, JSON, ClusterApi
from maskinporten_operator.adapters.cluster.status_errors import AbsentError
from maskinporten_operator.adapters.fence import Fence
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import ConflictError
from maskinporten_operator.model.resources import ACCESS_REVIEW, MASKINPORTEN_CLIENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubernetes.aio.client import Configuration

    from maskinporten_operator.adapters.cluster.api import Query

    Body = dict[str, Any]

FIRST_VERSION = 2**62
"""Above every resourceVersion of an API server."""
STATUS = "/status"


def _closed_fence() -> Fence:
    fence = Fence()
    fence.close()
    return fence


class DryRunApi(ClusterApi):
    """Answers writes as the API server would without admission; by its fence none can be sent."""

    def __init__(
        self,
        configuration: Configuration,
        on_event: Callable[[str, Body], None],
        observe: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_event` is told what a watch would tell of an object that is made or deleted: the event, and it."""
        super().__init__(configuration, _closed_fence(), observe)
        self._on_event = on_event
        self._objects: dict[str, Body | None] = {}
        self._versions = itertools.count(FIRST_VERSION)

    async def request(
        self,
        method: str,
        path: str,
        query: Query = (),
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        """Answer a request; only reads of what wasn't written to are sent.

        Raises:
            OperatorError: The API server refused a read, or would refuse a write by its preconditions.
        """
        if method == "GET":
            return await self._read(path, query, accept)
        if path == ACCESS_REVIEW.path():
            return {"status": {"allowed": False}}  # asked when it was refused, which may have been for a moment
        current = await self._find(path.removesuffix(STATUS))
        if method == "DELETE":
            return self._delete(path, current)
        if content_type == APPLY:
            return self._apply(path, current, body)
        return self._merge(path, current, body)

    async def _read(self, path: str, query: Query, accept: str) -> Any:
        if path not in self._objects:
            return await super().request("GET", path, query, accept=accept)
        if (known := self._objects[path]) is None:
            raise AbsentError(f"{path.rpartition('/')[2]} not found")
        return copy.deepcopy(known)

    async def _find(self, path: str) -> Body | None:
        try:
            found: Body = await self._read(path, (), JSON)
        except AbsentError:
            return None
        return found

    def _apply(self, path: str, current: Body | None, manifest: Body) -> Body:
        """Apply server-side, as one manager whose fields nobody else owns."""
        _check_guard(current, manifest["metadata"])
        if current is None:
            return self._create(path, manifest)
        merged = _merge_deep(current, {name: one for name, one in manifest.items() if name != "metadata"})
        if manifest["kind"] == MASKINPORTEN_CLIENT.name and "spec" in manifest:
            merged["spec"] = manifest["spec"]  # what isn't applied any more goes
        metadata, given = merged["metadata"], manifest["metadata"]
        for name in ("labels", "annotations"):
            if name in given:
                metadata[name] = {**(metadata.get(name) or {}), **given[name]}
        if "ownerReferences" in given:
            metadata["ownerReferences"] = given["ownerReferences"]
        if "finalizers" in given:
            metadata["finalizers"] = list(dict.fromkeys([*(metadata.get("finalizers") or ()), *given["finalizers"]]))
        return self._store(path, current, merged)

    def _create(self, path: str, manifest: Body) -> Body:
        created = copy.deepcopy(manifest)
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        created["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": stamp, "generation": 1}
        self._keep(path, created)
        self._on_event("ADDED", copy.deepcopy(created))
        return copy.deepcopy(created)

    def _merge(self, path: str, current: Body | None, patch: Body) -> Body:
        """Merge a patch (RFC 7386), into the status alone where that is asked for."""
        if current is None:
            raise AbsentError(f"{path.rpartition('/')[2]} not found")
        _check_guard(current, patch.get("metadata") or {})
        if path.endswith(STATUS):
            return self._store(path.removesuffix(STATUS), current, {**current, "status": patch["status"]})
        guards = ("uid", "resourceVersion")
        metadata = {name: one for name, one in (patch.get("metadata") or {}).items() if name not in guards}
        return self._store(path, current, _merge_patch(current, {**patch, "metadata": metadata}))

    def _delete(self, path: str, current: Body | None) -> Body:
        if current is None:
            raise AbsentError(f"{path.rpartition('/')[2]} not found")
        if current["metadata"].get("finalizers"):
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            current["metadata"].setdefault("deletionTimestamp", stamp)
            self._keep(path, current)
            self._on_event("MODIFIED", copy.deepcopy(current))
        else:
            self._drop(path, current)
        return {}

    def _store(self, path: str, before: Body, after: Body) -> Body:
        """Keep an object that was changed; one in deletion goes with its last finalizer."""
        if after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] = int(before["metadata"].get("generation") or 0) + 1
        metadata = after["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self._drop(path, after)
        else:
            self._keep(path, after)
        return copy.deepcopy(after)

    def _keep(self, path: str, body: Body) -> None:
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self._objects[path] = body

    def _drop(self, path: str, body: Body) -> None:
        self._objects[path] = None
        self._on_event("DELETED", body)


def _check_guard(current: Body | None, given: Body) -> None:
    """Refuse a write whose preconditions don't hold."""
    metadata = current["metadata"] if current else {}
    for name in ("uid", "resourceVersion"):
        if name in given and current and given[name] != metadata.get(name):
            raise ConflictError(Reason.CLUSTER_UNAVAILABLE, "The object changed meanwhile")
    if "uid" in given and current is None:
        raise ConflictError(Reason.CLUSTER_UNAVAILABLE, "The object is gone")


def _merge_deep(current: Body, given: Body) -> Body:
    merged = copy.deepcopy(current)
    for name, value in given.items():
        known = merged.get(name)
        merged[name] = _merge_deep(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _merge_patch(current: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(current) if isinstance(current, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge_patch(merged.get(name), value)
    return merged
