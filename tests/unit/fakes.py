"""A small world in memory: an API server, DigDir, a clock; and builders of what is in them."""

from __future__ import annotations

import copy
import functools
import itertools
from base64 import b64decode, b64encode
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import rsa

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import (
    AlreadyExistsError,
    BadRequestError,
    ConflictError,
    OutcomeUnknownError,
    RejectedError,
    TransientError,
)
from maskinporten_operator.model.jwk import PrivateJwk, PublicJwk, RsaKey
from maskinporten_operator.model.maskinportenclient import FINALIZER, parse
from maskinporten_operator.model.registrations import INTEGRATION_TYPE, AuthorizationServer, Registration
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT, Kind, parse_meta
from maskinporten_operator.model.resources import SECRET as SECRET_KIND
from maskinporten_operator.model.scopes import AccessList, Granted, RegisteredScope
from maskinporten_operator.plan.exposed_scopes import find_owner
from maskinporten_operator.plan.platform import Platform
from maskinporten_operator.plan.registration_settings import RegistrationSettings
from maskinporten_operator.plan.secret import ObservedSecret
from maskinporten_operator.reconcile.client_pass import reconcile_maskinportenclient
from maskinporten_operator.reconcile.memory import Memory
from maskinporten_operator.reconcile.ports import FirstSeen, Ports

NAMESPACE = "some-team"
NAME = "some-app"
UID = "b9d2f0c1-5a34-4c0e-9b8e-7d2f6a1c3e55"
SECRET = "some-secret"
SCOPE = "skatt:some.scope"
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
    """A real key, small since nothing here signs with it; the same one for the same number."""
    private = rsa.generate_private_key(65537, 1024).private_numbers()
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


class Trips:
    """Sees every call of every port, and lets one of them go wrong, before or after it took effect."""

    def __init__(self):
        self.calls: list[str] = []
        self.trip_at: int | None = None
        self.trip_on: str | None = None
        self.after = False
        self.error = lambda: TransientError(Reason.CLUSTER_UNAVAILABLE, "it broke")

    def trip(self, at: int | str | None, error, *, after: bool = False):
        """Break the call of that number, or the next one of that name."""
        self.trip_at = len(self.calls) + at if isinstance(at, int) else None
        self.trip_on = at if isinstance(at, str) else None
        self.error, self.after = error, after

    def enter(self, name: str) -> bool:
        """Whether to break the call once it took effect."""
        hit = self.trip_at == len(self.calls) or self.trip_on == name
        self.calls.append(name)
        if not hit:
            return False
        self.trip_at = self.trip_on = None
        if not self.after:
            raise self.error()
        return True


def port(method):
    """Let the call of a port go wrong when it is asked to; one about a kind has it in its name, as `apply_secret`."""

    @functools.wraps(method)
    async def call(self, *args, **kwargs):
        kinds = [one.name.lower() for one in args if isinstance(one, Kind)]
        late = self.trips.enter("_".join([method.__name__, *kinds]))
        result = await method(self, *args, **kwargs)
        if late:
            raise self.trips.error()
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


class FakeMint:
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
        found = self.secrets.get(name)
        return ObservedSecret(copy.deepcopy(found)) if found else None

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


