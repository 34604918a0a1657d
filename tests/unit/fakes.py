"""Small parts of a world in memory, such as an API server and a clock, and builders of what is in them."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import zlib
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import rsa

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import (
    ConflictError,
)
from maskinporten_operator.model.jwk import PrivateJwk, PublicJwk, RsaKey
from maskinporten_operator.model.maskinportenclient import FINALIZER, parse
from maskinporten_operator.model.registrations import INTEGRATION_TYPE, AuthorizationServer, Registration
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT, Kind
from maskinporten_operator.model.resources import SECRET as SECRET_KIND
from maskinporten_operator.plan.owner_references import build_owner_reference
from maskinporten_operator.plan.registration_settings import RegistrationSettings
from maskinporten_operator.plan.secret import ObservedSecret, SecretSummary, summarize_secret
from maskinporten_operator.plan.secret_uses import find_uses

NAMESPACE = "some-team"
NAME = "some-app"
UID = "b9d2f0c1-5a34-4c0e-9b8e-7d2f6a1c3e55"
SECRET = "some-secret"
SCOPE = "skatt:some.scope"
OTHER_SCOPE = "krr:global/kontaktinformasjon.read"
ORGNO = "889640782"
DEFAULT = "some:default"
DESCRIPTION = f"some-cluster:{NAMESPACE}:{NAME}"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = RegistrationSettings(cluster="some-cluster", client_name="Some Organisation")
SERVER = AuthorizationServer(
    "http://digdir.test/.well-known/oauth-authorization-server",
    "http://digdir.test/",
    "http://digdir.test/jwk",
    "http://digdir.test/token",
)


@functools.cache
def rsa_key(number: int) -> RsaKey:
    """A real key of a length that DigDir takes; the same one for the same number."""
    private = rsa.generate_private_key(65537, 2048).private_numbers()
    public = private.public_numbers
    numbers = (public.n, public.e, private.d, private.p, private.q, private.dmp1, private.dmq1, private.iqmp)
    return RsaKey(*map(encode_number, numbers))


def encode_number(number: int) -> str:
    text = b64encode(number.to_bytes((number.bit_length() + 7) // 8), altchars=b"-_").decode()
    return text.rstrip("=")


def private_jwk(number: int = 0, kid: str | None = None) -> PrivateJwk:
    return PrivateJwk(kid or f"mpo-b9d2f0c1-{number:016x}", rsa_key(number))


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def registered(private: PrivateJwk, created: datetime | None = NOW, *, lives: timedelta = timedelta(days=365), **more):
    """A key as the API shows it, published at `created`."""
    members = dict(private.public().members)
    if created is not None:
        members |= {"created": iso(created), "exp": int((created + lives).timestamp())}
    return PublicJwk(members | more)


def resource_body(**changes):
    """A MaskinportenClient as the API server gives it."""
    metadata = {
        "namespace": NAMESPACE,
        "name": NAME,
        "uid": UID,
        "resourceVersion": "10",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "annotations": {},
        "finalizers": [],
    } | changes.pop("metadata", {})
    spec = {"secretName": SECRET, "scopes": {"consumes": [{"name": SCOPE}]}}
    return {"metadata": metadata, "spec": spec, "status": {}} | changes


def resource(**changes):
    return parse(resource_body(**changes))


def owner_reference(uid: str = UID, name: str = NAME, kind: str = MASKINPORTEN_CLIENT.name):
    return {
        "apiVersion": MASKINPORTEN_CLIENT.api_version,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def encode(value: str) -> str:
    return b64encode(value.encode()).decode()


def decode(secret: dict, key: str) -> str:
    return b64decode(secret["data"][key]).decode()


def as_read(manifest, uid: str = "secret-uid"):
    """A Secret as the API server gives it after it was applied."""
    manifest = copy.deepcopy(dict(manifest))
    manifest["metadata"] |= {"uid": uid, "resourceVersion": "1"}
    return ObservedSecret(manifest)


def registration_fields(**changes):
    """The members of a client of ours as DigDir shows it."""
    return {
        "client_id": "client-1",
        "client_orgno": ORGNO,
        "client_name": SETTINGS.client_name,
        "description": DESCRIPTION,
        "integration_type": INTEGRATION_TYPE,
        "application_type": "web",
        "token_endpoint_auth_method": "private_key_jwt",
        "grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
        "access_token_lifetime": 3600,
        "scopes": [SCOPE],
        "authorization_lifetime": 7200,
        "active": True,
        "created": "2026-01-01T00:00:00.000000Z",
        "last_updated": "2026-01-02T00:00:00.000000Z",
    } | changes


def registration(*keys: PublicJwk, **changes) -> Registration:
    fields = registration_fields(**changes)
    return Registration(fields["client_id"], fields, keys)


class CrashError(BaseException):
    """The end of the process, in the middle of something."""


MAX_CALLS = 3000
"""More than any pass makes."""


class Trips:
    """Sees every call of every port, and lets some of them go wrong, before or after they took effect."""

    def __init__(self):
        self.calls: list[str] = []
        self._at: int | str | None = None
        self._once: tuple = ()
        self._always: dict[str, tuple] = {}

    def trip(self, at: int | str, error, *, after: bool = False):
        """Break the call of that number, or the next one of that name."""
        self._at = len(self.calls) + at if isinstance(at, int) else at
        self._once = error, after

    def trip_always(self, name: str, error, *, after: bool = False, only=lambda *_: True):
        """Break every call of that name whose arguments are as `only` says, until `fix`."""
        self._always[name] = error, after, only

    def fix(self):
        self._always.clear()

    def enter(self, name: str, *args):
        """Note a call; give the error with which to break it once it took effect, or None."""
        assert len(self.calls) < MAX_CALLS, "a pass that doesn't end"
        is_meant = self._at in (len(self.calls), name)
        self.calls.append(name)
        if is_meant:
            self._at = None
            error, after = self._once
        elif name in self._always and self._always[name][2](*args):
            error, after, _ = self._always[name]
        else:
            return None
        if not after:
            raise error()
        return error


def port(method):
    """Let the call of a port go wrong when it is asked to; one about a kind has it in its name, as `apply_secret`."""

    @functools.wraps(method)
    async def call(self, *args, **kwargs):
        kinds = [one.name.lower() for one in args if isinstance(one, Kind)]
        late = self.trips.enter("_".join([method.__name__, *kinds]), *args)
        result = await method(self, *args, **kwargs)
        if late:
            raise late()
        return result

    return call


class FakeClock:
    def __init__(self):
        self.passed = 1000.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        self.passed += 0.001  # no two looks at a clock show the same
        return self.passed

    def advance(self, seconds: float):
        self.passed += seconds


class FakeRandomness:
    def __init__(self):
        self._numbers = itertools.count(1)

    def hex(self, digits: int) -> str:
        return f"{next(self._numbers):0{digits}x}"


class FakeKeyPool:
    def __init__(self, trips: Trips):
        self.trips = trips
        self._numbers = itertools.count(20)
        self.taken: list[RsaKey] = []

    @port
    async def take(self, namespace):
        self.taken.append(rsa_key(next(self._numbers)))
        return self.taken[-1]


class FakeCluster:
    """One resource, its namespace and the Secrets there. Every write has a new resourceVersion."""

    def __init__(self, trips: Trips, body):
        self.trips = trips
        self.resource = body
        self.secrets: dict[str, dict] = {}
        self.summaries: dict[str, SecretSummary | None] = {}
        self.watch_lags = False
        self.pods: list[dict] = []
        self.rolling_out = False
        self.namespace_terminating = False
        self.namespace_selected = True
        self.pruned_status_fields: frozenset[str] = frozenset()  # what the served CRD doesn't know
        self._versions = itertools.count(100)
        self._uids = itertools.count(1)

    def touch(self, **metadata):
        """Somebody changes the resource's metadata."""
        self.resource = copy.deepcopy(self.resource)
        self.resource["metadata"] |= metadata | {"resourceVersion": str(next(self._versions))}
        return self.resource

    def annotate(self, **annotations):
        return self.touch(annotations=self.resource["metadata"]["annotations"] | annotations)

    def edit_spec(self, **changes):
        self.touch(generation=self.resource["metadata"]["generation"] + 1)
        self.resource["spec"] |= changes
        return self.resource

    def _writable(self, meta, *, versioned: bool):
        current = self.resource and self.resource["metadata"]
        stale = current and versioned and current["resourceVersion"] != str(meta.resource_version)
        if not current or current["uid"] != meta.uid or stale:
            raise ConflictError(Reason.CLUSTER_UNAVAILABLE, "The object changed meanwhile")

    @port
    async def find(self, kind, namespace, name):
        assert kind == MASKINPORTEN_CLIENT
        return copy.deepcopy(self.resource)

    @port
    async def is_namespace_terminating(self, namespace):
        return self.namespace_terminating

    @port
    async def is_namespace_selected(self, namespace):
        return self.namespace_selected

    @port
    async def find_secret(self, namespace, name):
        found = self._as_read(name)
        if found:
            self.summaries[name] = summarize_secret(found)
        return found

    def _as_read(self, name):
        """A Secret with a resourceVersion that moves with anything in it, and not otherwise."""
        found = copy.deepcopy(self.secrets.get(name))
        if found is None:
            return None
        found["metadata"].pop("resourceVersion", None)
        version = zlib.crc32(json.dumps(found, sort_keys=True).encode())
        found["metadata"]["resourceVersion"] = str(version)
        return ObservedSecret(found)

    def recall_secret(self, name):
        """What is remembered of a Secret, if it hasn't moved since it was read; with a `watch_lags` also if it has."""
        summary, now = self.summaries.get(name), self._as_read(name)
        return summary if summary and (self.watch_lags or (now and summary.version == now.version)) else None

    @port
    async def find_uses(self, namespace, secrets):
        return {name: tuple(use for pod in self.pods for use in find_uses(pod, name)) for name in secrets}

    @port
    async def apply(self, kind, manifest, uid):
        assert kind == SECRET_KIND
        name = manifest["metadata"]["name"]
        current = self.secrets.get(name)
        if uid != (current["metadata"]["uid"] if current else None):
            raise ConflictError(Reason.CLUSTER_UNAVAILABLE, "The Secret is another one")
        merged = copy.deepcopy(dict(manifest))
        if current:
            merged["data"] = current.get("data", {}) | merged["data"]
        merged["metadata"]["uid"] = current["metadata"]["uid"] if current else f"secret-{next(self._uids)}"
        self.secrets[name] = merged
        return copy.deepcopy(merged)

    @port
    async def adopt(self, kind, body, owner):
        assert kind == SECRET_KIND
        name = body["metadata"]["name"]
        now = self._as_read(name)
        if now is None or body != now.manifest:
            raise ConflictError(Reason.CLUSTER_UNAVAILABLE, "The Secret changed meanwhile")
        self.secrets[name]["metadata"]["ownerReferences"] = [build_owner_reference(owner)]
        return copy.deepcopy(self.secrets[name])

    @port
    async def add_finalizer(self, meta):
        self._writable(meta, versioned=False)
        return self.touch(finalizers=[*self.resource["metadata"]["finalizers"], FINALIZER])

    @port
    async def remove_finalizers(self, meta, names):
        if self.resource is None:
            return
        self.touch(finalizers=[one for one in self.resource["metadata"]["finalizers"] if one not in names])
        if self.resource["metadata"].get("deletionTimestamp") and not self.resource["metadata"]["finalizers"]:
            self.resource = None

    @port
    async def clear_annotations(self, meta, names):
        self._writable(meta, versioned=False)
        kept = {k: v for k, v in self.resource["metadata"]["annotations"].items() if k not in set(names)}
        return self.touch(annotations=kept)

    @port
    async def write_status(self, meta, status):
        self._writable(meta, versioned=True)
        self.touch()
        kept = {name: value for name, value in status.items() if name not in self.pruned_status_fields}
        self.resource["status"] = copy.deepcopy(kept)
        return self.resource


