"""Which pods use a Secret, and which of a client's keys they may have read from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.jwk import KEY_LIMIT
from maskinporten_operator.model.resources import UNREADABLE
from maskinporten_operator.plan.verification import MAX_WAIT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from maskinporten_operator.model.jwk import PublicJwk

KUBELET_LAG = timedelta(minutes=2)
"""How long the kubelet may take to bring a change to mounted files: its period of a minute, and its cache."""
CONTAINERS = {
    "containers": "containerStatuses",
    "initContainers": "initContainerStatuses",
    "ephemeralContainers": "ephemeralContainerStatuses",
}
"""The lists of containers in a pod's spec, and of their states in its status."""

Holders = dict[str, tuple[str, ...]]
"""By the id of a key, the pods that may have it."""


@dataclass(frozen=True, slots=True)
class SecretUse:
    """A running container that uses a Secret.

    Attributes:
        pod: The pod's name.
        started: When the container was started; None if the pod can't be read.
        follows: Whether it reads mounted files, to which a change comes; variables and single files keep what they
            were at the start.
    """

    pod: str
    started: datetime | None
    follows: bool = False


def find_uses(pod: Mapping[str, Any], secret: str) -> list[SecretUse]:
    """Find the running containers of a pod that use a Secret; one that can't be read as a whole may use any."""
    name, spec = str(pod["metadata"].get("name")), pod.get("spec") or {}
    if UNREADABLE in pod:
        return [SecretUse(name, None)]
    volumes = {one["name"] for one in spec.get("volumes") or () if _mounts(one, secret)}
    status, uses = pod.get("status") or {}, []
    for containers, statuses in CONTAINERS.items():
        started = dict(_find_starts(status.get(statuses) or ()))
        for container in spec.get(containers) or ():
            begun = started.get(container["name"])
            mounts = [one for one in container.get("volumeMounts") or () if one["name"] in volumes]
            is_fixed = _has_variables(container, secret) or any(map(_is_single_file, mounts))
            if begun and (is_fixed or mounts):
                uses.append(SecretUse(name, begun, follows=not is_fixed))
    return uses


def _mounts(volume: Mapping[str, Any], secret: str) -> bool:
    whole = (volume.get("secret") or {}).get("secretName")
    parts = (volume.get("projected") or {}).get("sources") or ()
    return secret in {whole, *((one.get("secret") or {}).get("name") for one in parts)}


def _has_variables(container: Mapping[str, Any], secret: str) -> bool:
    whole = ((one.get("secretRef") or {}).get("name") for one in container.get("envFrom") or ())
    values = (one.get("valueFrom") or {} for one in container.get("env") or ())
    return secret in {*whole, *((one.get("secretKeyRef") or {}).get("name") for one in values)}


def _is_single_file(mount: Mapping[str, Any]) -> bool:
    """Whether the kubelet never brings a change to it."""
    return bool(mount.get("subPath") or mount.get("subPathExpr"))


def _find_starts(statuses: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, datetime]]:
    """Give when each running container was started; one that waits will read what is there then."""
    for one in statuses:
        running = (one.get("state") or {}).get("running")
        if running and running.get("startedAt"):
            yield one["name"], datetime.fromisoformat(running["startedAt"])


def find_holders(
    uses: Iterable[SecretUse], keys: Sequence[PublicJwk], deliveries: Mapping[str, datetime], now: datetime
) -> Holders:
    """Find which pods may have which key.

    Args:
        uses: The containers that use the Secret.
        keys: The keys that were in it, the oldest first, as far as they are registered.
        deliveries: By key id, since when it was in the Secret, as far as that is known.
        now: The time.
    """
    holders: Holders = {}
    for key, successor in pairwise([*keys, None]):
        assert key
        begin = deliveries.get(key.kid) or key.created
        end = _find_latest_delivery(successor, deliveries)
        pods = {use.pod for use in uses if _may_have(use, begin, end, now)}
        if pods:
            holders[key.kid] = tuple(sorted(pods))
    return holders


def _may_have(use: SecretUse, begin: datetime | None, end: datetime | None, now: datetime) -> bool:
    if use.started is None:
        return True
    if use.follows:
        return end is None or now - end <= KUBELET_LAG
    is_before_end = end is None or use.started <= end
    return is_before_end and (begin is None or use.started >= begin.replace(microsecond=0))


def _find_latest_delivery(key: PublicJwk | None, deliveries: Mapping[str, datetime]) -> datetime | None:
    """Give when a key was in the Secret for certain; None if nothing tells."""
    if key is None:
        return None
    known = deliveries.get(key.kid)
    return known or (key.created + timedelta(seconds=MAX_WAIT) if key.created else None)


def parse_deliveries(text: str | None) -> dict[str, datetime]:
    """Read since when keys were in a Secret, from an annotation of it; what can't be read is left out."""
    deliveries = {}
    for entry in (text or "").split()[-KEY_LIMIT:]:
        kid, _, moment = entry.partition("=")
        try:
            deliveries[kid] = datetime.fromisoformat(moment)
        except ValueError:
            continue
    return {kid: moment for kid, moment in deliveries.items() if moment.tzinfo}


def add_delivery(text: str | None, kid: str, now: datetime, registered: Collection[str]) -> str:
    """Write down since when a key is in a Secret; of the keys before it those that are `registered` are kept."""
    before = [one for one in (text or "").split()[-KEY_LIMIT:] if one.partition("=")[0] in set(registered) - {kid}]
    return " ".join([*before, f"{kid}={now:%Y-%m-%dT%H:%M:%SZ}"])
