"""Changes of owned Secrets lead back to their owners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.resources import KIND
from maskinporten_operator.runtime.queue import Key, Priority, WorkQueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from maskinporten_operator.runtime.store import ObjectStore, VersionStore


class SecretChanges:
    """Takes in what the metadata watch of our Secrets says. The data never gets here."""

    def __init__(self, versions: VersionStore, store: ObjectStore, queue: WorkQueue) -> None:
        self._versions = versions
        self._store = store
        self._queue = queue

    def on_list(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Take in a complete list, as at the start and after a gap."""
        listed = list(items)
        present = {Key(item["metadata"]["namespace"], item["metadata"]["name"]) for item in listed}
        for key in self._versions:
            if key not in present:
                self._on_gone(key, ())
        for item in listed:
            self.on_change(item["metadata"])

    def on_change(self, metadata: Mapping[str, Any]) -> None:
        """Take in a Secret that was made or changed."""
        if self._versions.offer(metadata):
            self._tell(Key(metadata["namespace"], metadata["name"]), metadata.get("ownerReferences") or ())

    def on_delete(self, metadata: Mapping[str, Any]) -> None:
        """Take in a Secret that was deleted, or lost the label that we watch."""
        self._on_gone(Key(metadata["namespace"], metadata["name"]), metadata.get("ownerReferences") or ())

    def _on_gone(self, key: Key, owners: Iterable[Mapping[str, Any]]) -> None:
        self._versions.remove(key)
        self._tell(key, owners)

    def _tell(self, secret: Key, owners: Iterable[Mapping[str, Any]]) -> None:
        """Queue those that name the Secret, and those whom it names: one may wait for the other's to go."""
        keys = {Key(secret.namespace, owner["name"]) for owner in owners if owner.get("kind") == KIND}
        for key in keys | set(self._store.find_claimants(secret.namespace, secret.name)):
            if self._store.find(key):
                self._queue.add(key, Priority.CHANGE)
