"""What a pass depends on, implemented by adapters and runtime. All methods raise only `OperatorError`s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from maskinporten_operator.model.claims import Claim
    from maskinporten_operator.model.jwk import PublicJwk, RsaKey
    from maskinporten_operator.model.registrations import AuthorizationServer, Registration
    from maskinporten_operator.model.resources import Kind, ObjectMeta
    from maskinporten_operator.model.scopes import AccessList, Granted, RegisteredScope
    from maskinporten_operator.model.tokens import TokenRequest, Trial
    from maskinporten_operator.plan.platform import Platform
    from maskinporten_operator.plan.registration_settings import RegistrationSettings
    from maskinporten_operator.plan.rollout import PodTrouble
    from maskinporten_operator.plan.secret import ObservedSecret, SecretSummary
    from maskinporten_operator.plan.secret_uses import SecretUse
    from maskinporten_operator.reconcile.memory import Memory


class Cluster(Protocol):
    """The API server. A write returns the object as the server left it."""

    async def find(self, kind: Kind, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Read an object anew, whoever owns it; None if there is none."""

    async def is_namespace_terminating(self, namespace: str) -> bool:
        """Whether the namespace is being deleted, or gone."""

    async def is_namespace_selected(self, namespace: str) -> bool:
        """Whether the namespace is managed, by its labels now."""

    async def find_secret(self, namespace: str, name: str) -> ObservedSecret | None:
        """Read a Secret, whoever owns it."""

    async def find_uses(self, namespace: str, secrets: Sequence[str]) -> Mapping[str, tuple[SecretUse, ...]]:
        """Find, by Secret, the running containers that use it; none where the operator may not list pods."""

    async def find_troubles(self, namespace: str, app: str) -> Sequence[PodTrouble]:
        """Find what keeps an application's pods from coming up; none where the operator may not list pods."""

    async def apply(self, kind: Kind, manifest: Mapping[str, Any], uid: str | None) -> Mapping[str, Any]:
        """Apply an object; `uid` is that of the one it must be, None to create it."""

    async def adopt(self, kind: Kind, body: Mapping[str, Any], owner: ObjectMeta) -> Mapping[str, Any]:
        """Make a resource the only owner of an object that was read, unless that changed since."""

    async def apply_replicas(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Apply a Deployment's number of pods, and nothing else, as a manager of its own."""

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete an object unless it is another one by now; done when it is gone."""

    async def add_finalizer(self, meta: ObjectMeta) -> Mapping[str, Any]:
        """Put our finalizer on the resource, others' kept."""

    async def remove_finalizers(self, meta: ObjectMeta, names: Sequence[str]) -> None:
        """Take finalizers off, our own first, others' kept; done when the resource is gone."""

    async def clear_annotations(self, meta: ObjectMeta, names: Iterable[str]) -> Mapping[str, Any]:
        """Remove annotations, if they are there."""

    async def write_status(self, meta: ObjectMeta, status: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace the status, unless the resource changed since `meta`."""


class Verifier(Protocol):
    """Tries credentials at Maskinporten, beside the passes, and has a pass made when there is news of them."""

    def verify(self, meta: ObjectMeta, subject: str, request: TokenRequest) -> Trial:
        """Give the trial of a resource's credentials, which `subject` names; it begins if it hasn't yet."""


class RegistrationIndex(Protocol):
    """The organisation's client registrations, from periodic lists and our own writes."""

    async def ready(self) -> None:
        """Return when a list has been read since the start; raise when that fails."""

    def find(self, description: str) -> tuple[Registration, ...]:
        """Give the usable registrations with exactly this description."""

    def count_missing(self, client_ids: AbstractSet[str]) -> int:
        """Count the clients that neither the newest list, nor a write or read since, has."""

    def is_unconfirmed(self, client_id: str) -> bool:
        """Whether a write to it was left without an answer since it was last read."""

    async def listed_after(self, instant: float) -> None:
        """Return when a list that was started after `instant` (monotonic seconds) has been read."""

    def absence_provable_at(self, description: str, seen_at: float, *, had_finalizer: bool) -> float:
        """Say when (monotonic seconds) a list may prove that no such registration exists.

        `seen_at` is when this process first saw the resource, and `had_finalizer` whether our finalizer was on it then:
        an earlier process may have registered it just before it ended.
        """

    async def read(self, client_id: str) -> Registration | None:
        """Read a registration with its keys; None if DigDir says that it doesn't exist or is inactive."""

    async def read_keys(self, registration: Registration) -> Registration:
        """Read the keys of a registration that is listed without, and give it with them."""

    async def register(self, fields: Mapping[str, Any]) -> Registration:
        """Create a registration."""

    async def update(self, registration: Registration, fields: Mapping[str, Any]) -> Registration:
        """Replace a registration's fields."""

    async def publish_keys(self, registration: Registration, keys: Sequence[PublicJwk]) -> Registration:
        """Make `keys` the client's complete key set."""

    async def delete_keys(self, client_id: str) -> None:
        """Delete the keys of a client that is about to be deleted; a refusal is ignored."""

    async def delete(self, client_id: str) -> None:
        """Delete a client for good; done when DigDir says that it is gone."""


class ScopeIndex(Protocol):
    """The organisation's own scopes and their access lists, from periodic lists and our own writes."""

    async def ready(self) -> None:
        """Return when a list has been read since the start; raise when that fails."""

    def find(self, name: str) -> RegisteredScope | None:
        """Give the scope of this full name, whoever's it is, inactive or not."""

    def find_owned(self, ownership: str) -> tuple[RegisteredScope, ...]:
        """Give the scopes with this ownership, inactive ones too."""

    def is_unconfirmed(self, name: str) -> bool:
        """Whether a write to it was left without an answer since it was last read."""

    async def listed_after(self, instant: float) -> None:
        """Return when a list that was started after `instant` (monotonic seconds) has been read."""

    def complete_at(self, ownership: str, *, had_finalizer: bool) -> float:
        """Say when (monotonic seconds) a list has all scopes of a resource; `had_finalizer` as with registrations."""

    async def read(self, name: str) -> RegisteredScope | None:
        """Read a scope anew; None if DigDir says that it doesn't exist."""

    async def read_access(self, name: str, *, anew: bool = False) -> AccessList:
        """Give who may use one of our scopes: read once, and again after each resync, or if asked to."""

    def is_access_known(self, name: str) -> bool:
        """Whether `read_access` gives who may use a scope without a call."""

    def find_access(self, name: str) -> AccessList | None:
        """Give who may use a scope as far as it was read."""

    async def find_issuer(self, source: str) -> str | None:
        """Find a delegation source's issuer by the source's name; None if DigDir lists none of that name."""

    async def create(self, name: str, fields: Mapping[str, Any]) -> None:
        """Create a scope.

        Raises:
            TransientError: There is one by now; it has been read.
        """

    async def update(self, name: str, fields: Mapping[str, Any]) -> None:
        """Replace a scope's fields."""

    async def deactivate(self, name: str) -> None:
        """Deactivate a scope; done when there is none."""

    async def grant(self, name: str, orgno: str) -> None:
        """Give an organisation access; a refusal is remembered in the access list."""

    async def revoke(self, name: str, orgno: str) -> None:
        """Take an organisation's access back; done when it has none."""


class GrantIndex(Protocol):
    """The scopes that the organisation may use, listed every few minutes."""

    async def find(self, names: Iterable[str], asked: float) -> Granted:
        """Say which of the scopes may be registered on a client.

        A name that isn't known has the lists read anew, unless they are newer than the question of `asked` (monotonic
        seconds), or were read a few seconds ago.
        """

    def expire(self) -> None:
        """DigDir refused what the lists allow: the next question reads them again."""


class KeyPool(Protocol):
    """Where new keys come from."""

    async def take(self, namespace: str) -> RsaKey:
        """Take a new key for a namespace, minted ahead if there is one; namespaces that wait are served round-robin."""


class ResourceStore(Protocol):
    """All resources that this process knows, each in its newest version."""

    def find_rival(self, meta: ObjectMeta, claim: Claim, is_selected: Callable[[str], bool]) -> tuple[str, str] | None:
        """Find an older resource, by namespace and name, that claims the same and is managed."""

    def known_client_ids(self, is_selected: Callable[[str], bool]) -> Iterable[AbstractSet[str]]:
        """Give, by namespace, the client ids in the statuses of resources that are managed and aren't being deleted."""


class Secrets(Protocol):
    """The Secrets with our label, as the watch has delivered them."""

    def find_owned(self, meta: ObjectMeta) -> tuple[str, ...]:
        """Give the names of those that a resource of this name owns, sorted."""


class Children(Protocol):
    """The objects with our label, as the watches have delivered them."""

    def find_client(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Give a MaskinportenClient in its newest version, whoever made it."""

    def is_rolling_out(self, namespace: str, name: str) -> bool:
        """Whether the Application of that name is known to have a rollout under way."""

    def contains(self, kind: Kind, namespace: str, name: str) -> bool:
        """Whether there is an object of that name with our label."""

    def find_owned(self, kind: Kind, meta: ObjectMeta) -> tuple[str, ...]:
        """Give the names of the objects of a kind with our label that an Application of this name owns."""

    async def secrets_listed(self) -> None:
        """Return when the Secrets with our label have been listed once, or that takes too long."""

    def recall_secret(self, namespace: str, name: str) -> SecretSummary | None:
        """Give what is remembered of a Secret that hasn't moved since it was read; None if it must be read."""

    def forget_secret(self, namespace: str, name: str) -> None:
        """Forget it: it is about to be written, and the answer to that may be lost."""


class Namespaces(Protocol):
    """What the watches know of namespaces; a hint that the API server must confirm."""

    async def ready(self) -> None:
        """Return when those that are managed have been listed once; raise when that takes too long."""

    def is_ending(self, name: str) -> bool:
        """Whether it was seen to be in deletion."""

    def is_selected(self, name: str) -> bool:
        """Whether it is managed."""


class Announcer(Protocol):
    """Posts Kubernetes Events. Announcing neither waits nor fails."""

    def announce(self, meta: ObjectMeta, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Queue an Event about a resource."""


class Metadata(Protocol):
    """Maskinporten's metadata (RFC 8414)."""

    async def get(self) -> AuthorizationServer:
        """Give the metadata, read once in a while."""


class Clock(Protocol):
    """Time."""

    def now(self) -> datetime:
        """Give the wall-clock time, UTC."""

    def monotonic(self) -> float:
        """Give seconds that only go forward."""


class Randomness(Protocol):
    """Chance."""

    def hex(self, digits: int) -> str:
        """Give random hexadecimal digits, fit for key ids."""


@dataclass(frozen=True, slots=True)
class Digdir:
    """DigDir's self-service API, and Maskinporten's metadata."""

    registrations: RegistrationIndex
    scopes: ScopeIndex
    grants: GrantIndex
    metadata: Metadata
    verifier: Verifier


@dataclass(frozen=True, slots=True)
class Known:
    """What the watches have delivered: the MaskinportenClients, what they and Applications own, and namespaces."""

    resources: ResourceStore
    secrets: Secrets
    children: Children
    namespaces: Namespaces


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that a pass works with."""

    settings: RegistrationSettings
    platform: Platform
    digdir: Digdir
    cluster: Cluster
    known: Known
    key_pool: KeyPool
    announcer: Announcer
    clock: Clock
    random: Randomness
    memory: Memory


@dataclass(frozen=True, slots=True)
class FirstSeen:
    """When this process first saw a resource (monotonic seconds), and whether our finalizer was on it then."""

    at: float
    had_finalizer: bool
