"""What passes remember of a resource between them. Losing all of it at a restart is safe."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from maskinporten_operator.plan.maskinportenclient import LOOK_AGAIN_FOR_ABSENT

if TYPE_CHECKING:
    from maskinporten_operator.model.keys import PrivateJwk

HOUR = 3600.0


class Memory:
    """By the resource's uid: keys on their way, keys made lately, and since when something is missed."""

    def __init__(self) -> None:
        self._pending: dict[str, PrivateJwk] = {}
        self._mints: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=16))
        self._absent_since: dict[str, float] = {}
        self._waiting_since: dict[str, float] = {}
        self._visited: set[str] = set()

    def pending_key(self, uid: str) -> PrivateJwk | None:
        """Give the key that an earlier pass minted and that hasn't reached the Secret: it is used, not another."""
        return self._pending.get(uid)

    def record_mint(self, uid: str, key: PrivateJwk, now: float) -> None:
        """Remember a new key until it is in the Secret, and that it was made (`now` in monotonic seconds)."""
        self._pending[uid] = key
        self._mints[uid].append(now)

    def record_delivery(self, uid: str) -> None:
        """Forget the key on its way: the Secret has it."""
        self._pending.pop(uid, None)

    def recent_mints(self, uid: str, now: float) -> int:
        """Count the keys made within the last hour, without the one on its way: to use it is to make none."""
        mints = tuple(self._mints.get(uid, ()))
        return sum(now - moment < HOUR for moment in (mints[:-1] if uid in self._pending else mints))

    def count_absent(self, uid: str, now: float) -> int:
        """Count the passes that found the registration gone, this one included; sooner ones don't count again."""
        since = self._absent_since.setdefault(uid, now)
        return 2 if now - since >= LOOK_AGAIN_FOR_ABSENT else 1

    def absent_since(self, uid: str) -> float | None:
        """Say since when the registration is missed (monotonic seconds), if it is."""
        return self._absent_since.get(uid)

    def record_presence(self, uid: str) -> None:
        """The registration is there."""
        self._absent_since.pop(uid, None)

    def record_visit(self, uid: str) -> bool:
        """Remember that a pass was made over the resource; say whether it is the first."""
        is_first = uid not in self._visited
        self._visited.add(uid)
        return is_first

    def count_waiting(self, uid: str, now: float) -> float:
        """Count the seconds since the resource's child was first found to have nothing to say."""
        return now - self._waiting_since.setdefault(uid, now)

    def record_answer(self, uid: str) -> None:
        """The child has said how it is."""
        self._waiting_since.pop(uid, None)

    def forget(self, uid: str) -> None:
        """The resource is gone."""
        self._pending.pop(uid, None)
        self._mints.pop(uid, None)
        self._absent_since.pop(uid, None)
        self._waiting_since.pop(uid, None)
        self._visited.discard(uid)
