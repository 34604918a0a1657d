"""What the API server has of resources, read for `status`."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from maskinporten_operator.adapters.cluster.api import load_configuration
from maskinporten_operator.adapters.cluster.kubernetes_cluster import KubernetesCluster
from maskinporten_operator.adapters.cluster.status_errors import AbsentError
from maskinporten_operator.adapters.cluster.watch import ONE_METADATA, list_objects
from maskinporten_operator.assembly.parts import open_cluster
from maskinporten_operator.model.errors import ForbiddenError, RejectedError, WaitingError
from maskinporten_operator.model.resources import APPLICATION, EVENT, MASKINPORTEN_CLIENT, SECRET, Kind
from maskinporten_operator.model.status_hint import read_status
from maskinporten_operator.plan.overview import Surroundings, build_overview
from maskinporten_operator.plan.remedies import describe_lack
from maskinporten_operator.plan.secret import DELIVERIES_ANNOTATION
from maskinporten_operator.plan.secret_uses import parse_deliveries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from maskinporten_operator.adapters.cluster.api import ClusterApi
    from maskinporten_operator.plan.overview import Overview
    from maskinporten_operator.plan.secret_uses import SecretUse

UNREADABLE = (RejectedError, WaitingError)
"""How the API server says that somebody may not read a thing."""
KINDS = (APPLICATION, MASKINPORTEN_CLIENT)


class NoResourceError(Exception):
    """There is no resource of the name, or none that may be read; the text says where."""


class StatusReader:
    """Reads from the API server, and never the content of a Secret.

    Attributes:
        lacks: The rights that the latest look would have taken besides, and who can give them.
    """

    def __init__(self, api: ClusterApi) -> None:
        """It uses `api`, and closes nothing."""
        self.lacks: list[str] = []
        self._api = api
        self._cluster = KubernetesCluster(api, lambda *_: None)

    async def read_all(self, namespace: str | None) -> list[Overview]:
        """Read all resources of a namespace, or of all namespaces, without what is around them.

        Raises:
            NoResourceError: Neither kind may be listed.
            OperatorError: They can't be read.
        """
        self.lacks = []
        bodies: list[Mapping[str, Any]] = []
        for kind in KINDS:
            try:
                found = await list_objects(self._api, kind.path(namespace))
            except AbsentError:  # the kind isn't served, as where Applications aren't managed
                continue
            except ForbiddenError:
                self._lack("list", kind, namespace)
                continue
            bodies += [{**body, "kind": kind.name} for body in found]
        bodies.sort(key=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"]))
        return [build_overview(body, Surroundings(), datetime.now(UTC)) for body in bodies]

    async def read_one(self, namespace: str, name: str) -> list[Overview]:
        """Read the Application and the MaskinportenClient of a name, with what is around them.

        Raises:
            NoResourceError: There is neither, or neither may be read.
            OperatorError: They can't be read.
        """
        self.lacks = []
        found = []
        for kind in KINDS:
            try:
                body = await self._cluster.find(kind, namespace, name)
            except ForbiddenError:
                self._lack("get", kind, namespace)
                continue
            if body:
                around = await self._look_around(body)
                found.append(build_overview({**body, "kind": kind.name}, around, datetime.now(UTC)))
        if not found:
            unseen = f". But {'; '.join(self.lacks)}" if self.lacks else ""
            raise NoResourceError(
                f"there is no Application or MaskinportenClient {name} in namespace {namespace}{unseen}"
            )
        return found

    def _lack(self, verb: str, kind: Kind, namespace: str | None) -> None:
        """Note that a kind is left out; nothing is told where that is so of all kinds."""
        self.lacks.append(describe_lack(verb, kind, namespace))
        if len(self.lacks) == len(KINDS):
            raise NoResourceError("; ".join(self.lacks))

    async def _look_around(self, body: Mapping[str, Any]) -> Surroundings:
        namespace, uid = body["metadata"]["namespace"], body["metadata"]["uid"]
        secret = read_status(body).secret_name
        return Surroundings(
            deliveries=await self._read_deliveries(namespace, secret) if secret else None,
            uses=await self._find_uses(namespace, secret) if secret else None,
            events=await self._read_events(namespace, uid),
        )

    async def _find_uses(self, namespace: str, secret: str) -> Sequence[SecretUse] | None:
        try:
            return (await self._cluster.find_uses(namespace, [secret])).get(secret)
        except UNREADABLE:
            return None

    async def _read_deliveries(self, namespace: str, secret: str) -> Mapping[str, datetime] | None:
        """Read since when keys were in a Secret, of which the API server sends the metadata alone."""
        try:
            body = await self._api.request("GET", SECRET.path(namespace, secret), accept=ONE_METADATA)
        except (AbsentError, *UNREADABLE):
            return None
        return parse_deliveries((body["metadata"].get("annotations") or {}).get(DELIVERIES_ANNOTATION))

    async def _read_events(self, namespace: str, uid: str) -> list[Mapping[str, Any]] | None:
        try:
            return await list_objects(self._api, EVENT.path(namespace), fields=f"involvedObject.uid={uid}")
        except UNREADABLE:
            return None


@asynccontextmanager
async def open_status_reader() -> AsyncIterator[StatusReader]:
    """Open a reader of the cluster that kubectl would use.

    Raises:
        ClusterUnknownError: No API server is configured.
    """
    async with AsyncExitStack() as stack:
        yield StatusReader(open_cluster(await load_configuration(), stack))
