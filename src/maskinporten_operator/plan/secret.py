"""The Secret that carries the credentials: what is in it, whose it is, what should be in it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import SECRET_UNIQUE, Reason, Verdict
from maskinporten_operator.model.jwk import PrivateJwk
from maskinporten_operator.model.registrations import AuthorizationServer
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from maskinporten_operator.plan.owner_references import (
    APP_LABEL,
    MANAGED_BY_LABEL,
    build_metadata,
    find_owners,
    is_adoptable,
    is_owned_by,
    is_ownerless,
    was_owned_by_namesake,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from maskinporten_operator.model.jwk import KeyDigest
    from maskinporten_operator.model.resources import ObjectMeta

CLIENT_ID = "MASKINPORTEN_CLIENT_ID"
CLIENT_JWK = "MASKINPORTEN_CLIENT_JWK"
SCOPES = "MASKINPORTEN_SCOPES"
VALUES = (
    SCOPES,
    "MASKINPORTEN_WELL_KNOWN_URL",
    "MASKINPORTEN_ISSUER",
    "MASKINPORTEN_JWKS_URI",
    "MASKINPORTEN_TOKEN_ENDPOINT",
)
RELOADER = "reloader.stakater.com/match"
DELIVERIES_ANNOTATION = "digdir.nais.io/key-deliveries"
"""On the Secret: since when each of the client's keys was in it; see `plan.secret_uses`."""
MAX_DELIVERIES_LENGTH = 512
"""Characters that are read of it, from its end: more than five keys take."""


@dataclass(frozen=True, repr=False)
class ObservedSecret:
    """A Secret as read. It holds a private key, so its text form is its name."""

    manifest: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"ObservedSecret({self.name})"

    @property
    def name(self) -> str:
        """The Secret's name."""
        return str(self.manifest["metadata"]["name"])

    @property
    def uid(self) -> str:
        """The Secret's own uid."""
        return str(self.manifest["metadata"]["uid"])

    @property
    def owners(self) -> tuple[Mapping[str, Any], ...]:
        """The owner references to MaskinportenClients."""
        return find_owners(self.manifest, MASKINPORTEN_CLIENT)

    def is_owned_by(self, meta: ObjectMeta) -> bool:
        """Whether this very resource owns it; one of the same name with another uid doesn't."""
        return is_owned_by(self.manifest, meta)

    def was_owned_by_namesake(self, meta: ObjectMeta) -> bool:
        """Whether an earlier resource of the same name owns it: the garbage collector will remove it."""
        return was_owned_by_namesake(self.manifest, meta)

    def is_ownerless(self, meta: ObjectMeta) -> bool:
        """Whether nothing that exists owns it."""
        return is_ownerless(self.manifest, meta)

    def is_adoptable(self, meta: ObjectMeta) -> bool:
        """Whether nothing owns it, and its labels say that it was made for this resource; the proof is its key."""
        return is_adoptable(self.manifest, meta)

    @property
    def serialized_jwk(self) -> str | None:
        """The text of the private key in it, if any."""
        return self._find(CLIENT_JWK)

    @property
    def client_id(self) -> str | None:
        """The client id in it, if any."""
        return self._find(CLIENT_ID)

    @property
    def version(self) -> int:
        """Its resourceVersion."""
        return int(self.manifest["metadata"]["resourceVersion"])

    @cached_property
    def jwk(self) -> PrivateJwk | None:
        """The private key in it, if it is whole and usable."""
        return PrivateJwk.find(self.serialized_jwk)

    @property
    def deliveries(self) -> str | None:
        """Since when keys were in it, as `plan.secret_uses` writes it down."""
        text = (self.manifest["metadata"].get("annotations") or {}).get(DELIVERIES_ANNOTATION)
        return str(text)[-MAX_DELIVERIES_LENGTH:] if text else None

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes in it."""
        return tuple((self._find(SCOPES) or "").split())

    @property
    def server(self) -> AuthorizationServer | None:
        """What it tells of Maskinporten, if it tells all of it."""
        values = [value for name in VALUES[1:] if (value := self._find(name))]
        return AuthorizationServer(*values) if len(values) == len(VALUES) - 1 else None

    def _find(self, key: str) -> str | None:
        encoded = (self.manifest.get("data") or {}).get(key)
        try:
            return b64decode(encoded).decode() or None if encoded else None
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class SecretSummary:
    """What is kept of a Secret that was read: enough to see that it is as it should be, and nothing that is secret.

    Attributes:
        version: Its resourceVersion, with which the summary holds.
        owner_uid: The uid of the resource that owns it, and that nobody shares it with.
        client_id: The client id in it.
        jwk: Tells the key in it.
        contents: A digest of everything else that is written to it.
        deliveries: Since when keys were in it.
    """

    version: int
    owner_uid: str
    client_id: str
    jwk: KeyDigest
    contents: bytes
    deliveries: str | None = None


def summarize_secret(secret: ObservedSecret) -> SecretSummary | None:
    """Give a Secret's summary; None for one that must be looked at itself: whose key is no good, or that is shared."""
    metadata, jwk, client_id = secret.manifest["metadata"], secret.jwk, secret.client_id
    references = list(metadata.get("ownerReferences") or [])
    if jwk is None or client_id is None or len(references) != 1 or secret.serialized_jwk != jwk.serialize():
        return None
    contents = _digest_contents(secret.manifest)
    owner_uid = str(references[0].get("uid"))
    return SecretSummary(secret.version, owner_uid, client_id, jwk.digest, contents, secret.deliveries)


