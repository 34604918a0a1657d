"""Which keys a client should have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from maskinporten_operator.model.blockers import Blocker, rejected
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.jwk import KEY_LIMIT, KeyDigest, PrivateJwk, PublicJwk, find_mark
from maskinporten_operator.plan.decisions import PublishKeys
from maskinporten_operator.plan.exposed_scopes import show
from maskinporten_operator.plan.verification import NO_SCOPES_WAIT, PendingKey

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

RENEW_BEFORE = timedelta(days=30)
"""A registered key lives a year; posting it again renews it."""
MINTS_PER_HOUR = KEY_LIMIT
"""Keys that are made for a client: as many as DigDir can tell of, so that neither a restart nor a resource that is
created again begins to count anew."""
HELD_RECHECK = timedelta(hours=1)
"""After which it is looked again whether pods still use a key whose grace is over."""
REFUSED_RECHECK_SECONDS = 600.0
"""After which a rotation that was refused is looked at again."""
RESPONSE_MEMBERS = frozenset({"created", "last_updated"})


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """What is done about a client's keys.

    Attributes:
        publish: What to publish, if anything changes.
        blocker: Why it can't be.
        next_look: Seconds until there is something to do by itself.
        is_waiting: Whether a new key waits until it is known to work, and the Secret keeps the present one.
        refusal: Why the key in the Secret, which works, isn't replaced as it should be.
        asks_for_holders: Whether this depends on which pods use which keys.
    """

    publish: PublishKeys | None = None
    blocker: Blocker | None = None
    next_look: float | None = None
    is_waiting: bool = False
    refusal: Blocker | None = None
    asks_for_holders: bool = False


def plan_keys(
    registered: Sequence[PublicJwk],
    in_secret: PrivateJwk | KeyDigest | None,
    *,
    superseded: Sequence[PrivateJwk] = (),
    pending: PendingKey | None = None,
    rotate: str | None,
    verifies: bool = False,
    undelivered: AbstractSet[str] = frozenset(),
    recent_mints: AbstractSet[str],
    holders: Mapping[str, tuple[str, ...]] | None = None,
    grace: timedelta,
    now: datetime,
) -> KeyPlan:
    """Decide the client's key set.

    Args:
        registered: The client's keys as read.
        in_secret: The key in the Secret, if it is a usable one.
        superseded: Those in Secrets that were the resource's before its spec named another.
        pending: A key that was minted and hasn't reached the Secret, if there is one; it is used for a mint.
        rotate: Why a key that works is to be replaced, if it is.
        verifies: Whether a key that works is replaced only by one that is known to.
        undelivered: The ids of registered keys that never were in the Secret, as far as that is known.
        recent_mints: The ids of keys that this process made for the client within the last hour; DigDir tells of
            others'.
        holders: By key id, the pods that may have a key that isn't in the Secret any more; None if nobody looked.
        grace: How long a key of ours that is not in the Secret stays.
        now: The time.
    """
    current = next((key for key in registered if in_secret and key.matches(in_secret)), None)
    mint = _check_mint(in_secret, current, now) or rotate
    is_published = pending is not None and any(key.kid == pending.kid for key in registered if key is not current)
    wait = pending.wait if pending and is_published else NO_SCOPES_WAIT
    is_waiting = bool(mint and current and verifies and wait > 0)
    if is_waiting and is_published:
        mint = None
    # A pending key that was published already takes no further slot, nor one that a restart left.
    left = (undelivered | ({pending.kid} if pending else set())) if mint else frozenset[str]()
    left -= {key.kid for key in superseded}
    remaining = [key for key in registered if key.kid not in left or key is current]
    keys = KeySet.classify(remaining, current, superseded, now)
    in_use = holders or {}
    refusal = _check_minting(keys, recent_mints | keys.find_young(now)) if mint else None
    if mint and mint == rotate and not refusal:
        refusal = _check_places(keys, in_use, grace, now)
    if refusal and mint != rotate:
        return KeyPlan(blocker=refusal)
    if refusal:
        keys, mint, is_waiting = KeySet.classify(registered, current, superseded, now), None, False
    waiting = {pending.kid} if pending and is_waiting else set()
    kept = keys.choose_kept(KEY_LIMIT - bool(mint), in_use.keys() | waiting, grace, now)
    publish = _plan_publication(keys, kept, in_use, mint, now)
    looks = [_next_look(keys, kept, grace, now), wait if is_waiting else None]
    looks.append(REFUSED_RECHECK_SECONDS if refusal else None)
    next_look = min((one for one in looks if one is not None), default=None)
    publish = publish and replace(publish, delivers=not is_waiting)
    asks = holders is None and (len(kept) < len(keys.in_use) + len(keys.orphans) or _is_for_want_of_places(refusal))
    return KeyPlan(publish, None, next_look, is_waiting, refusal, asks)


@dataclass(frozen=True, slots=True)
class KeySet:
    """A client's registered keys, classified by owner and by what is in the Secret.

    Attributes:
        current: The key that the Secret holds, whoever made it; None if it isn't registered.
        ours: All that this operator made.
        orphans: Those of ours that the Secret doesn't hold and that haven't expired, oldest first.
        foreign: Those that somebody else made.
    """

    current: PublicJwk | None
    ours: tuple[PublicJwk, ...]
    orphans: tuple[Orphan, ...]
    foreign: tuple[PublicJwk, ...]

    @classmethod
    def classify(
        cls,
        registered: Sequence[PublicJwk],
        current: PublicJwk | None,
        superseded: Sequence[PrivateJwk],
        now: datetime,
    ) -> Self:
        """Classify a client's keys."""
        ours = tuple(key for key in registered if key.ours)
        foreign = tuple(key for key in registered if not key.ours)
        return cls(current, ours, tuple(_find_orphans(registered, current, superseded, now)), foreign)

    @property
    def in_use(self) -> tuple[PublicJwk, ...]:
        """The key of ours that the Secret holds, if it holds one."""
        return (self.current,) if self.current and self.current.ours else ()

    def find_young(self, now: datetime) -> set[str]:
        """Find our keys that were published within the last hour; those that were dropped since aren't known."""
        return {key.kid for key in self.ours if key.created and now - key.created < timedelta(hours=1)}

    def choose_kept(
        self, limit: int, holders: Collection[str], grace: timedelta, now: datetime
    ) -> tuple[PublicJwk, ...]:
        """Choose which keys of ours stay, so that there are `limit` in all; the one in use does in any case.

        Those go first that no pod has, and of these the oldest.
        """
        left = [one.key for one in reversed(self.orphans) if one.key.kid in holders or not one.is_past(grace, now)]
        left.sort(key=lambda key: key.kid not in holders)
        return (*self.in_use, *left[: max(limit - len(self.foreign) - len(self.in_use), 0)])


