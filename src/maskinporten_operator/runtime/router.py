"""Which passes follow from watch events, from our own writes, and from the end of a pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.maskinportenclient import FINALIZER
from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT, SECRET
from maskinporten_operator.plan.secret import ObservedSecret, summarize_secret
from maskinporten_operator.runtime.owned_changes import OwnedChanges
from maskinporten_operator.runtime.queue import Key, Priority
from maskinporten_operator.runtime.store import FirstLists, VersionStore, WatchedResourceStore, decisive, key_of
from maskinporten_operator.runtime.urgency import find_urgency, find_urgency_of_listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from maskinporten_operator.model.resources import Kind
    from maskinporten_operator.runtime.queue import PassQueue

    Body = Mapping[str, Any]


class Router:
    """Keeps the stores and queues the passes.

    Attributes:
        stores: The resources of each kind that is managed.
        owned: What takes in the changes of owned objects, by the owners' kind.
        secret_lists: The first lists of Secrets.
    """

    def __init__(
        self,
        kinds: Iterable[Kind],
        queue: PassQueue,
        monotonic: Callable[[], float],
        forget: Callable[[str], None],
        note_gap: Callable[[], None],
        namespaces: Iterable[str | None] = (),
    ) -> None:
        """`forget` is called with the uid of what is gone; `note_gap`, when a watch may have missed something.

        `namespaces` are those whose Secrets are listed at the start; None stands for all.
        """
        self._queue = queue
        self._forget = forget
        self._note_gap = note_gap
        self.versions = VersionStore()
        self.secret_lists = FirstLists(namespaces)
        self.stores = {
            kind: WatchedResourceStore(kind, FINALIZER, monotonic, self._take_absence, self._queue_all)
            for kind in kinds
        }
        self.owned = {
            kind: OwnedChanges(self.versions, store, queue, note_gap, self.secret_lists.take)
            for kind, store in self.stores.items()
        }

    def on_event(self, kind: Kind, event: str | None, body: Body) -> None:
        """Take in what a watch of resources saw; `event` is None in its first list, and in one after a gap."""
        store = self.stores[kind]
        key = store.key_of(body)
        before = store.find(key)
        if event == "DELETED":
            store.remove(key, body["metadata"]["uid"])
            return
        if event is None and before:
            self._note_gap()
        began = before.body if before else {}
        # While a pass runs, what it ends with decides whether there must be another one.
        if store.offer(body):
            if not self._queue.is_running(key):
                self._queue.add(key, find_urgency(body) if event else find_urgency_of_listed(body))
            self._queue_application_after_change(key, began)

    def record_own_write(self, kind: Kind, body: Body) -> None:
        """Take in an object as a write of ours left it."""
        store = self.stores.get(kind)
        if store is None:
            self.versions.record_own_write(key_of(kind, body["metadata"]), int(body["metadata"]["resourceVersion"]))
            if kind == SECRET:
                self.remember_secret(ObservedSecret(body))
            for owned in self.owned.values():
                owned.take_write(kind, body["metadata"])
            return
        key = store.key_of(body)
        before = store.find(key)
        began = before.body if before else None
        store.record_own_write(body)
        if began and decisive(began) != decisive(body):
            # An Application's pass changed a MaskinportenClient, or saw a user's change: no event will be news of that.
            self._queue.add(key, Priority.CHANGE)

    def remember_secret(self, secret: ObservedSecret) -> None:
        """Remember of a Secret that was read or written what isn't secret."""
        self.versions.remember(key_of(SECRET, secret.manifest["metadata"]), summarize_secret(secret))

    def settle(self, key: Key, began: Body) -> None:
        """At the end of a pass: queue the passes that follow from its result, or from what changed meanwhile."""
        store = self.stores[key.kind]
        entry = store.find(key)
        if entry is None or entry.uid != began["metadata"]["uid"]:
            self._forget(began["metadata"]["uid"])  # it vanished during the pass
        if entry and store.has_moved(key, began):
            self._queue.add(key, find_urgency(entry.body))
        self.owned[key.kind].settle(key)
        self._queue_application_after_change(key, began)

    def queue_all(self) -> None:
        """Queue all resources, as they are at a start."""
        for store in self.stores.values():
            for key in store:
                if entry := store.find(key):
                    self._queue.add(key, find_urgency_of_listed(entry.body))

    def on_namespaces(self, names: frozenset[str]) -> None:
        """Queue all resources of namespaces whose deletion or selection began or ended."""
        self._queue_all(key for store in self.stores.values() for key in store if key.namespace in names)

    def _queue_application_after_change(self, key: Key, began: Body) -> None:
        entry = self.stores[key.kind].find(key)
        if key.kind == MASKINPORTEN_CLIENT and entry and _visible(entry.body) != _visible(began):
            self._queue_application(key)

    def _queue_application(self, key: Key) -> None:
        """Queue the Application of a MaskinportenClient's name: it owns it, or waits for it to go."""
        store = self.stores.get(APPLICATION)
        application = key._replace(kind=APPLICATION)
        if key.kind == MASKINPORTEN_CLIENT and store and store.find(application):
            self._queue.add(application, Priority.CHANGE)

    def _take_absence(self, key: Key, uid: str) -> None:
        self._forget(uid)
        self._queue.forget(key)
        self._queue_application(key)

    def _queue_all(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._queue.add(key, Priority.CHANGE)


def _visible(body: Body) -> tuple[Any, ...]:
    """Give what an Application depends on in its MaskinportenClient."""
    metadata = body.get("metadata") or {}
    return (
        body.get("spec"),
        body.get("status"),
        metadata.get("deletionTimestamp"),
        metadata.get("ownerReferences"),
        metadata.get("labels"),
    )
