"""What the watches know of namespaces: which are being deleted, and which are managed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Metadata = Mapping[str, Any]

MAX_WAIT = 10.0


@dataclass(slots=True)
class WatchedNamespaces:
    """The namespaces that are being deleted, and those that are managed, as the watches have delivered them.

    Attributes:
        on_news: Called with the names of namespaces whose deletion or selection began or ended.
        selects: Whether only some are managed.
    """

    on_news: Callable[[frozenset[str]], None]
    selects: bool = False
    _ending: set[str] = field(default_factory=set)
    _selected: set[str] = field(default_factory=set)
    _selection_listed: asyncio.Event = field(default_factory=asyncio.Event)

    async def ready(self) -> None:
        """Return when it is known which namespaces are managed.

        Raises:
            TransientError: They couldn't be listed so far.
        """
        if not self.selects:
            return
        try:
            async with asyncio.timeout(MAX_WAIT):
                await self._selection_listed.wait()
        except TimeoutError:
            message = "The namespaces that are managed couldn't be listed so far"
            raise TransientError(Reason.CLUSTER_UNAVAILABLE, message) from None

    def is_ending(self, name: str) -> bool:
        """Whether it was seen to be in deletion."""
        return name in self._ending

    def is_selected(self, name: str) -> bool:
        """Whether it is managed."""
        return not self.selects or name in self._selected

    def listen_to_ends(self) -> MembersListener:
        """Give the listener for a watch of all namespaces."""
        return MembersListener(self._ending, self.on_news, lambda metadata: bool(metadata.get("deletionTimestamp")))

    def listen_to_selected(self) -> MembersListener:
        """Give the listener for a watch of the selected namespaces."""
        return MembersListener(self._selected, self.on_news, lambda _: True, self._selection_listed.set)


@dataclass(frozen=True, slots=True)
class MembersListener:
    """Keeps the set of the namespaces that a watch shows and that have a property."""

    members: set[str]
    on_news: Callable[[frozenset[str]], None]
    has_property: Callable[[Metadata], bool]
    on_listed: Callable[[], None] = lambda: None

    def on_list(self, items: Iterable[Metadata], namespace: str | None = None) -> None:  # noqa: ARG002 - all are listed
        """A complete list was read."""
        now = {item["metadata"]["name"] for item in items if self.has_property(item["metadata"])}
        news = frozenset(now ^ self.members)
        self.members.symmetric_difference_update(news)
        self.on_listed()
        if news:
            self.on_news(news)

    def on_change(self, metadata: Metadata) -> None:
        """A namespace was made or changed."""
        self._set(metadata["name"], member=self.has_property(metadata))

    def on_delete(self, metadata: Metadata) -> None:
        """A namespace is gone, or no longer matches."""
        self._set(metadata["name"], member=False)

    def _set(self, name: str, *, member: bool) -> None:
        if member != (name in self.members):
            self.members.symmetric_difference_update({name})
            self.on_news(frozenset({name}))
