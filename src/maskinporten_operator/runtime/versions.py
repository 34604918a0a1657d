"""Which versions of an object are news, and whether anybody else changed it: the rule on echoes of our own writes.

A watch may show an object as it was before a write of ours, or as that write left it. A pass that began on such an echo
would act twice. resourceVersions are compared as integers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Versions:
    """What is known of one object's resourceVersions.

    Attributes:
        newest: The newest, of watch events and of our own writes' answers.
        own: The newest that a write of ours made; 0 if there was none.
    """

    newest: int = 0
    own: int = 0

    def offer(self, version: int) -> bool:
        """Take in a version; say whether it was news."""
        if version <= self.newest:
            return False
        self.newest = version
        return True

    def record_own_write(self, version: int) -> bool:
        """Take in the version that a write of ours made; say whether it was news."""
        self.own = max(self.own, version)
        return self.offer(version)

    def has_foreign_write(self, since: int) -> bool:
        """Whether somebody else wrote after the version `since`, and after our last write."""
        return self.newest > max(self.own, since)
