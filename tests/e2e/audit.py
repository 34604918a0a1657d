"""The API server's audit log: who wrote what."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, NamedTuple

from tools.kube import KubeClient, wait_for
from tools.stack import NAMESPACE, SERVICE_ACCOUNT

if TYPE_CHECKING:
    from pathlib import Path

    from tools.cluster import Cluster

CREATED = 201
READS = {"get", "list", "watch"}
OPERATOR = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"


class Write(NamedTuple):
    """A write that was carried out; `resource` has its subresource, as in `maskinportenclients/status`."""

    resource: str
    name: str


class AuditLog:
    """Writes since `mark`."""

    def __init__(self, cluster: Cluster) -> None:
        assert cluster.audit_log
        self._cluster = cluster
        self._path: Path = cluster.audit_log
        self._position = 0
        self.mark()

    def mark(self) -> None:
        """Forget what has been written so far."""
        self._settle()
        self._position = self._path.read_bytes().rfind(b"\n") + 1  # a line may be half written

    def creations(self, namespace: str) -> list[tuple[str, int]]:
        """Give what the operator created in a namespace since the mark, or tried to: the resource and the answer."""
        self._settle()
        found = []
        for event in self._read():
            target, code = event.get("objectRef") or {}, event["responseStatus"]["code"]
            if event["user"]["username"] != OPERATOR or target.get("namespace") != namespace:
                continue
            if event["verb"] == "create" or code == CREATED:
                found.append((target["resource"], code))
        return found

    def count(self, namespace: str | None = None) -> list[Write]:
        """Give the operator's writes since the mark, Events and those that were refused left out."""
        self._settle()
        writes = []
        for event in self._read():
            target = event.get("objectRef") or {}
            if event["user"]["username"] != OPERATOR or event["responseStatus"]["code"] >= 300:
                continue
            if event["verb"] in READS:
                continue
            if target.get("resource") == "events" or namespace not in (None, target.get("namespace")):
                continue
            resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
            writes.append(Write(resource, target.get("name", "")))
        return writes

    def read_since_mark(self) -> list[dict]:
        """Give everything that was logged since the mark."""
        self._settle()
        return self._read()

    def read_all(self) -> list[dict]:
        """Give everything that was logged since the cluster's start."""
        self._settle()
        self._position = 0
        return self._read()

    def _read(self) -> list[dict]:
        with self._path.open("rb") as log:
            log.seek(self._position)
            lines = log.read().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def _settle(self) -> None:
        """A line is written a moment after the answer: wait until a write of our own shows up."""
        marker = f"audit-marker-{secrets.token_hex(4)}"
        with KubeClient(self._cluster.admin_kubeconfig) as kube:
            kube.request("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": marker}})
        needle = marker.encode()
        wait_for(lambda: self._path.exists() and needle in self._path.read_bytes(), 30, "the audit log's marker")