class FakeDigdir:
    """What DigDir remembers; outlives every process."""

    def __init__(self, clock: FakeClock):
        self.clock = clock
        self.clients: dict[str, Registration] = {}
        self.scopes: dict[str, dict] = {}
        self.accesses: dict[str, dict[str, str]] = {}
        self.granted: set[str] | None = None  # None grants whatever somebody asks for
        self.unlisted: set[str] = set()  # what clients may have besides, though no list tells of it
        self.refused_consumers: set[str] = set()
        self.refused_scopes: set[str] = set()  # of which no client may be had
        self.scope_list_lag = 0.0  # for how many seconds a new scope isn't listed
        self.scopes_made: dict[str, float] = {}
        self._ids = itertools.count(1)

    @property
    def active(self) -> list[Registration]:
        return [one for one in self.clients.values() if one.fields["active"]]

    def add_scope(self, name: str, description: str, *consumers: str, **fields):
        """A scope that is there already, with these consumers."""
        prefix, _, subscope = name.partition(":")
        self.scopes[name] = {
            "name": name,
            "prefix": prefix,
            "subscope": subscope,
            "description": description,
            "active": True,
            "owner_orgno": ORGNO,
        } | fields
        self.accesses[name] = dict.fromkeys(consumers, "APPROVED")
        self.scopes_made[name] = self.clock.monotonic()

    def list_scopes(self) -> dict[str, dict]:
        """The scopes as DigDir lists them."""
        newest = self.clock.monotonic() - self.scope_list_lag
        return {name: dict(fields) for name, fields in self.scopes.items() if self.scopes_made[name] <= newest}

    def check_client_scopes(self, fields):
        refused = self.refused_scopes.intersection(fields["scopes"])
        if self.granted is not None:
            refused |= set(fields["scopes"]) - self.granted - self.unlisted - {DEFAULT}
        if refused:
            words = f"{', '.join(sorted(refused))} may not be had"
            raise BadRequestError(Reason.REFUSED_BY_DIGDIR, f"DigDir refused it: {words}", words)

    def consumers(self, name: str) -> set[str]:
        """Who has access to a scope."""
        return {orgno for orgno, state in self.accesses[name].items() if state == "APPROVED"}

    def change(self, client_id: str, **fields):
        client = self.clients[client_id]
        self.clients[client_id] = replace(client, fields={**client.fields, **fields})

    def create(self, fields, *keys: PublicJwk) -> Registration:
        client_id = f"client-{next(self._ids)}"
        created = iso(self.clock.now())
        whole = registration_fields(**{**fields, "client_id": client_id, "created": created})
        self.clients[client_id] = Registration(client_id, whole, keys)
        return self.clients[client_id]

    def publish(self, client_id: str, keys) -> Registration:
        client = self.clients[client_id]
        before = {key.kid: key for key in client.keys}
        published = []
        for key in keys:
            assert key.members["use"] == "sig"
            known = before.get(key.kid)
            created = known.members.get("created") if known else iso(self.clock.now())
            exp = int((self.clock.now() + timedelta(days=365)).timestamp())
            published.append(PublicJwk({"exp": exp, **key.members} | ({"created": created} if created else {})))
        assert 1 <= len(published) <= 5
        assert len({key.kid for key in published}) == len(published)
        self.clients[client_id] = replace(client, keys=tuple(published))
        return self.clients[client_id]


