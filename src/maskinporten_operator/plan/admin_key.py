"""What is done about the operator's own key, where the operator renews it itself."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from maskinporten_operator.model.jwk import KEY_LIMIT, OUR_KID_PREFIX, PrivateJwk, PublicJwk
from maskinporten_operator.plan.key_set import RENEW_BEFORE, RESPONSE_MEMBERS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

RECORD = "digdir.nais.io/admin-key"
"""The annotation of the Secret that tells of its latest renewal."""
MIN_GRACE = timedelta(minutes=15)
"""How long a replaced key stays at least: the kubelet takes up to two minutes to change the files of pods."""
LOOK_SECONDS = 3600.0
WAIT_SECONDS = 60.0


def build_admin_kid(cluster: str, random_hex: str) -> str:
    """Name a key after the cluster, whose operator alone removes it; several clusters may share a client."""
    return f"{OUR_KID_PREFIX}admin-{cluster}-{random_hex}"


def _is_made_here(key: PublicJwk, cluster: str) -> bool:
    return re.fullmatch(build_admin_kid(re.escape(cluster), "[0-9a-f]{16}"), key.kid) is not None


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a renewal left in the Secret's annotation, in the same write as the key.

    Attributes:
        kid: The new key's id.
        replaced: The old one's.
        at: When the Secret was written.
    """

    kid: str
    replaced: str
    at: datetime

    def serialize(self) -> str:
        """Give it as JSON."""
        return json.dumps({"kid": self.kid, "replaced": self.replaced, "at": self.at.isoformat(timespec="seconds")})

    @classmethod
    def find(cls, text: str | None) -> Self | None:
        """Read it; None if there is none, or somebody wrote something else there."""
        try:
            members = json.loads(text or "")
            at = datetime.fromisoformat(members["at"])
            return cls(str(members["kid"]), str(members["replaced"]), at) if at.tzinfo else None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None


@dataclass(frozen=True, slots=True, repr=False)
class AdminSecret:
    """The Secret with the operator's own key, as read; `entry` is where in it. Its text form is its name."""

    manifest: Mapping[str, Any]
    entry: str

    def __repr__(self) -> str:
        return f"AdminSecret({self.manifest['metadata']['name']})"

    @property
    def key(self) -> PrivateJwk | None:
        """The private key in it, if it is whole."""
        try:
            return PrivateJwk.find(b64decode((self.manifest.get("data") or {}).get(self.entry) or "").decode())
        except ValueError:
            return None

    @property
    def renewal(self) -> Renewal | None:
        """The latest renewal that it tells of."""
        return Renewal.find((self.manifest["metadata"].get("annotations") or {}).get(RECORD))

    @property
    def created(self) -> datetime:
        """When it was created."""
        return datetime.fromisoformat(self.manifest["metadata"]["creationTimestamp"])


@dataclass(frozen=True, slots=True)
class AdminKeySettings:
    """What is configured.

    Attributes:
        cluster: The cluster's name.
        max_age: How old the key may become.
        grace: How long a replaced key stays registered.
    """

    cluster: str
    max_age: timedelta
    grace: timedelta


@dataclass(frozen=True, slots=True)
class AdminKeyPlan:
    """What is to be done.

    Attributes:
        age: The age of the key in the Secret; None if there is none that is registered.
        problem: Why nothing can be done, and who can help; empty if nothing is wrong.
        keep: The keys that stay registered, as they are sent; None if nothing is published.
        drop: The ids of those that go.
        renews: Whether a new key is published beside those that stay, and written to the Secret when it is proven.
        next_look: Seconds until the next look.
    """

    age: timedelta | None = None
    problem: str = ""
    keep: tuple[PublicJwk, ...] | None = None
    drop: tuple[str, ...] = ()
    renews: bool = False
    next_look: float = LOOK_SECONDS