class FakeResourceStore:
    def __init__(self):
        self.rival: str | None = None
        self.exposer: tuple[str, str] | None = None
        self.client_ids: list[str] = []

    def find_rival(self, meta, claim, is_selected):
        if claim.what == "scope":
            return self.exposer
        return (meta.namespace, self.rival) if self.rival else None

    def known_client_ids(self, is_selected):
        return [set(self.client_ids)]


class FakeSecrets:
    """What the watch knows of the Secrets."""

    def __init__(self, cluster: FakeCluster):
        self.cluster = cluster

    def find_owned(self, meta):
        owners = {name: body["metadata"].get("ownerReferences") or () for name, body in self.cluster.secrets.items()}
        return tuple(
            sorted(name for name, references in owners.items() if meta.name in {r["name"] for r in references})
        )


class FakeChildren:
    """What the watches know of an Application's children, which is nothing to a pass over a MaskinportenClient."""

    def find_client(self, namespace, name):
        raise AssertionError("only Applications look here")

    def contains(self, kind, namespace, name):
        raise AssertionError("only Applications look here")

    def __init__(self, cluster: FakeCluster):
        self.cluster = cluster

    def is_rolling_out(self, namespace, name):
        return self.cluster.rolling_out

    async def secrets_listed(self):
        pass

    def recall_secret(self, namespace, name):
        return self.cluster.recall_secret(name)

    def forget_secret(self, namespace, name):
        self.cluster.summaries.pop(name, None)


class FakeNamespaces:
    """What the watches tell of the one namespace."""

    def __init__(self):
        self.ending = False
        self.selected = True

    async def ready(self):
        pass

    def is_ending(self, name):
        return self.ending

    def is_selected(self, name):
        return self.selected


class FakeAnnouncer:
    def __init__(self):
        self.announced: list[tuple[str, str, str]] = []

    def announce(self, meta, kind, reason, message):
        self.announced.append((kind, reason, message))