class FakeRegistry:
    """What one process knows of DigDir: the newest list, and its own reads and writes since."""

    LAG = 10.0

    def __init__(self, trips: Trips, digdir: FakeDigdir, clock: FakeClock):
        self.trips, self.digdir, self.clock = trips, digdir, clock
        self.started = clock.monotonic()
        self.listed_at = -float("inf")
        self.known: dict[str, Registration] = {}
        self.lost: dict[str, float] = {}
        self.doubtful: set[str] = set()
        self.refusal: RejectedError | None = None

    async def ready(self):
        await self.listed_after(self.started - 1)

    @port
    async def listed_after(self, instant):
        if self.listed_at <= instant:
            self.listed_at = self.clock.monotonic()
            self.known = {one.client_id: one for one in self.digdir.active}

    def find(self, description):
        return tuple(one for one in self.known.values() if one.description == description)

    def holds(self, client_id):
        return client_id in self.known

    def is_doubtful(self, client_id):
        return client_id in self.doubtful

    def absence_provable_at(self, description, seen_at, *, had_finalizer):
        moments = [seen_at]
        if had_finalizer:
            moments.append(self.started + self.LAG)
        if description in self.lost:
            moments.append(self.lost[description] + self.LAG)
        return max(moments)

    def _record(self, one: Registration) -> Registration:
        self.known[one.client_id] = one
        self.doubtful.discard(one.client_id)
        self.lost.pop(one.description, None)
        return one

    @port
    async def read(self, client_id):
        found = self.digdir.clients.get(client_id)
        if found is None or not found.fields["active"]:
            self.known.pop(client_id, None)
            return None
        return self._record(found)

    async def register(self, fields):
        try:
            return self._record(await self._register(fields))
        except OutcomeUnknownError:
            self.lost[fields["description"]] = self.clock.monotonic()
            raise

    @port
    async def _register(self, fields):
        self.digdir.check_client_scopes(fields)
        return self.digdir.create(fields)

    async def update(self, one, fields):
        self.doubtful.add(one.client_id)
        return self._record(await self._update(one, fields))

    @port
    async def _update(self, one, fields):
        if self.refusal:
            raise self.refusal
        self.digdir.check_client_scopes(fields)
        self.digdir.change(one.client_id, **fields)
        return self.digdir.clients[one.client_id]

    async def publish_keys(self, one, keys):
        self.doubtful.add(one.client_id)
        return self._record(await self._publish_keys(one, keys))

    @port
    async def _publish_keys(self, one, keys):
        return self.digdir.publish(one.client_id, keys)

    async def delete_keys(self, client_id):
        await self._delete_keys(client_id)

    async def delete(self, client_id):
        await self._delete_client(client_id)
        self.known.pop(client_id, None)

    @port
    async def _delete_keys(self, client_id):
        self.digdir.clients[client_id] = replace(self.digdir.clients[client_id], keys=())

    @port
    async def _delete_client(self, client_id):
        self.digdir.change(client_id, active=False)


