"""All resources in their newest version: of watch events and of our own writes' answers, whichever is newer."""

from __future__ import annotations

import asyncio
import math
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.application import ApplicationSpec, ApplicationStatus
from maskinporten_operator.model.claims import Claim, claim_secret, find_claims
from maskinporten_operator.model.conditions import AVAILABLE, Reason
from maskinporten_operator.model.declared import UNREAD, keep_declared, name_unread
from maskinporten_operator.model.maskinportenclient import (
    DIGDIRATOR_FINALIZERS,
    FINALIZER,
    MaskinportenClientSpec,
    MaskinportenClientStatus,
    parse,
)
from maskinporten_operator.model.resources import (
    APPLICATION,
    MASKINPORTEN_CLIENT,
    ROTATION_MANAGERS,
    SECRET,
    UNREADABLE,
    InvalidSpec,
)
from maskinporten_operator.model.shared_values import share_values
from maskinporten_operator.model.status_hint import read_status
from maskinporten_operator.model.user_metadata import keep_annotations, keep_labels
from maskinporten_operator.plan.owner_references import MANAGED_BY_LABEL
from maskinporten_operator.reconcile.ports import FirstSeen
from maskinporten_operator.runtime.queue import Key
from maskinporten_operator.runtime.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from pydantic import BaseModel

    from maskinporten_operator.model.resources import Kind, ObjectMeta
    from maskinporten_operator.plan.secret import SecretSummary

    Body = Mapping[str, Any]

MAX_WAIT_FOR_LISTS = 20.0
MODELS: dict[Kind, tuple[type[BaseModel], type[BaseModel]]] = {
    MASKINPORTEN_CLIENT: (MaskinportenClientSpec, MaskinportenClientStatus),
    APPLICATION: (ApplicationSpec, ApplicationStatus),
}
METADATA = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"}
    | {"ownerReferences", ROTATION_MANAGERS}
)
FINALIZERS = frozenset({FINALIZER, *DIGDIRATOR_FINALIZERS})


@dataclass(slots=True)
class Entry:
    """A resource, and what this process knows of it besides.

    Attributes:
        body: The newest version, without what nobody here reads.
    """

    body: Body
    first_seen: FirstSeen
    versions: Versions = field(default_factory=Versions)
    _judged: Body | None = None
    _is_valid: bool = False

    def has_valid_spec(self) -> bool:
        """Whether its spec is valid; cached, since each of many rivals asks."""
        if self._judged is not self.body:
            self._judged, self._is_valid = self.body, has_valid_spec(self.body)
        return self._is_valid

    @property
    def uid(self) -> str:
        """The resource's uid."""
        return str(self.body["metadata"]["uid"])


