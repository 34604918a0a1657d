"""What passes remember of a resource between them. Losing all of it at a restart is safe."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maskinporten_operator.plan.consumed_scopes import REFUSAL_RECHECK_SECONDS
from maskinporten_operator.plan.search import ABSENCE_RECHECK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from maskinporten_operator.model.blockers import Blocker
    from maskinporten_operator.model.jwk import PrivateJwk
    from maskinporten_operator.plan.children import ChildName
    from maskinporten_operator.plan.secret_uses import SecretUse

HOUR = 3600.0
MAX_REMEMBERED_MINTS = 16
MAX_AGING = 4
"""How many keys are replaced for their age at once, over all resources."""
MIN_AGING_SECONDS = 60.0
MAX_AGING_SECONDS = 1800.0
"""How long one of them counts, at least and at most."""
OUTAGE_SECONDS = 600.0
"""How long after DigDir failed none is begun."""
MAX_USES_AGE = 600.0
"""Seconds for which it is remembered who uses a Secret."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """DigDir refused to register a consumed scope.

    Attributes:
        words: What it said.
        generation: That of the spec that names the scope.
        listed: Whether a list had it as granted then; a list that has it only later outranks the refusal.
        at: When it was refused (monotonic seconds).
    """

    words: str
    generation: int
    listed: bool
    at: float


@dataclass(slots=True)
class Round:
    """Several passes that share work too large for one; none repeats what another did.

    Attributes:
        began: When the first of them began (monotonic seconds).
        generation: That of the spec.
        anew: Whether the resource asks for everything to be read.
        deletes: Whether they delete what is the resource's: what others read tells nothing of that.
        read: The scopes that were read alone.
        refusals: By scope, why it couldn't be read or changed.
    """

    began: float
    generation: int
    anew: bool
    deletes: bool = False
    read: set[str] = field(default_factory=set)
    refusals: dict[str, Blocker] = field(default_factory=dict)


class Memory:
    """State by the resource's uid: keys not yet in a Secret, absence, refusals, conflicts. By client: keys minted."""

    def __init__(self) -> None:
        self._pending: dict[str, PrivateJwk] = {}
        self._published_at: dict[str, float] = {}
        self._mints: dict[str, tuple[tuple[float, str], ...]] = {}  # those of which a key was made last come last
        self._absent_since: dict[str, float] = {}
        self._waiting_since: dict[str, float] = {}
        self._rolling_out_since: dict[str, float] = {}
        self._visited: set[str] = set()
        self._refusals: defaultdict[str, dict[str, Refusal]] = defaultdict(dict)
        self._tried: set[str] = set()
        self._conflicts: dict[str, int] = {}
        self._rounds: dict[str, Round] = {}
        self._mutations: defaultdict[str, dict[ChildName, Mapping[str, Any]]] = defaultdict(dict)
        self._aging: dict[str, float] = {}
        self._outage_at = -math.inf
        self._uses: dict[str, tuple[float, Mapping[str, tuple[SecretUse, ...]]]] = {}

    def pending_key(self, uid: str) -> PrivateJwk | None:
        """Give the key that an earlier pass minted and that isn't in the Secret yet, to be used before a new one."""
        return self._pending.get(uid)

    def record_mint(self, uid: str, client_id: str, key: PrivateJwk, now: float) -> None:
        """Remember a new key until it is in the Secret, and for an hour that it was made (`now` in monotonic seconds).

        The latter by the client, which a resource that is deleted and created again keeps.
        """
        self._pending[uid] = key
        self._published_at.pop(uid, None)
        self._mints[client_id] = (*self._mints.pop(client_id, ()), (now, key.kid))[-MAX_REMEMBERED_MINTS:]
        while now - self._mints[oldest := next(iter(self._mints))][-1][0] >= HOUR:
            del self._mints[oldest]

    def record_publication(self, uid: str, now: float) -> None:
        """The key on its way is registered since `now` (monotonic seconds)."""
        self._published_at.setdefault(uid, now)

    def published_at(self, uid: str) -> float | None:
        """Say since when the key on its way is registered (monotonic seconds), if it is."""
        return self._published_at.get(uid)

    def record_delivery(self, uid: str) -> None:
        """Forget the pending key: the Secret has it."""
        self._pending.pop(uid, None)
        self._published_at.pop(uid, None)
        self._uses.pop(uid, None)  # what was begun since then may use the key before

    def begin_aging(self, uid: str, now: float) -> bool:
        """Say whether a key may be replaced for its age (`now` in monotonic seconds); if so, it has a place.

        It keeps it until the new key is delivered, and for a minute at least; none is given after an outage.
        """
        self._aging = {
            one: began
            for one, began in self._aging.items()
            if now - began < MIN_AGING_SECONDS or (one in self._pending and now - began < MAX_AGING_SECONDS)
        }
        if uid in self._aging:
            return True
        if len(self._aging) >= MAX_AGING or now - self._outage_at < OUTAGE_SECONDS:
            return False
        self._aging[uid] = now
        return True

    def end_aging(self, uid: str) -> None:
        """Give the place of a key back that can't be replaced now."""
        self._aging.pop(uid, None)

    def record_outage(self, now: float) -> None:
        """Record that DigDir failed, or asked for fewer calls (`now` in monotonic seconds)."""
        self._outage_at = now

    def record_uses(self, uid: str, uses: Mapping[str, tuple[SecretUse, ...]], now: float) -> None:
        """Remember who uses the Secret, until it has another key, or for some minutes (`now` in monotonic seconds)."""
        self._uses[uid] = (now, uses)

    def find_uses(self, uid: str, now: float) -> Mapping[str, tuple[SecretUse, ...]] | None:
        """Give who uses the Secret, if that was looked at lately."""
        at, uses = self._uses.get(uid, (-math.inf, {}))
        return uses if now - at < MAX_USES_AGE else None

    def recent_mints(self, uid: str, client_id: str, now: float) -> frozenset[str]:
        """Give the ids of the client's keys made within the last hour, without the pending one."""
        made = {kid for moment, kid in self._mints.get(client_id, ()) if now - moment < HOUR}
        pending = self._pending.get(uid)
        return frozenset(made - {pending.kid} if pending else made)

    def count_absent(self, uid: str, now: float) -> int:
        """Count the passes that found the registration gone, this one included; sooner ones don't count again."""
        since = self._absent_since.setdefault(uid, now)
        return 2 if now - since >= ABSENCE_RECHECK_SECONDS else 1

    def absent_since(self, uid: str) -> float | None:
        """Say since when the registration is missed (monotonic seconds), if it is."""
        return self._absent_since.get(uid)

    def record_presence(self, uid: str) -> None:
        """Record that the registration was found."""
        self._absent_since.pop(uid, None)

    def record_refusal(self, uid: str, scope: str, refusal: Refusal) -> None:
        """Record that DigDir refused a consumed scope; refusals of earlier generations are forgotten."""
        self.record_try(uid)
        before = self._refusals[uid].items()
        self._refusals[uid] = {one: it for one, it in before if it.generation == refusal.generation} | {scope: refusal}

    def forget_refusals(self, uid: str) -> None:
        """Forget the refusals, so that all scopes are tried again."""
        self._refusals.pop(uid, None)
        self.record_try(uid)

    def record_try(self, uid: str) -> None:
        """Record that DigDir was asked about a consumed scope."""
        self._tried.add(uid)

    def has_tried(self, uid: str) -> bool:
        """Whether DigDir was asked by this process, so that the status isn't an earlier process's any more."""
        return uid in self._tried

    def find_refusals(self, uid: str, generation: int, granted: Collection[str], now: float) -> dict[str, str]:
        """Find what DigDir said of the scopes that it refused lately, unless they are `granted` since then only."""
        return {
            scope: refusal.words
            for scope, refusal in self._refusals.get(uid, {}).items()
            if refusal.generation == generation
            and now - refusal.at < REFUSAL_RECHECK_SECONDS
            and (refusal.listed or scope not in granted)
        }

    def join_round(self, uid: str, generation: int, now: float, *, anew: bool, deletes: bool = False) -> Round:
        """Give the round that a pass goes on with, or begins."""
        known = self._rounds.get(uid)
        if known is None or (known.generation, known.anew, known.deletes) != (generation, anew, deletes):
            known = self._rounds[uid] = Round(now, generation, anew, deletes)
        return known

    def end_round(self, uid: str) -> None:
        """End the round: the next pass begins with everything."""
        self._rounds.pop(uid, None)

    def record_visit(self, uid: str) -> bool:
        """Remember that a pass was made over the resource; say whether it is the first."""
        is_first = uid not in self._visited
        self._visited.add(uid)
        return is_first

    def count_waiting(self, uid: str, now: float) -> float:
        """Count the seconds since the resource's child was first found without a `Ready` of its generation."""
        return now - self._waiting_since.setdefault(uid, now)

    def record_answer(self, uid: str) -> None:
        """Record that the child has a `Ready` of its generation."""
        self._waiting_since.pop(uid, None)

    def count_rolling_out(self, uid: str, now: float) -> float:
        """Count the seconds since the Application's pods were first found not to be up."""
        return now - self._rolling_out_since.setdefault(uid, now)

    def record_rollout(self, uid: str) -> None:
        """Record that the pods are up."""
        self._rolling_out_since.pop(uid, None)

    def conflicts(self, uid: str) -> int:
        """Count the latest passes in a row that ended in a conflict."""
        return self._conflicts.get(uid, 0)

    def record_conflict(self, uid: str) -> None:
        """Record that a pass ended in a conflict."""
        self._conflicts[uid] = self.conflicts(uid) + 1

    def clear_conflicts(self, uid: str) -> None:
        """Record that a pass ended without a conflict."""
        self._conflicts.pop(uid, None)

    def mutations(self, uid: str) -> Mapping[ChildName, Mapping[str, Any]]:
        """Give what admission made of an Application's children, where it isn't what was applied."""
        return dict(self._mutations.get(uid, {}))

    def record_mutation(self, uid: str, child: ChildName, mutated: Mapping[str, Any] | None) -> None:
        """Remember what admission made of a child; None for what was applied."""
        if mutated:
            self._mutations[uid][child] = mutated
        elif uid in self._mutations:
            self._mutations[uid].pop(child, None)

    def forget(self, uid: str) -> None:
        """Forget all about a resource that is gone."""
        self._mutations.pop(uid, None)
        self.end_aging(uid)
        self.record_delivery(uid)
        self._absent_since.pop(uid, None)
        self._waiting_since.pop(uid, None)
        self.record_rollout(uid)
        self._visited.discard(uid)
        self._tried.discard(uid)
        self._refusals.pop(uid, None)
        self._conflicts.pop(uid, None)
        self._rounds.pop(uid, None)