@dataclass(frozen=True, slots=True)
class Orphan:
    """A key of ours that the Secret doesn't hold, and since when something newer could be used instead."""

    key: PublicJwk
    since: datetime | None

    def is_past(self, grace: timedelta, now: datetime) -> bool:
        """Whether no pod should use it any more."""
        return self.since is not None and now - self.since > grace


def _plan_publication(
    keys: KeySet, kept: Collection[PublicJwk], holders: Collection[str], mint: str | None, now: datetime
) -> PublishKeys | None:
    """Publish a set without what isn't kept, with keys in use renewed that expire soon, if anything changes."""
    in_use = [key for key in kept if key in keys.in_use or key.kid in holders]
    renewed = [key for key in in_use if _expires_soon(key, now)]
    dropped = [key.kid for key in keys.ours if key not in kept]
    reason = mint or (renewed and "a key expires soon") or (dropped and f"dropped {', '.join(dropped)}")
    if not reason:
        return None
    keep = tuple(_to_request(key, renew=key in renewed) for key in (*kept, *keys.foreign))
    expired = tuple(key.kid for key in keys.foreign if _has_expired(key, now))
    return PublishKeys(keep, mint=bool(mint), reason=reason, expired=expired)


def sort_by_age(keys: Iterable[PublicJwk]) -> list[PublicJwk]:
    """Sort keys, the oldest first; one of unknown age counts as the oldest."""
    return sorted(keys, key=_by_age)


def find_newer(registered: Sequence[PublicJwk], than: PublicJwk) -> frozenset[str]:
    """Find the ids of our keys that were published after one."""
    return frozenset(key.kid for key in registered if key.ours and _by_age(key) > _by_age(than))


def _check_mint(in_secret: PrivateJwk | KeyDigest | None, current: PublicJwk | None, now: datetime) -> str | None:
    if in_secret is None:
        return "the Secret holds no usable key"
    if current is None:
        return "the key in the Secret isn't registered"
    if not current.ours and _expires_soon(current, now):
        return "the key in the Secret expires soon, and isn't ours to renew"
    return None


def _check_minting(keys: KeySet, made: AbstractSet[str]) -> Blocker | None:
    if len(keys.foreign) + len(keys.in_use) >= KEY_LIMIT:
        kids = ", ".join(key.kid for key in keys.foreign)
        return rejected(
            Reason.KEY_LIMIT_REACHED,
            f"The client has {len(keys.foreign)} keys that this operator didn't make ({kids}), and DigDir allows "
            f"{KEY_LIMIT} in all: remove one of them at DigDir",
        )
    return _explain_churn(made) if len(made) >= MINTS_PER_HOUR else None


