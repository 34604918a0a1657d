"""Scopes that the organisation owns at DigDir, and who may use them."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def matches_any(scope: str, patterns: Iterable[str]) -> bool:
    """Whether a scope's name matches one of the patterns, where * stands for any characters; in any case of letters."""
    return any(fnmatchcase(scope.lower(), pattern.lower()) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class RegisteredScope:
    """A scope as read. `fields` are its members; of a scope that is listed and isn't ours, only a few."""

    name: str
    fields: Mapping[str, Any]

    @property
    def subscope(self) -> str:
        """What stands after the prefix."""
        return str(self.fields.get("subscope") or self.name.partition(":")[2])

    @property
    def description(self) -> str:
        """It says whose ours are; free text on others."""
        return str(self.fields.get("description") or "")

    @property
    def active(self) -> bool:
        """Whether tokens are issued for it. Nothing is ever erased: a deleted scope is an inactive one."""
        return self.fields.get("active", True) is True


@dataclass(frozen=True, slots=True)
class AccessList:
    """Which organisations may use a scope, by organisation number.

    Attributes:
        consumers: Those with access; a row that is denied or merely requested is none.
        unconfirmed: Those whose last write had no answer; it is repeated.
        refused: Those whom DigDir refused since the list was last read, and what it said.
    """

    consumers: frozenset[str] = frozenset()
    unconfirmed: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)

    def granted(self, orgno: str) -> Self:
        """Give the list after an organisation was granted access."""
        return self._replace(orgno, self.consumers | {orgno})

    def revoked(self, orgno: str) -> Self:
        """Give the list after an organisation's access was taken back."""
        return self._replace(orgno, self.consumers - {orgno})

    def after_lost_answer(self, orgno: str) -> Self:
        """Give the list after the answer to a write was lost."""
        return type(self)(self.consumers, self.unconfirmed | {orgno}, self.refused)

    def refusing(self, orgno: str, message: str) -> Self:
        """Give the list after DigDir refused an organisation."""
        return type(self)(self.consumers, self.unconfirmed - {orgno}, {**self.refused, orgno: message})

    def _replace(self, orgno: str, consumers: frozenset[str]) -> Self:
        refused = {other: message for other, message in self.refused.items() if other != orgno}
        return type(self)(consumers, self.unconfirmed - {orgno}, refused)


@dataclass(frozen=True, slots=True)
class Granted:
    """Which scopes the organisation's clients may register according to DigDir's lists. Each is a full name.

    Attributes:
        names: Those that are listed, out of those that were asked about.
        due: Seconds until a fresher answer may be had about the others; 0 if this one is fresh.
        own: Those of `names` that are the organisation's own, and that nothing else allows: DigDir may want it to be
            among their consumers.
        withdrawn: Those that were allowed once, and aren't any more.
        unread: The lists that couldn't be read when that was tried last.
    """

    names: frozenset[str]
    orgno: str | None = None
    due: float = 0.0
    own: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()

    @property
    def certain(self) -> frozenset[str]:
        """Those that the organisation was granted, or that are open to all or may be delegated."""
        return self.names - self.own
