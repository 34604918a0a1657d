"""What a pass has established so far, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from maskinporten_operator.model.application import Application
from maskinporten_operator.model.maskinportenclient import MaskinportenClient
from maskinporten_operator.model.resources import InvalidSpec
from maskinporten_operator.plan.deployment_news import find_deployment, find_deployment_news
from maskinporten_operator.plan.registration_fields import order_scopes
from maskinporten_operator.plan.rotation import build_key_status
from maskinporten_operator.plan.status import add_synchronized

if TYPE_CHECKING:
    from maskinporten_operator.model.conditions import Verdict
    from maskinporten_operator.model.jwk import KeyDigest, PrivateJwk
    from maskinporten_operator.model.registrations import Registration

News = tuple[Literal["Normal", "Warning"], str, str]
"""An Event's type, reason and message."""
R = TypeVar("R", MaskinportenClient, Application)


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a pass did: the reason of its Event, and what, in words that begin with a small letter."""

    reason: str
    text: str


@dataclass
class Progress(Generic[R]):
    """What a pass has established so far; a status is built from it also when the pass fails half-way.

    Attributes:
        resource: The resource as our last write left it.
        actions: What was done.
        wrote: Whether something was written that isn't among the actions: the status, the finalizer.
        impaired: Whether the pass found missing what the resource needs to be ready, such as its Secret.
        generation: The generation that the pass began with and judges; a write's answer may show a newer one.
    """

    resource: R
    actions: list[Action] = field(default_factory=list)
    wrote: bool = False
    impaired: bool = False
    generation: int = field(init=False)

    def __post_init__(self) -> None:
        self.generation = self.resource.meta.generation

    def note(self, text: str, reason: str = "Synchronized") -> None:
        """Note something that was done."""
        self.actions.append(Action(reason, text))

    def build_facts(self) -> dict[str, Any]:
        """Build the status fields that this pass can tell, besides the conditions."""
        return {}

    def complete(self, verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
        """Give the verdicts of a pass with those that each resource of the kind has, wherever the pass ended."""
        return verdicts

    def find_news(self, ready: Verdict) -> News | None:  # noqa: ARG002 - what it depends on where there is any
        """Find what is to be told of how the resource is, besides what was done and what is wrong."""
        return None


@dataclass
class ClientProgress(Progress[MaskinportenClient]):
    """What a pass over a MaskinportenClient has established.

    Attributes:
        registration: Its registration as our last write or read left it.
        secret_name: The Secret that holds the credentials.
        key: The key in it.
        fingerprint: Of what is in the Secret; see `plan.secret.build_fingerprint`.
        exposed_scopes: What the status tells of the exposed scopes; None if the pass didn't get to know.
        key_max_age: The age at which the key is replaced.
        tries: How many calls were made to find out which consumed scopes DigDir takes.
    """

    registration: Registration | None = None
    secret_name: str | None = None
    key: PrivateJwk | KeyDigest | None = None
    fingerprint: str | None = None
    exposed_scopes: list[dict[str, Any]] | None = None
    key_max_age: timedelta = timedelta(0)
    tries: int = 0

    def build_facts(self) -> dict[str, Any]:
        """Build the fields of the registration and of the Secret."""
        facts: dict[str, Any] = {}
        if registration := self.registration:
            spec = self.resource.spec
            written = () if isinstance(spec, InvalidSpec) else spec.consumed_scopes
            facts |= {
                "clientID": registration.client_id,
                "keyIDs": sorted(key.kid for key in registration.keys or ()),
                "registeredScopes": list(order_scopes(registration.scopes, written)),
            }
        if self.secret_name:
            facts["synchronizationSecretName"] = self.secret_name
        if self.registration and self.key:
            facts["key"] = build_key_status(self.resource, self.registration, self.key, self.key_max_age)
        if self.fingerprint:
            facts["synchronizationHash"] = self.fingerprint
        if self.exposed_scopes or (
            self.exposed_scopes is not None and self.resource.status.fields.get("exposedScopes")
        ):
            facts["exposedScopes"] = self.exposed_scopes
        return facts


@dataclass
class ApplicationProgress(Progress[Application]):
    """What a pass over an Application has established.

    Attributes:
        client_id: The id of its client; empty if it is known to have none, None if nothing is known.
    """

    client_id: str | None = None

    def build_facts(self) -> dict[str, Any]:
        """Build the field of the client's id, null if there is none any more, and that of who deployed it."""
        facts = {} if self.client_id is None else {"clientID": self.client_id or None}
        deployment = find_deployment(self.resource.meta)
        return facts | ({"correlationID": deployment} if deployment else {})

    def complete(self, verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
        """Add `Synchronized`."""
        return add_synchronized(verdicts)

    def find_news(self, ready: Verdict) -> News | None:
        """Find what NAIS's deployment tool waits for."""
        return find_deployment_news(self.resource.meta, ready, self.resource.status)