def _check_places(
    keys: KeySet, holders: Mapping[str, tuple[str, ...]], grace: timedelta, now: datetime
) -> Blocker | None:
    """A key that works isn't replaced at the cost of another that may be in use."""
    held = [one for one in keys.orphans if one.key.kid in holders]
    young = [one.since + grace for one in keys.orphans if one not in held and one.since and not one.is_past(grace, now)]
    if len(keys.foreign) + len(keys.in_use) + len(held) + len(young) < KEY_LIMIT:
        return None
    pods = sorted({pod for one in held for pod in holders[one.key.kid]})
    reasons = [f"restart {show(pods)} in whose pods older ones are"] if pods else []
    reasons += [f"one is free at {min(young):%Y-%m-%d %H:%M} UTC, by KEY_GRACE"] if young else []
    return rejected(
        Reason.KEYS_IN_USE,
        f"DigDir allows {KEY_LIMIT} keys, and all of them may be in use: {', or '.join(reasons)}",
    )


def _is_for_want_of_places(refusal: Blocker | None) -> bool:
    return refusal is not None and refusal.reason == Reason.KEYS_IN_USE


def _explain_churn(made: AbstractSet[str]) -> Blocker:
    """Say what so many keys were made for.

    Several may bear the mark of one rotation request: one was made for it, and the others while it stood.
    """
    requested = len({mark for kid in made if (mark := find_mark(kid))})
    others = len(made) - requested
    causes = [f"{requested} for rotation requests"] if requested else []
    causes += [f"{others} because the Secret held none that worked"] if others else []
    remedies = ["what keeps changing the annotation that asks for new keys"] if requested else []
    remedies += ["what else writes to the Secret, or keeps deleting and creating this resource"] if others > 1 else []
    return rejected(
        Reason.KEY_CHURN,
        f"{len(made)} keys were made for the client within an hour, {' and '.join(causes)}, and no more is made until "
        f"the first of them is an hour old: find out {', and '.join(remedies)}",
    )


def _has_expired(key: PublicJwk, now: datetime) -> bool:
    return key.expires is not None and key.expires <= now.timestamp()


def _expires_soon(key: PublicJwk, now: datetime) -> bool:
    return key.expires is not None and key.expires - now.timestamp() < RENEW_BEFORE.total_seconds()


def _find_orphans(
    registered: Sequence[PublicJwk], current: PublicJwk | None, superseded: Sequence[PrivateJwk], now: datetime
) -> list[Orphan]:
    """List our keys that aren't in the Secret and haven't expired, oldest first.

    One is superseded when the next newer was published; the newest, whose Secret was never written, at its own
    publication. If the Secret's key is gone, pods may still use the newest: the key that is made now supersedes it.
    When the spec names an earlier Secret again, whose key is older, nothing tells since when the newest isn't used, so
    that stays while its Secret is there. Without a time a key goes only when its slot is needed. One that has expired
    goes at once, and counts for none: the next look wouldn't find it.
    """
    own = sort_by_age(key for key in registered if key is current or (key.ours and not _has_expired(key, now)))
    newer = [*own[1:], None][: len(own)]
    return [
        Orphan(key, _find_moment(key, successor, current, superseded, now))
        for key, successor in zip(own, newer, strict=True)
        if key is not current
    ]


def _find_moment(
    key: PublicJwk,
    successor: PublicJwk | None,
    current: PublicJwk | None,
    superseded: Sequence[PrivateJwk],
    now: datetime,
) -> datetime | None:
    if successor:
        return successor.created
    if any(key.matches(one) for one in superseded):
        return None
    return key.created if current else now


def _by_age(key: PublicJwk) -> tuple[float, str]:
    return (key.created.timestamp() if key.created else 0.0, key.kid)


def _to_request(key: PublicJwk, *, renew: bool) -> PublicJwk:
    """Give a key as it is sent again: as read, with `use` (older ones lack it); without `exp` to renew it."""
    left_out = RESPONSE_MEMBERS | ({"exp"} if renew else set())
    return PublicJwk({name: value for name, value in key.members.items() if name not in left_out} | {"use": "sig"})


def _next_look(keys: KeySet, kept: Collection[PublicJwk], grace: timedelta, now: datetime) -> float | None:
    ends = [orphan.since + grace for orphan in keys.orphans if orphan.since and orphan.key in kept]
    moments = [(end if end >= now else now + HELD_RECHECK).timestamp() for end in ends]
    if keys.current and keys.current.expires:
        moments.append(keys.current.expires - RENEW_BEFORE.total_seconds())
    later = [moment - now.timestamp() for moment in moments if moment >= now.timestamp()]
    return min(later) + 1 if later else None
