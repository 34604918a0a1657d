"""What Maskinporten says when somebody asks for a token by a client's key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from maskinporten_operator.model.jwk import PrivateJwk

TokenOutcome = Literal["Issued", "ScopeRefused", "KeyRefused", "Refused"]


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """The answer to one request for a token; nothing in it is secret.

    Attributes:
        outcome: `Issued`; `ScopeRefused` if the key was accepted and a scope wasn't; `KeyRefused` if Maskinporten
            doesn't know the client or the key, as it does for a while after they were registered; else `Refused`.
        words: What Maskinporten said to a refusal; may be empty.
    """

    outcome: TokenOutcome
    words: str = ""

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
    """

    client_id: str
    key: PrivateJwk
    scopes: tuple[str, ...]
