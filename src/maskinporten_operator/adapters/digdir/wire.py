"""What DigDir's answers look like, and how they become registrations."""

from __future__ import annotations

from typing import Any

from maskinporten_operator.model.keys import PublicJwk
from maskinporten_operator.model.registrations import Registration


def read_registration(body: Any) -> Registration:
    """Read a client as the API gives it, alone or in a list.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(body, dict) or not isinstance(body.get("client_id"), str):
        raise ValueError("not a client")  # noqa: TRY004 - one error for a body of any other form
    fields = {name: value for name, value in body.items() if name != "jwks"}
    return Registration(body["client_id"], fields, _find_keys(body.get("jwks")))


def read_registrations(body: Any) -> tuple[Registration, ...]:
    """Read a list of clients.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(body, list):
        raise ValueError("not a list")  # noqa: TRY004 - as above
    return tuple(read_registration(one) for one in body)


def _find_keys(body: Any) -> tuple[PublicJwk, ...] | None:
    """Read the keys within a client; None if they aren't told. One client's oddity must not hide all the others."""
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
    return tuple(PublicJwk(key) for key in keys)