class FakeScopes:
    """What one process knows of the organisation's scopes."""

    LAG = 10.0

    def __init__(self, trips: Trips, digdir: FakeDigdir, clock: FakeClock):
        self.trips, self.digdir, self.clock = trips, digdir, clock
        self.started = clock.monotonic()
        self.listed_at = -float("inf")
        self.known: dict[str, RegisteredScope] = {}
        self.accesses: dict[str, AccessList] = {}
        self.doubtful: set[str] = set()
        self.lost: dict[str, float] = {}
        self.touched: set[str] = set()  # written or read by themselves since they were last believed of a list

    def resync(self):
        """What a resync does, long after the newest write."""
        self.listed_at = -float("inf")
        self.accesses.clear()
        self.touched.clear()

    async def ready(self):
        await self.listed_after(self.started - 1)

    async def listed_after(self, instant):
        if self.listed_at <= instant:
            await self._list_scopes()

    @port
    async def _list_scopes(self):
        self.listed_at = self.clock.monotonic()
        recent = {name: one for name, one in self.known.items() if name in self.touched}
        self.known = {name: RegisteredScope(name, one) for name, one in self.digdir.list_scopes().items()} | recent

    def complete_at(self, mark, *, had_finalizer):
        moments = [self.started if had_finalizer else -float("inf"), self.lost.get(mark, -float("inf"))]
        return max(moments) + self.LAG

    def find(self, name):
        return self.known.get(name)

    def find_owned(self, mark):
        owned = (one for one in self.known.values() if find_owner(one, SETTINGS.cluster) == mark)
        return tuple(sorted(owned, key=lambda one: one.name))

    def is_doubtful(self, name):
        return name in self.doubtful

    @port
    async def read(self, name):
        self.doubtful.discard(name)
        self.touched.add(name)
        self.known.pop(name, None)
        if name in self.digdir.scopes:
            self.known[name] = RegisteredScope(name, dict(self.digdir.scopes[name]))
        return self.known.get(name)

    async def read_access(self, name, *, anew=False):
        if name not in self.accesses or anew:
            self.accesses[name] = await self._list_accesses(name)
        return self.accesses[name]

    @port
    async def _list_accesses(self, name):
        return AccessList(frozenset(self.digdir.consumers(name)))

    def is_access_known(self, name):
        return name in self.accesses

    def find_access(self, name):
        return self.accesses.get(name)

    @port
    async def find_issuer(self, source):
        return {"altinn": "https://altinn.test/"}.get(source)

    async def create(self, name, fields):
        try:
            with self._doubting(name):
                await self._create(name, fields)
        except OutcomeUnknownError:
            owner = find_owner(RegisteredScope(name, fields), SETTINGS.cluster)
            self.lost[owner] = self.clock.monotonic()
            raise
        except AlreadyExistsError:
            await self.read(name)
            raise TransientError(Reason.SCOPE_CONFLICT, f"Scope {name} exists by now") from None
        self._record(name)
        self.accesses[name] = AccessList()

    @port
    async def _create(self, name, fields):
        if name in self.digdir.scopes:
            raise AlreadyExistsError(Reason.REFUSED_BY_DIGDIR, f"Scope {name} already exists")
        assert fields["active"] is True
        self.digdir.add_scope(name, **fields)

    async def update(self, name, fields):
        with self._doubting(name):
            await self._update_scope(name, fields)
        self._record(name)

    @port
    async def _update_scope(self, name, fields):
        before = self.digdir.scopes[name]
        self.digdir.scopes[name] = {"name": name, "owner_orgno": before["owner_orgno"], "active": False} | fields

    async def deactivate(self, name):
        with self._doubting(name):
            await self._deactivate(name)
        self._record(name)

    @port
    async def _deactivate(self, name):
        self.digdir.scopes[name]["active"] = False

    async def grant(self, name, orgno):
        try:
            await self._grant(name, orgno)
        except OutcomeUnknownError:
            self.accesses[name] = self.accesses[name].doubted(orgno)
            raise
        except BadRequestError as error:
            self.accesses[name] = self.accesses[name].refusing(orgno, str(error))
            raise
        self.accesses[name] = self.accesses[name].granted(orgno)

    @port
    async def _grant(self, name, orgno):
        if orgno in self.digdir.refused_consumers:
            raise BadRequestError(Reason.REFUSED_BY_DIGDIR, "DigDir refused to grant access")
        self.digdir.accesses[name][orgno] = "APPROVED"

    async def revoke(self, name, orgno):
        try:
            await self._revoke(name, orgno)
        except OutcomeUnknownError:
            self.accesses[name] = self.accesses[name].doubted(orgno)
            raise
        self.accesses[name] = self.accesses[name].revoked(orgno)

    @port
    async def _revoke(self, name, orgno):
        if orgno in self.digdir.accesses[name]:
            self.digdir.accesses[name][orgno] = "DENIED"

    @contextmanager
    def _doubting(self, name):
        self.doubtful.add(name)
        try:
            yield
        except RejectedError:
            self.doubtful.discard(name)
            raise

    def _record(self, name):
        self.doubtful.discard(name)
        self.touched.add(name)
        self.known[name] = RegisteredScope(name, dict(self.digdir.scopes[name]))


class FakeGrants:
    """What one process knows of DigDir's lists of scopes that may be consumed."""

    def __init__(self, digdir: FakeDigdir):
        self.digdir = digdir
        self.due = 0.0
        self.doubts = 0
        self.known_once: set[str] = set()
        self.own: frozenset[str] = frozenset()  # what is the organisation's own, and nothing else allows
        self.unread: tuple[str, ...] = ()

    async def find(self, names, asked):
        granted = self.digdir.granted
        known = frozenset(one for one in names if granted is None or one in granted or one in self.own)
        self.known_once |= known
        withdrawn = frozenset(self.known_once & set(names)) - known
        return Granted(known, ORGNO, self.due, self.own & known, withdrawn, self.unread)

    def doubt(self):
        self.doubts += 1


class FakeFleet:
    def __init__(self):
        self.rival: str | None = None
        self.exposer: tuple[str, str] | None = None
        self.client_ids: list[str] = []

    def find_rival(self, meta, claim, is_selected):
        if claim.what == "scope":
            return self.exposer
        return (meta.namespace, self.rival) if self.rival else None

    def known_client_ids(self, is_selected):
        return self.client_ids