@dataclass(slots=True)
class WatchedResourceStore:
    """The resources of a kind by key; that of the MaskinportenClients is the `ResourceStore` of a pass.

    Attributes:
        on_gone: Called with the key and uid of every resource that is gone.
        on_released: Called with the keys of those that claim what a resource no longer does.
    """

    kind: Kind
    finalizer: str
    monotonic: Callable[[], float]
    on_gone: Callable[[Key, str], None]
    on_released: Callable[[Iterable[Key]], None] = lambda _: None
    _entries: dict[Key, Entry] = field(default_factory=dict)
    _by_claim: dict[Claim, tuple[Key, ...]] = field(default_factory=dict)
    _assumed_until: float = -math.inf
    _client_ids: dict[str, Counter[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Key]:
        return iter(tuple(self._entries))

    def key_of(self, body: Body) -> Key:
        """Give a resource's key."""
        return Key(self.kind, body["metadata"]["namespace"], body["metadata"]["name"])

    def find(self, key: Key) -> Entry | None:
        """Give the resource of that name."""
        return self._entries.get(key)

    def assume_finalizers(self, until: float) -> None:
        """Another process may have worked until now on any resource, whatever it looks like.

        A watch may lag behind that process's writes, and a resource that is new may have the name, and so the client,
        of one that it worked on. So what is first seen before `until` is treated likewise.
        """
        self._assumed_until = until
        for entry in self._entries.values():
            entry.first_seen = FirstSeen(self.monotonic(), had_finalizer=True)

    def offer(self, body: Body) -> bool:
        """Take in a resource as a watch gave it; say whether that was news."""
        key, version = self.key_of(body), int(body["metadata"]["resourceVersion"])
        entry = self._entries.get(key)
        if entry and not entry.versions.offer(version):
            return False
        if entry and entry.uid != body["metadata"]["uid"]:
            self._drop(key, entry)
            entry = None
        if entry is None:
            now = self.monotonic()
            had_finalizer = now < self._assumed_until or self.finalizer in (body["metadata"].get("finalizers") or ())
            entry = self._entries[key] = Entry({}, FirstSeen(now, had_finalizer), Versions(version))
        self._replace(key, entry, body)
        return True

    def record_own_write(self, body: Body) -> None:
        """Take in a resource as a write of ours left it. One that is gone by now isn't brought back."""
        key, version = self.key_of(body), int(body["metadata"]["resourceVersion"])
        entry = self._entries.get(key)
        if entry is None or entry.uid != body["metadata"]["uid"]:
            return
        if entry.versions.record_own_write(version):
            self._replace(key, entry, body)

    def remove(self, key: Key, uid: str) -> None:
        """The resource is gone."""
        entry = self._entries.get(key)
        if entry and entry.uid == uid:
            self._drop(key, entry)

    def keep_only(self, uids: Iterable[str]) -> list[Key]:
        """Drop the resources whose uid isn't in a complete list: a watch lacks the deletions of a gap."""
        present = set(uids)
        gone = [(key, entry) for key, entry in self._entries.items() if entry.uid not in present]
        for key, entry in gone:
            self._drop(key, entry)
        return [key for key, _ in gone]

    def has_moved(self, key: Key, began: Body) -> bool:
        """Whether somebody else changed what decisions depend on since a pass began with `began`."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        if entry.versions.has_foreign_write(int(began["metadata"]["resourceVersion"])):
            return True
        return decisive(entry.body) != decisive(began)

    def find_rival(
        self, meta: ObjectMeta, claim: Claim, is_selected: Callable[[str], bool] = lambda _: True
    ) -> tuple[str, str] | None:
        """Find an older resource, by namespace and name, that claims the same and is managed."""
        rivals = []
        for key in self._by_claim.get(claim, ()):
            entry = self._entries[key]
            other = entry.body["metadata"]
            is_excluded = other.get("deletionTimestamp") or not is_selected(key.namespace)
            if other["uid"] != meta.uid and not is_excluded and entry.has_valid_spec():
                rivals.append((other["creationTimestamp"], other["uid"], key.namespace, key.name))
        oldest = min(rivals, default=None)
        return oldest[2:] if oldest and oldest[:2] < (meta.created, meta.uid) else None

    def find_claimants(self, namespace: str, secret_name: str) -> tuple[Key, ...]:
        """Give the resources that name a Secret."""
        return self._by_claim.get(claim_secret(namespace, secret_name), ())

    def known_client_ids(self, is_selected: Callable[[str], bool] = lambda _: True) -> Iterator[AbstractSet[str]]:
        """Give, by namespace, the client ids in the statuses of resources that are managed and aren't being deleted."""
        return (ids.keys() for namespace, ids in self._client_ids.items() if is_selected(namespace))

    def _replace(self, key: Key, entry: Entry, body: Body) -> None:
        if entry.body and entry.body["metadata"].get("generation") != body["metadata"].get("generation"):
            # What an older list says of another spec's registration is no answer to this one.
            entry.first_seen = replace(entry.first_seen, at=self.monotonic())
        body = trim(self.kind, body)
        before, after = find_claims(entry.body), find_claims(body)
        for claim in before - after:
            self._release(key, claim)
        for claim in after - before:
            self._by_claim[claim] = (*self._by_claim.get(claim, ()), key)
        self._count_client(key, entry.body, -1)
        self._count_client(key, body, 1)
        entry.body = body

    def _count_client(self, key: Key, body: Body, change: int) -> None:
        """Keep count of how many resources of a namespace name a client."""
        client_id = read_status(body).client_id
        if client_id is None or body["metadata"].get("deletionTimestamp"):
            return
        ids = self._client_ids.setdefault(key.namespace, Counter())
        ids[client_id] += change
        if not ids[client_id]:
            del ids[client_id]
        if not ids:
            del self._client_ids[key.namespace]

    def _drop(self, key: Key, entry: Entry) -> None:
        self._count_client(key, entry.body, -1)
        for claim in find_claims(entry.body):
            self._release(key, claim)
        del self._entries[key]
        self.on_gone(key, entry.uid)

    def _release(self, key: Key, claim: Claim) -> None:
        if keys := tuple(one for one in self._by_claim[claim] if one != key):
            self._by_claim[claim] = keys
            self.on_released(keys)
        else:
            del self._by_claim[claim]


class VersionStore:
    """The resourceVersions of owned objects, which are not kept themselves."""

    def __init__(self) -> None:
        self._versions: dict[Key, Versions] = {}
        self._summaries: dict[Key, SecretSummary] = {}

    def __iter__(self) -> Iterator[Key]:
        return iter(tuple(self._versions))

    def __contains__(self, key: Key) -> bool:
        return key in self._versions

    def offer(self, key: Key, version: int) -> bool:
        """Take in a version as a watch gave it; say whether it was news."""
        return self._versions.setdefault(key, Versions()).offer(version)

    def record_own_write(self, key: Key, version: int) -> None:
        """Take in the version that a write of ours made."""
        self._versions.setdefault(key, Versions()).record_own_write(version)

    def own(self, key: Key) -> int:
        """Give the version that our last write made; 0 if there was none."""
        return self._versions[key].own if key in self._versions else 0

    def newest(self, key: Key) -> int:
        """Give the newest version; 0 if the object isn't known."""
        return self._versions[key].newest if key in self._versions else 0

    def remember(self, key: Key, summary: SecretSummary | None) -> None:
        """Remember what was read of a Secret; None if it has to be read each time, as one that isn't watched has."""
        if summary and key in self._versions:
            self._summaries[key] = summary
        else:
            self._summaries.pop(key, None)

    def recall(self, key: Key) -> SecretSummary | None:
        """Give what was read of a Secret, unless it has moved since."""
        summary = self._summaries.get(key)
        return summary if summary and summary.version == self.newest(key) else None

    def remove(self, key: Key) -> None:
        """The object is gone."""
        self._versions.pop(key, None)
        self._summaries.pop(key, None)


class FirstLists:
    """The first lists of the Secrets with our label, one for each namespace that is watched by itself.

    They tell of all Secrets at once what passes would read one by one; where they don't come, passes do that.
    """

    def __init__(self, namespaces: Iterable[str | None] = ()) -> None:
        """`namespaces` are those that are watched; None stands for all."""
        self._awaited = set(namespaces)
        self._come = asyncio.Event()
        self._deadline: float | None = None

    def take(self, namespace: str | None) -> None:
        """A list has come."""
        self._awaited.discard(namespace)
        if not self._awaited:
            self._come.set()

    async def wait(self) -> None:
        """Return when all have come, or `MAX_WAIT_FOR_LISTS` seconds after somebody first waited."""
        if not self._awaited:
            return
        now = asyncio.get_running_loop().time()
        self._deadline = self._deadline or now + MAX_WAIT_FOR_LISTS
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._deadline):
                await self._come.wait()


