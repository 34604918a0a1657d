"""What Maskinporten says when somebody asks for a token by a client's key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.jwk import PrivateJwk

TokenOutcome = Literal["Issued", "ScopeRefused", "KeyRefused", "Refused"]
SCOPE_REFUSALS = frozenset({"invalid_scope", "forbidden"})
"""OAuth's `error` of refusals that come after the client was authenticated: it lacks a scope (MP-200, MP-201), or its
organisation lacks access to one (MP-250, MP-251)."""


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """The answer to one request for a token; nothing in it is secret.

    Attributes:
        outcome: `Issued`; `ScopeRefused` if the key was accepted and a scope wasn't; `KeyRefused` if Maskinporten
            doesn't know the client or the key, as it does for a while after they were registered; else `Refused`.
        words: What Maskinporten said to a refusal; may be empty.
        error: OAuth's `error` of a refusal (RFC 6749 §5.2); may be empty.
        code: Maskinporten's own code of it, such as `MP-200`; may be empty.
    """

    outcome: TokenOutcome
    words: str = ""
    error: str = ""
    code: str = ""

    @property
    def proves_key(self) -> bool:
        """Whether the key was accepted, whatever was said of the scopes."""
        return self.outcome in {"Issued", "ScopeRefused"}


@dataclass(frozen=True, slots=True)
class Trial:
    """What is known of credentials that are being tried.

    Attributes:
        answer: The latest answer; None if there was none yet.
        is_over: Whether nothing more is asked: a token was issued, or it was tried for long enough.
    """

    answer: TokenAnswer | None = None
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a workload would ask for.

    Attributes:
        client_id: The client.
        key: Its key; never shown.
        scopes: All that are asked for at once; at least one.
        resource: The APIs that the token is to be for, of any if there are none (RFC 8707).
        consumer: The number of the organisation that delegated the scopes, if the client's own isn't the consumer.
    """

    client_id: str
    key: PrivateJwk
    scopes: tuple[str, ...]
    resource: tuple[str, ...] = ()
    consumer: str | None = None


def find_organisation(claims: Mapping[str, Any], name: str) -> str | None:
    """Find the number of an organisation in a token's claim, `consumer` or `supplier` (ISO 6523: `0192:<number>`)."""
    organisation = claims.get(name)
    identifier = organisation.get("ID") if isinstance(organisation, dict) else None
    return identifier.rpartition(":")[2] or None if isinstance(identifier, str) else None