class FakeOwnedObjects:
    """What the watches know of an Application's children, which is nothing to a pass over a MaskinportenClient."""

    def find_client(self, namespace, name):
        raise AssertionError("only Applications look here")

    def holds(self, kind, namespace, name):
        raise AssertionError("only Applications look here")


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


class FakeMetadata:
    def __init__(self, trips: Trips):
        self.trips = trips

    @port
    async def get(self):
        return SERVER


class World:
    """Everything at once: what outlives a process, and the process."""

    def __init__(self, settings=SETTINGS, **changes):
        self.settings = settings
        self.trips = Trips()
        self.clock = FakeClock()
        self.random = FakeRandomness()
        self.cluster = FakeCluster(self.trips, resource_body(**changes))
        self.digdir = FakeDigdir(self.clock)
        self.mint = FakeMint(self.trips)
        self.announcer = FakeAnnouncer()
        self.start()

    def start(self):
        """Begin a process, which remembers nothing of the one before."""
        self.memory = Memory()
        self.registry = FakeRegistry(self.trips, self.digdir, self.clock)
        self.scopes = FakeScopes(self.trips, self.digdir, self.clock)
        self.grants = FakeGrants(self.digdir)
        self.fleet = FakeFleet()
        self.namespaces = FakeNamespaces()
        body = self.cluster.resource
        had_finalizer = body is not None and FINALIZER in body["metadata"]["finalizers"]
        self.first_seen = FirstSeen(self.clock.monotonic(), had_finalizer)

    @property
    def ports(self) -> Ports:
        return Ports(
            settings=self.settings,
            platform=Platform(),
            cluster=self.cluster,
            registry=self.registry,
            scopes=self.scopes,
            grants=self.grants,
            mint=self.mint,
            fleet=self.fleet,
            owned=FakeOwnedObjects(),
            namespaces=self.namespaces,
            announcer=self.announcer,
            metadata=FakeMetadata(self.trips),
            clock=self.clock,
            random=self.random,
            memory=self.memory,
        )

    async def reconcile(self, body=None):
        """Run one pass; `body` is what it begins with if that is old."""
        self.trips.calls.clear()
        return await reconcile_maskinportenclient(body or self.cluster.resource, self.first_seen, self.ports)

    async def settle(self, most: int = 12):
        """Run passes, each when the one before said, until one has nothing to do and the resource is ready or held."""
        for _ in range(most):
            outcome = await self.reconcile()
            if outcome.retry is None or (not outcome.retry.failed and self.ready == "True"):
                return outcome
            self.clock.advance((outcome.retry.delay if outcome.retry.delay is not None else 1.0) + 0.1)
        raise AssertionError(f"not settled after {most} passes: {self.cluster.resource['status']}")

    @property
    def writes(self) -> list[str]:
        """The calls that changed something."""
        reads = {
            "listed_after",
            "find_secret",
            "find_maskinportenclient",
            "is_namespace_terminating",
            "is_namespace_selected",
            "read",
            "_list_scopes",
            "_list_accesses",
            "find_issuer",
            "get",
            "take",
        }
        return [call.lstrip("_") for call in self.trips.calls if call not in reads]

    @property
    def meta(self):
        return parse_meta(MASKINPORTEN_CLIENT, self.cluster.resource)

    @property
    def status(self):
        return self.cluster.resource["status"]

    @property
    def condition(self):
        (ready,) = (one for one in self.status.get("conditions", ()) if one["type"] == "Ready")
        return ready

    def find_condition(self, kind):
        """The condition of a type, or None."""
        return next((one for one in self.status.get("conditions", ()) if one["type"] == kind), None)

    @property
    def ready(self):
        return self.condition["status"] if self.status.get("conditions") else None

    @property
    def secret(self):
        return self.cluster.secrets[SECRET]

    @property
    def held(self) -> PrivateJwk:
        jwk = ObservedSecret(self.secret).jwk
        assert jwk
        return jwk

    @property
    def client(self) -> Registration:
        (client,) = self.digdir.active
        return client

    @property
    def kids(self) -> list[str]:
        return [key.kid for key in self.client.keys]
