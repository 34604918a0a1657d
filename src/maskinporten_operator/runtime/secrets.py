"""Changes of owned Secrets lead back to their owners."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.resources import KIND
from maskinporten_operator.runtime.queue import Key, Priority, WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from maskinporten_operator.runtime.store import ObjectStore, VersionStore


class SecretChanges:
    """Takes in what the metadata watch of our Secrets says. The data never gets here."""

    def __init__(
        self, versions: VersionStore, store: ObjectStore, queue: WorkQueue, note_gap: Callable[[], None] = lambda: None
    ) -> None:
        """`note_gap` is told that changes may have been missed, of the owners too."""
        self._versions = versions
        self._store = store
        self._queue = queue
        self._note_gap = note_gap
        self._unsettled: defaultdict[Key, dict[Key, int]] = defaultdict(dict)

    def on_list(self, items: Iterable[Mapping[str, Any]], namespace: str | None = None) -> None:
        """Take in a complete list of a namespace or of all, as at the start and after a gap."""
        self._note_gap()
        listed = list(items)
        present = {Key(item["metadata"]["namespace"], item["metadata"]["name"]) for item in listed}
        for key in self._versions:
            if key not in present and namespace in {None, key.namespace}:
                self._on_gone(key, ())
        for item in listed:
            self.on_change(item["metadata"])

    def on_change(self, metadata: Mapping[str, Any]) -> None:
        """Take in a Secret that was made or changed."""
        if not self._versions.offer(metadata):
            return
        secret = Key(metadata["namespace"], metadata["name"])
        for owner in self._find_concerned(secret, metadata.get("ownerReferences") or ()):
            if self._queue.is_running(owner):
                # Most likely the echo of the write that this pass is waiting for an answer to.
                self._unsettled[owner][secret] = self._versions.newest(secret)
            else:
                self._queue.add(owner, Priority.CHANGE)

    def on_delete(self, metadata: Mapping[str, Any]) -> None:
        """Take in a Secret that was deleted, or lost the label that we watch."""
        self._on_gone(Key(metadata["namespace"], metadata["name"]), metadata.get("ownerReferences") or ())

    def settle(self, owner: Key) -> None:
        """At the end of a pass: queue the owner again if a change during the pass wasn't the pass's own."""
        changes = self._unsettled.pop(owner, {})
        if any(version != self._versions.own(secret) for secret, version in changes.items()):
            self._queue.add(owner, Priority.CHANGE)

    def _on_gone(self, secret: Key, owners: Iterable[Mapping[str, Any]]) -> None:
        self._versions.remove(secret)
        for owner in self._find_concerned(secret, owners):
            self._queue.add(owner, Priority.CHANGE)

    def _find_concerned(self, secret: Key, owners: Iterable[Mapping[str, Any]]) -> set[Key]:
        """Find those that name the Secret, and those whom it names: one may wait for the other's to go."""
        named = {Key(secret.namespace, owner["name"]) for owner in owners if owner.get("kind") == KIND}
        claimants = self._store.find_claimants(secret.namespace, secret.name)
        return {key for key in named.union(claimants) if self._store.find(key)}
