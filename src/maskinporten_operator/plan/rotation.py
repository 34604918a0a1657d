"""What asks for a new key, and whether that was carried out already."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import ROTATED, Reason, Verdict
from maskinporten_operator.model.maskinportenclient import ROTATE_ANNOTATION
from maskinporten_operator.model.user_metadata import MAX_ANNOTATION_LENGTH
from maskinporten_operator.plan.status import format_time

if TYPE_CHECKING:
    from datetime import datetime

    from maskinporten_operator.model.blockers import Blocker
    from maskinporten_operator.model.jwk import KeyDigest, PrivateJwk, PublicJwk
    from maskinporten_operator.model.maskinportenclient import MaskinportenClient
    from maskinporten_operator.model.registrations import Registration
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.model.status_hint import StatusHint

ONCE = "true"
"""The request that is removed when it was carried out; every other value stays, and is carried out once."""
NO_REQUEST = frozenset({"", "false"})
AGE_JITTER = 0.1
"""The share of the maximum age over which the rotations of keys of one age are spread."""
AGE_RECHECK_SECONDS = 300.0
"""After about which a key that has reached its age, and isn't to be replaced yet, is looked at again."""
REPEAT_WINDOW = timedelta(hours=1)
"""How soon after its key was made the same request isn't a new one."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What is asked of the key in the Secret.

    Attributes:
        reason: Why a new one is to take its place, if one is.
        is_done: Whether the annotation was carried out and is to be removed.
        notice: What is to be told of a request that isn't carried out.
    """

    reason: str | None = None
    is_done: bool = False
    notice: Verdict | None = None


def find_request(meta: ObjectMeta) -> str | None:
    """Find what the resource asks for by its annotation."""
    value = meta.annotations.get(ROTATE_ANNOTATION, "").strip()[:MAX_ANNOTATION_LENGTH]
    return None if value in NO_REQUEST else value


def judge_request(
    meta: ObjectMeta, current: PublicJwk | None, status: StatusHint, *, reported: bool, now: datetime
) -> Rotation:
    """Say whether the resource asks for a new key; `reported` says that the status tells of the present one already.

    The key in the Secret tells by its id which request it was made for.
    """
    request = find_request(meta)
    if request is None:
        return Rotation()
    asked = Rotation("a new key was asked for")
    if current is None or not current.answers(request):
        return asked
    if request != ONCE:
        return Rotation()
    if not reported:
        return Rotation(is_done=True)
    before = status.find_condition(ROTATED)
    stands = before is not None and before.reason == Reason.REQUEST_REPEATED
    is_young = current.created is None or now - current.created < REPEAT_WINDOW
    return Rotation(notice=_judge_repeated(meta, current)) if stands or is_young else asked


def find_due(uid: str, key: PublicJwk, max_age: timedelta) -> datetime | None:
    """Find when a key has reached its age; by the resource's uid, so that it is the same after a restart."""
    if not max_age or key.created is None:
        return None
    return key.created + max_age * (1 - AGE_JITTER * _find_share(uid))


def find_recheck(uid: str) -> float:
    """Give the seconds until a key that is due and has no place yet is looked at again.

    They differ by resource, so that those that wait don't all look at once, when few places are free.
    """
    return AGE_RECHECK_SECONDS * (0.5 + _find_share(uid))


def _find_share(uid: str) -> float:
    """Give a number from 0 to 1 that is the resource's own."""
    return int.from_bytes(sha256(uid.encode()).digest()[:8]) / 2**64


def judge_held_back(refusal: Blocker) -> Verdict:
    """Say why the key in the Secret, which works, isn't replaced for the time being."""
    return Verdict(ROTATED, "False", refusal.reason, f"No new key is made; the present one works. {refusal.message}")


def build_key_status(
    resource: MaskinportenClient, registration: Registration, held: PrivateJwk | KeyDigest, max_age: timedelta
) -> dict[str, Any]:
    """Build what the status tells of the key in the Secret, and of the latest request that was carried out."""
    key = next((key for key in registration.keys or () if key.matches(held)), None)
    request = find_request(resource.meta)
    done = request if key and request and key.answers(request) else resource.status.rotation_request
    due = find_due(resource.meta.uid, key, max_age) if key else None
    moments = {"created": key.created if key else None, "nextRotation": due}
    fields = {name: format_time(moment) for name, moment in moments.items() if moment}
    return {"id": held.kid, **fields} | ({"rotationRequest": done} if done else {})


def _judge_repeated(meta: ObjectMeta, current: PublicJwk) -> Verdict:
    made = f"at {current.created:%Y-%m-%d %H:%M} UTC" if current.created else "already"
    setters = f" (set by {', '.join(meta.rotation_managers)})" if meta.rotation_managers else ""
    return Verdict(
        ROTATED,
        "False",
        Reason.REQUEST_REPEATED,
        f"The annotation {ROTATE_ANNOTATION}={ONCE} is back{setters}, and counts as the request for which a key was "
        f"made {made}: take it out of what sets it. Whoever wants another key writes another value, such as the time",
    )
