"""What the cluster's configuration says about every registration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from maskinporten_operator.model.scopes import matches_any

if TYPE_CHECKING:
    from maskinporten_operator.model.resources import ObjectMeta


@dataclass(frozen=True, slots=True)
class RegistrationSettings:
    """The settings that plans of MaskinportenClients depend on.

    Attributes:
        cluster: First part of every ownership; holds no `:`.
        client_name: The name of registrations whose spec gives none.
        access_token_lifetime: Of registered clients, in seconds.
        default_scope: Registered when a spec consumes nothing; DigDir may refuse a client without scopes.
        forbidden_scopes: Names of scopes that no resource may consume; * stands for any characters.
        key_grace: How long a key that left the Secret stays registered, for pods that still use it.
        key_max_age: The age at which a key is replaced; zero for never.
        scope_prefix: The prefix of exposed scopes.
        withdrawn_scopes: What becomes of a scope that leaves the spec.
        grant_recheck: Seconds between checks of a scope that isn't granted.
        deletion_policy: What becomes of client and scopes when a resource is deleted whose annotations don't say.
        takes_over: Whether Digdirator's finalizers are removed when a resource is deleted.
        verifies: Whether Maskinporten is asked for tokens, to see whether credentials work.
    """

    cluster: str
    client_name: str
    access_token_lifetime: int = 3600
    default_scope: str | None = None
    forbidden_scopes: tuple[str, ...] = ()
    key_grace: timedelta = timedelta(hours=24)
    key_max_age: timedelta = timedelta(0)
    scope_prefix: str = "nav"
    withdrawn_scopes: Literal["Keep", "Deactivate"] = "Keep"
    grant_recheck: float = 180.0
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    takes_over: bool = False
    verifies: bool = False

    def build_ownership(self, meta: ObjectMeta) -> str:
        """Build the ownership of what is the resource's at DigDir; the description of its registration."""
        return f"{self.cluster}:{meta.namespace}:{meta.name}"

    def forbids(self, scope: str) -> bool:
        """Whether no resource may consume a scope, whatever DigDir says."""
        return matches_any(scope, self.forbidden_scopes)
