"""What DigDir's answers look like, and how they become registrations and scopes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from maskinporten_operator.model.jwk import PublicJwk
from maskinporten_operator.model.registrations import Registration
from maskinporten_operator.model.scopes import RegisteredScope
from maskinporten_operator.model.shared_values import share_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


def read_registration(body: Any) -> Registration:
    """Read a client as the API gives it, alone or in a list.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(body, dict) or not isinstance(body.get("client_id"), str):
        raise ValueError("not a client")  # noqa: TRY004 - one error for a body of any other form
    fields = share_values({name: value for name, value in body.items() if name != "jwks"})
    return Registration(fields["client_id"], fields, _find_keys(body.get("jwks")))


def read_registrations(body: Any) -> tuple[Registration, ...]:
    """Read a list of clients.

    Raises:
        ValueError: It is something else.
    """
    return tuple(read_registration(one) for one in _list(body))


class _Head(msgspec.Struct):
    """What tells whose a client is."""

    client_id: str
    description: Any = None


class OwnedClients:
    """Reads lists of clients, of which those are kept whose description begins with a prefix.

    A client whose text is the same as in the list before is the same `Registration`: of a long list little is read
    anew, and no second copy is made.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._head = msgspec.json.Decoder(_Head)
        self._body = msgspec.json.Decoder()
        self._before: dict[int, Registration | None] = {}  # by the hash of the text
        self._now: dict[int, Registration | None] = {}

    def begin(self) -> None:
        """A list is about to be read; what the one before it told is known."""
        self._before, self._now = self._now, {}

    def read(self, raw: msgspec.Raw) -> Registration | None:
        """Read a client of the list; None if its description has another prefix.

        Raises:
            ValueError: It is something else.
        """
        text = hash(bytes(raw))
        registration = self._before[text] if text in self._before else self._decode(raw)
        self._now[text] = registration
        return registration

    def _decode(self, raw: msgspec.Raw) -> Registration | None:
        if not str(self._head.decode(raw).description).startswith(self._prefix):
            return None
        return read_registration(self._body.decode(raw))


def _find_keys(body: Any) -> tuple[PublicJwk, ...] | None:
    """Read the keys within a client; None if there are none, or they are malformed: others mustn't be lost by that."""
    try:
        return read_keys(body)
    except ValueError:
        return None


def read_keys(body: Any) -> tuple[PublicJwk, ...]:
    """Read a key set; one without keys may be `{}`.

    Raises:
        ValueError: It is something else.
    """
    keys = body.get("keys") or [] if isinstance(body, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) and key.get("kid") for key in keys):
        raise ValueError("not a key set")
    return tuple(PublicJwk(share_values(key)) for key in keys)


@dataclass(frozen=True, slots=True)
class Grant:
    """An organisation's access to a scope; `approved` is False when it was taken back, or merely asked for."""

    scope: str
    orgno: str
    approved: bool


def read_scope(body: Any) -> RegisteredScope:
    """Read a scope as the API gives it, alone or in a list.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(body, dict):
        raise ValueError("not a scope")  # noqa: TRY004 - as above
    name = body.get("name")
    if not isinstance(name, str):  # the API computes it
        name = f"{_text(body, 'prefix')}:{_text(body, 'subscope')}"
    # An empty source is none, and the API takes no empty one back.
    return RegisteredScope(name, {key: one for key, one in body.items() if (key, one) != ("delegation_source", "")})


def read_scopes(body: Any) -> tuple[RegisteredScope, ...]:
    """Read a list of scopes. One scope's oddity must not hide all the others.

    Raises:
        ValueError: It is something else.
    """
    return tuple(_read_each(read_scope, body))


def read_grants(body: Any) -> tuple[Grant, ...]:
    """Read a list of accesses. One row's oddity must not hide all the others.

    Raises:
        ValueError: It is something else.
    """
    return tuple(_read_each(_read_grant, body))


def _read_grant(body: Any) -> Grant:
    return Grant(_text(body, "scope"), _text(body, "consumer_orgno"), body.get("state") == "APPROVED")


def _read_each(read: Callable[[Any], T], body: Any) -> Iterator[T]:
    for one in _list(body):
        with suppress(ValueError):
            yield read(one)


def read_delegation_sources(body: Any) -> tuple[tuple[str, str], ...]:
    """Read the names, in small letters, and issuers of delegation sources. One row's oddity must not hide the others.

    Raises:
        ValueError: It is something else.
    """
    return tuple(_read_each(lambda one: (_text(one, "name").lower(), _text(one, "issuer")), body))


def read_prefixes(body: Any) -> tuple[str, ...]:
    """Read a list of prefixes. One row's oddity must not hide the others.

    Raises:
        ValueError: It is something else.
    """
    return tuple(_read_each(lambda one: _text(one, "prefix"), body))


def _list(body: Any) -> list[Any]:
    if not isinstance(body, list):
        raise ValueError("not a list")  # noqa: TRY004 - as above
    return body


def _text(body: Any, member: str) -> str:
    value = body.get(member) if isinstance(body, dict) else None
    if not isinstance(value, str):
        raise ValueError(f"no {member}")  # noqa: TRY004 - as above
    return value