def _digest_contents(manifest: Mapping[str, Any]) -> bytes:
    """Digest what `check_secret` compares, but for the key; of a manifest as it is applied, or as it was read."""
    metadata, data = manifest["metadata"], manifest.get("data") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    compared = [
        [data.get(name) for name in (CLIENT_ID, *VALUES)],
        [labels.get(name) for name in (APP_LABEL, MANAGED_BY_LABEL)],
        annotations.get(RELOADER),
        [sorted(one.items()) for one in metadata.get("ownerReferences") or ()],
    ]
    return blake2b(repr(compared).encode(), digest_size=16).digest()


def build_secret(
    meta: ObjectMeta,
    name: str,
    *,
    client_id: str,
    jwk: PrivateJwk | None,
    scopes: Iterable[str],
    server: AuthorizationServer,
    deliveries: str | None = None,
) -> dict[str, Any]:
    """Build the Secret as it is applied; byte-stable for the same input. `data`, since removed `stringData` stays.

    Without a `jwk` it is what a summary is compared with.
    """
    annotations = {RELOADER: "true"} | ({DELIVERIES_ANNOTATION: deliveries} if deliveries else {})
    others = (" ".join(scopes), server.well_known_url, server.issuer, server.jwks_uri, server.token_endpoint)
    key = {CLIENT_JWK: jwk.serialize()} if jwk else {}
    values = {CLIENT_ID: client_id, **key, **dict(zip(VALUES, others, strict=True))}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": build_metadata(meta, name) | {"annotations": annotations},
        "type": "Opaque",
        "data": {key: b64encode(value.encode()).decode() for key, value in values.items()},
    }


def build_fingerprint(client_id: str, kid: str, scopes: Iterable[str], server: AuthorizationServer) -> str:
    """Build a hash that changes with what is in the Secret, of nothing secret: the key is represented by its id."""
    parts = (client_id, kid, *scopes, "", server.well_known_url, server.issuer, server.jwks_uri, server.token_endpoint)
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def judge_superseded(secrets: Sequence[ObservedSecret], secret_name: str, grace: timedelta) -> Verdict | None:
    """Name the Secrets that were the resource's before its spec named another: they are left as they are."""
    if not secrets:
        return None
    names = ", ".join(secret.name for secret in secrets)
    hours = grace.total_seconds() / 3600
    message = (
        f"The spec doesn't name these Secrets of the resource any more, so they are left as they are: {names}. "
        f"A key in them works for at least {hours:g} hours after a newer one was made: let workloads use "
        f"Secret {secret_name}, then remove them"
    )
    return Verdict(SECRET_UNIQUE, "False", Reason.SUPERSEDED_SECRETS, message)


def check_secret(current: ObservedSecret | SecretSummary | None, desired: Mapping[str, Any]) -> str | None:
    """Say why the Secret must be written, or None. What others added to it is left alone."""
    if current is None:
        return "it doesn't exist"
    if isinstance(current, SecretSummary):
        return None if current.contents == _digest_contents(desired) else "it differs"
    metadata, wanted = current.manifest["metadata"], desired["metadata"]
    data = current.manifest.get("data") or {}
    differing = [key for key, value in desired["data"].items() if data.get(key) != value]
    differing += [
        f"{part} {key}"
        for part in ("labels", "annotations")
        for key, value in wanted[part].items()
        if (metadata.get(part) or {}).get(key) != value
    ]
    if wanted["ownerReferences"][0] not in (metadata.get("ownerReferences") or ()):
        differing.append("ownerReferences")
    return f"{', '.join(differing)} differ" if differing else None
