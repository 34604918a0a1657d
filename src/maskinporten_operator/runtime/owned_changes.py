"""Queues the owners of objects that changed."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from maskinporten_operator.model.resources import HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET, SECRET
from maskinporten_operator.plan.owner_references import APP_LABEL
from maskinporten_operator.runtime.queue import Key, Priority
from maskinporten_operator.runtime.store import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from maskinporten_operator.model.resources import Kind, ObjectMeta
    from maskinporten_operator.runtime.queue import PassQueue
    from maskinporten_operator.runtime.store import VersionStore, WatchedResourceStore

    Metadata = Mapping[str, Any]


UNSTEADY_KINDS = frozenset({HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET})
"""Kinds with a status that moves all the time, and that nobody here reads."""
SUMMARY = "summary"
"""Beside an object's metadata: the summary of a Secret."""


class OwnedChanges:
    """Queues resources of one kind when what they own changes; of that it gets metadata only."""

    def __init__(
        self,
        versions: VersionStore,
        store: WatchedResourceStore,
        queue: PassQueue,
        note_gap: Callable[[], None] = lambda: None,
        on_secrets_listed: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        """`store` holds the owners; `note_gap` is called when changes may have been missed, of the owners too.

        `on_secrets_listed` is called with the namespace whose Secrets have been listed; None stands for all.
        """
        self._versions = versions
        self._store = store
        self._queue = queue
        self._note_gap = note_gap
        self._on_secrets_listed = on_secrets_listed
        self._listed: set[tuple[Kind, str | None]] = set()  # the kinds that were, by namespace
        self._owners: dict[Key, tuple[Key, ...]] = {}
        self._owned: dict[Key, tuple[Key, ...]] = {}
        self._marks: dict[Key, int] = {}
        self._unsettled: defaultdict[Key, dict[Key, int]] = defaultdict(dict)

    def listen(self, kind: Kind) -> OwnedListener:
        """Give the listener for a watch of a kind of owned objects."""
        return OwnedListener(kind, self)

    def take_list(self, kind: Kind, items: Iterable[Metadata], namespace: str | None) -> None:
        """Take in a complete list of a namespace or of all, as at the start and after a gap."""
        if (kind, namespace) in self._listed:
            self._note_gap()
        self._listed.add((kind, namespace))
        listed = list(items)
        present = {key_of(kind, item["metadata"]) for item in listed}
        for key in self._versions:
            if key.kind == kind and key not in present and namespace in {None, key.namespace}:
                self._take_absence(key)
        for item in listed:
            self.take_change(kind, item["metadata"])
            if SUMMARY in item:
                self._versions.remember(key_of(kind, item["metadata"]), item[SUMMARY])
        if kind == SECRET:
            self._on_secrets_listed(namespace)

    def compare(self, kind: Kind, before: Mapping[Key, int], items: Iterable[Metadata]) -> None:
        """Take in a list that was read besides the watch: what the watch missed is news.

        `before` are the versions that were known before the list was begun. Of an item that isn't news, the name is
        enough.
        """
        listed = {key_of(kind, item["metadata"]) for item in items}
        for key, version in before.items():
            if key not in listed and self._versions.newest(key) == version:
                self._take_absence(key)
        for item in items:
            if "resourceVersion" in item["metadata"]:
                self.take_change(kind, item["metadata"])

    def is_news(self, kind: Kind, metadata: Metadata) -> bool:
        """Whether an object isn't known as it is here, or not whose it is."""
        key = key_of(kind, metadata)
        return key not in self._owners or self._versions.newest(key) < int(metadata["resourceVersion"])

    def take_change(self, kind: Kind, metadata: Metadata) -> None:
        """Take in an object that was made or changed."""
        key = key_of(kind, metadata)
        owners = self._find_owners(key, metadata)
        self._record_owners(key, owners)  # whom a list without the object wakes up
        version = int(metadata["resourceVersion"])
        if not self._versions.offer(key, version) or not self._has_changed(key, metadata):
            return
        for owner in self._find_concerned(key, owners):
            if self._queue.is_running(owner):
                # Most likely the echo of the write that this pass is waiting for an answer to.
                self._unsettled[owner][key] = version
            else:
                self._queue.add(owner, _find_urgency(kind))

    def take_deletion(self, kind: Kind, metadata: Metadata) -> None:
        """Take in an object that was deleted, or lost the label that we watch."""
        key = key_of(kind, metadata)
        self._record_owners(key, self._find_owners(key, metadata))
        self._take_absence(key)

    def take_write(self, kind: Kind, metadata: Metadata) -> None:
        """Take in an object as a write of ours left it, whose watch event won't be news.

        Its controlling owner's pass wrote it; all others that it concerns are queued.
        """
        key = key_of(kind, metadata)
        self._has_changed(key, metadata)
        references = metadata.get("ownerReferences") or ()
        writer = self._find_owners(key, {"ownerReferences": [one for one in references if one.get("controller")]})
        owners = self._find_owners(key, metadata)
        self._record_owners(key, owners)  # a pass that follows before the watch's event must know of it
        for other in self._find_concerned(key, owners).difference(writer):
            self._queue.add(other, _find_urgency(kind))

    def find_owned(self, kind: Kind, owner: Key) -> tuple[str, ...]:
        """Give the names of the objects of a kind that a resource owns, sorted; owners are told apart by name only."""
        return tuple(sorted(key.name for key in self._owned.get(owner, ()) if key.kind == kind))

    def settle(self, owner: Key) -> None:
        """At the end of a pass: queue the owner again if a change during the pass wasn't the pass's own."""
        changes = self._unsettled.pop(owner, {})
        if any(version != self._versions.own(key) for key, version in changes.items()):
            self._queue.add(owner, Priority.CHANGE)

    def _has_changed(self, key: Key, metadata: Metadata) -> bool:
        """Whether more than a status changed since the last look; remembers that."""
        if key.kind not in UNSTEADY_KINDS:
            return True
        parts = [metadata.get(part) for part in ("uid", "generation", "deletionTimestamp", "ownerReferences")]
        made_for = (metadata.get("labels") or {}).get(APP_LABEL)
        mark = hash(msgspec.json.encode([*parts, made_for], order="sorted"))
        before, self._marks[key] = self._marks.get(key), mark
        return mark != before

    def _take_absence(self, key: Key) -> None:
        self._marks.pop(key, None)
        self._versions.remove(key)
        for owner in self._find_concerned(key, self._record_owners(key, ())):
            self._queue.add(owner, Priority.REPAIR)

    def _record_owners(self, key: Key, owners: tuple[Key, ...]) -> tuple[Key, ...]:
        """Record who owns an object, nobody if it is gone; give who did before."""
        before = self._owners.pop(key, ())
        if owners:
            self._owners[key] = owners
        for owner in before:
            if left := tuple(one for one in self._owned[owner] if one != key):
                self._owned[owner] = left
            else:
                del self._owned[owner]
        for owner in owners:
            self._owned[owner] = (*self._owned.get(owner, ()), key)
        return before

    def _find_owners(self, key: Key, metadata: Metadata) -> tuple[Key, ...]:
        """Find the owners by reference; of an object that lost its owner, whom it was made for by its label."""
        kind, references = self._store.kind, metadata.get("ownerReferences") or ()
        names = [one["name"] for one in references if one.get("kind") == kind.name]
        if not references and (label := (metadata.get("labels") or {}).get(APP_LABEL)):
            names = [label]
        return tuple(Key(kind, key.namespace, sys.intern(name)) for name in dict.fromkeys(names))

    def _find_concerned(self, key: Key, owners: Iterable[Key]) -> set[Key]:
        """Find the owners that are known, and those that name the object as their Secret: one may wait for it to go."""
        claimants = self._store.find_claimants(key.namespace, key.name) if key.kind == SECRET else ()
        return {one for one in (*owners, *claimants) if self._store.find(one)}


def _find_urgency(kind: Kind) -> Priority:
    """Give the priority of a change: of a Secret it damages credentials."""
    return Priority.REPAIR if kind == SECRET else Priority.CHANGE


@dataclass(frozen=True, slots=True)
class WatchedSecrets:
    """The Secrets that MaskinportenClients own, as the watch has delivered them."""

    changes: OwnedChanges

    def find_owned(self, meta: ObjectMeta) -> tuple[str, ...]:
        """Give the names of those that a resource of this name owns, sorted."""
        return self.changes.find_owned(SECRET, Key(meta.kind, meta.namespace, meta.name))


@dataclass(frozen=True, slots=True)
class OwnedListener:
    """The listener of one watch, with its kind."""

    kind: Kind
    changes: OwnedChanges

    def on_list(self, items: Iterable[Metadata], namespace: str | None = None) -> None:
        """A complete list was read, of a namespace or of all."""
        self.changes.take_list(self.kind, items, namespace)

    def on_change(self, metadata: Metadata) -> None:
        """An object was made or changed."""
        self.changes.take_change(self.kind, metadata)

    def on_delete(self, metadata: Metadata) -> None:
        """An object was deleted, or no longer matches."""
        self.changes.take_deletion(self.kind, metadata)