@dataclass(frozen=True, slots=True)
class WatchedChildren:
    """The objects that Applications own, as the watches have delivered them."""

    clients: WatchedResourceStore
    versions: VersionStore
    secrets: FirstLists
    applications: WatchedResourceStore | None = None
    find_names: Callable[[Kind, Key], tuple[str, ...]] | None = None

    def is_rolling_out(self, namespace: str, name: str) -> bool:
        """Whether the Application of that name is known to have a rollout under way."""
        entry = self.applications.find(Key(APPLICATION, namespace, name)) if self.applications else None
        available = read_status(entry.body).find_condition(AVAILABLE) if entry else None
        return available is not None and available.reason in {Reason.ROLLING_OUT, Reason.ROLLOUT_FAILED}

    async def secrets_listed(self) -> None:
        """Return when the Secrets with our label have been listed once, or that takes too long."""
        await self.secrets.wait()

    def recall_secret(self, namespace: str, name: str) -> SecretSummary | None:
        """Give what is remembered of a Secret that hasn't moved since it was read; None if it must be read."""
        return self.versions.recall(Key(SECRET, namespace, name))

    def forget_secret(self, namespace: str, name: str) -> None:
        """Forget it: it is about to be written, and the answer to that may be lost."""
        self.versions.remember(Key(SECRET, namespace, name), None)

    def find_client(self, namespace: str, name: str) -> Body | None:
        """Give a MaskinportenClient in its newest version, whoever made it."""
        entry = self.clients.find(Key(self.clients.kind, namespace, name))
        return entry.body if entry else None

    def contains(self, kind: Kind, namespace: str, name: str) -> bool:
        """Whether there is an object of that name with our label."""
        return Key(kind, namespace, name) in self.versions

    def find_owned(self, kind: Kind, meta: ObjectMeta) -> tuple[str, ...]:
        """Give the names of the objects of a kind with our label that an Application of this name owns."""
        return self.find_names(kind, Key(meta.kind, meta.namespace, meta.name)) if self.find_names else ()


def key_of(kind: Kind, metadata: Body) -> Key:
    """Give an object's key."""
    return Key(kind, sys.intern(metadata["namespace"]), sys.intern(metadata["name"]))


def trim(kind: Kind, body: Body) -> Body:
    """Keep of a resource what decisions may depend on, whatever else is written into it, and name what isn't kept."""
    spec, status = MODELS[kind]
    metadata = body["metadata"]
    kept = {name: value for name, value in metadata.items() if name in METADATA}
    kept["finalizers"] = [one for one in metadata.get("finalizers") or () if one in FINALIZERS]
    kept["annotations"] = keep_annotations(metadata.get("annotations"))
    labels = metadata.get("labels") or {}
    kept["labels"] = keep_labels(labels) | {name: labels[name] for name in (MANAGED_BY_LABEL,) if name in labels}
    kept |= {name: sys.intern(kept[name]) for name in ("namespace", "name")}
    omissions = {UNREADABLE: body.get(UNREADABLE), UNREAD: body.get(UNREAD) or name_unread(spec, body.get("spec"))}
    return {
        "metadata": share_values(kept),
        "spec": share_values(keep_declared(spec, body.get("spec") or {})),
        "status": share_values(keep_declared(status, read_status(body).fields)),
        **{name: what for name, what in omissions.items() if what},
    }


def has_valid_spec(body: Body) -> bool:
    """Whether a MaskinportenClient can be acted on as it is written."""
    return not isinstance(parse(body).spec, InvalidSpec)


def decisive(body: Body) -> tuple[Any, ...]:
    """Give what decisions depend on: a change of it asks for a pass."""
    metadata = body["metadata"]
    requests = keep_annotations(metadata.get("annotations"))
    return metadata.get("generation"), metadata.get("deletionTimestamp"), requests, keep_labels(metadata.get("labels"))