def plan_admin_key(
    secret: AdminSecret | None,
    registered: Sequence[PublicJwk],
    in_force: str | None,
    settings: AdminKeySettings,
    now: datetime,
) -> AdminKeyPlan:
    """Decide what is done.

    Args:
        secret: The Secret, or None if there is none.
        registered: The keys of the operator's client.
        in_force: The id of the key that this process signs with, from the file.
        settings: What is configured.
        now: The time.
    """
    if secret is None or secret.key is None:
        return AdminKeyPlan(
            problem="the Secret of ADMIN_KEY_SECRET isn't there, or holds no whole private JWK at that place: a "
            "cluster admin must write one there, or correct ADMIN_KEY_SECRET"
        )
    held = secret.key
    current = next((key for key in registered if key.matches(held)), None)
    if current is None:
        return AdminKeyPlan(
            problem=f"key {held.kid} of the Secret isn't registered on the operator's client: whoever administers it "
            "must register that one, or a cluster admin write one to the Secret that is"
        )
    renewal, grace = secret.renewal, max(settings.grace, MIN_GRACE)
    age = now - _find_birth(current, secret)
    recent = renewal is not None and now - renewal.at < grace
    if in_force != current.kid:
        return AdminKeyPlan(age, "" if recent else _explain_file(current.kid), next_look=WAIT_SECONDS)
    leaving = _find_leaving(current, registered, renewal, settings.cluster, recent=recent)
    if renewal and renewal.replaced == current.kid:
        return _drop(age, current, registered, leaving, _explain_set_back(current.kid))
    is_new = recent and renewal is not None and renewal.kid == current.kid
    if not is_new and (age >= settings.max_age or _ends_soon(current, now)):
        return _renew(age, current, registered, leaving, now)
    return _drop(age, current, registered, leaving)


def _find_birth(current: PublicJwk, secret: AdminSecret) -> datetime:
    """Find since when there is a key: since we wrote it, else since DigDir has it, else since the Secret is there."""
    if secret.renewal and secret.renewal.kid == current.kid:
        return secret.renewal.at
    return current.created or secret.created


def _find_leaving(
    current: PublicJwk, registered: Sequence[PublicJwk], renewal: Renewal | None, cluster: str, *, recent: bool
) -> set[str]:
    """Find the keys that go: what was replaced long ago, and what an operator of this cluster left without a holder."""
    leaving = {key.kid for key in registered if _is_made_here(key, cluster)}
    if renewal and recent:
        leaving -= {renewal.kid, renewal.replaced}
    elif renewal and renewal.kid == current.kid:
        leaving |= {renewal.replaced}
    return (leaving & {key.kid for key in registered}) - {current.kid}


def _ends_soon(current: PublicJwk, now: datetime) -> bool:
    return current.expires is not None and current.expires - now.timestamp() < RENEW_BEFORE.total_seconds()


def _drop(
    age: timedelta, current: PublicJwk, registered: Sequence[PublicJwk], leaving: Collection[str], problem: str = ""
) -> AdminKeyPlan:
    if not leaving:
        return AdminKeyPlan(age, problem)
    keep = tuple(_to_request(key) for key in registered if key.kid not in leaving)
    assert any(key.kid == current.kid for key in keep)
    return AdminKeyPlan(age, problem, keep, tuple(sorted(leaving)))


def _renew(
    age: timedelta, current: PublicJwk, registered: Sequence[PublicJwk], leaving: Collection[str], now: datetime
) -> AdminKeyPlan:
    stay = [key for key in registered if key.kid not in leaving]
    # One that has ended is of use to nobody, and DigDir may refuse it.
    stay = [key for key in stay if key is current or key.expires is None or key.expires > now.timestamp()]
    if len(stay) >= KEY_LIMIT:
        return AdminKeyPlan(
            age,
            f"the operator's client has {KEY_LIMIT} keys, as many as DigDir keeps: whoever administers it must remove "
            f"one that nobody uses, of {', '.join(sorted(key.kid for key in stay if key is not current))}",
        )
    keep = tuple(_to_request(key) for key in stay)
    gone = tuple(sorted({key.kid for key in registered} - {key.kid for key in keep}))
    return AdminKeyPlan(age, keep=keep, drop=gone, renews=True)


def _to_request(key: PublicJwk) -> PublicJwk:
    """Give a key as it is sent again: as read, with its end, and with `use`, which older ones lack."""
    kept = {name: value for name, value in key.members.items() if name not in RESPONSE_MEMBERS}
    return PublicJwk(kept | {"use": "sig"})


def _explain_file(kid: str) -> str:
    return (
        f"the file of ADMIN_JWK_FILE doesn't hold key {kid} of the Secret: a cluster admin must mount the Secret of "
        "ADMIN_KEY_SECRET there, and not by a subPath, which is never renewed"
    )


def _explain_set_back(kid: str) -> str:
    return (
        f"somebody wrote key {kid}, which was replaced, back to the Secret: a cluster admin must let nobody else write "
        f"the key, or set ADMIN_KEY_ROTATION to false; the Secret's annotation {RECORD} tells of the renewal, and "
        "without it the key is renewed again"
    )
