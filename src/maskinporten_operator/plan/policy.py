"""What the cluster's configuration says about every registration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskinporten_operator.model.resources import ObjectMeta


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that planning needs, apart from where they come from.

    Attributes:
        cluster: First part of the ownership mark; holds no `:`.
        client_name: The name of registrations whose spec gives none.
        access_token_lifetime: Of registered clients, in seconds.
        default_scope: Registered when a spec consumes nothing; DigDir may refuse a client without scopes.
        key_grace: How long a key that left the Secret stays registered, for pods that still use it.
    """

    cluster: str
    client_name: str
    access_token_lifetime: int = 3600
    default_scope: str | None = None
    key_grace: timedelta = timedelta(hours=24)

    def build_description(self, meta: ObjectMeta) -> str:
        """Build the mark by which a registration is known as this resource's."""
        return f"{self.cluster}:{meta.namespace}:{meta.name}"
