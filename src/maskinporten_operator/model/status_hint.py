"""Lenient reading of a status. Users may write it, so it is a hint that DigDir or the API server must confirm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.conditions import Status

MAX_STATUS_SCOPES = 1000
"""Scopes in a status: those of a spec, and as many that left it. More are neither written nor believed."""


@dataclass(frozen=True, slots=True)
class ConditionHint:
    """A condition. What can't be read of it is None, and its status `Unknown`; `fields` are its members as read."""

    fields: Mapping[str, Any]

    @property
    def type(self) -> str | None:
        """The aspect."""
        return _find_text(self.fields, "type")

    @property
    def status(self) -> Status:
        """Whether the aspect holds."""
        status = self.fields.get("status")
        return "True" if status == "True" else "False" if status == "False" else "Unknown"

    @property
    def reason(self) -> str | None:
        """Why, in one word."""
        return _find_text(self.fields, "reason")

    @property
    def message(self) -> str | None:
        """What it means."""
        return _find_text(self.fields, "message")

    @property
    def since(self) -> str | None:
        """When the status last changed, as written."""
        return _find_text(self.fields, "lastTransitionTime")

    def is_of(self, generation: int | None) -> bool:
        """Whether this generation of the resource was judged."""
        return self.fields.get("observedGeneration") == generation


class ScopeHint(NamedTuple):
    """An exposed scope: its full name, its state, and how many consumers have access."""

    name: str | None
    state: str | None
    consumers: int = 0


@dataclass(frozen=True, slots=True)
class StatusHint:
    """A status. What can't be read of it is None or left out; `fields` are its members as read."""

    fields: Mapping[str, Any]

    @property
    def client_id(self) -> str | None:
        """The client's id at DigDir."""
        return _find_text(self.fields, "clientID")

    @property
    def secret_name(self) -> str | None:
        """The Secret that holds, or held, the credentials."""
        return _find_text(self.fields, "synchronizationSecretName")

    @property
    def fingerprint(self) -> str | None:
        """A hash that changes with what is in the Secret."""
        return _find_text(self.fields, "synchronizationHash")

    @property
    def rotation_request(self) -> str | None:
        """The latest request for a new key that was carried out."""
        return _find_text(_as_object(self.fields.get("key")), "rotationRequest")

    @property
    def key_id(self) -> str | None:
        """The id of the key in the Secret."""
        return _find_text(_as_object(self.fields.get("key")), "id")

    @property
    def key_created(self) -> str | None:
        """When that key was made, as written."""
        return _find_text(_as_object(self.fields.get("key")), "created")

    @property
    def next_rotation(self) -> str | None:
        """When that key is to be replaced by its age, as written."""
        return _find_text(_as_object(self.fields.get("key")), "nextRotation")

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the registered keys."""
        return _find_texts(self.fields, "keyIDs")

    @property
    def registered_scopes(self) -> tuple[str, ...]:
        """The consumed scopes that the client is registered with."""
        return _find_texts(self.fields, "registeredScopes")

    @property
    def exposed_scopes(self) -> tuple[ScopeHint, ...]:
        """The scopes that the resource exposes or exposed, `MAX_STATUS_SCOPES` at most."""
        scopes = (_as_object(one) for one in _find_list(self.fields, "exposedScopes")[:MAX_STATUS_SCOPES])
        return tuple(
            ScopeHint(_find_text(one, "name"), _find_text(one, "state"), _find_count(one, "consumers"))
            for one in scopes
        )

    @property
    def scope_names(self) -> tuple[str, ...]:
        """The names of these scopes."""
        return tuple(one.name for one in self.exposed_scopes if one.name is not None)

    @property
    def conditions(self) -> tuple[ConditionHint, ...]:
        """The conditions, in the order written."""
        return tuple(ConditionHint(one) for one in _find_list(self.fields, "conditions") if isinstance(one, dict))

    def find_condition(self, kind: str) -> ConditionHint | None:
        """Find the condition of a type."""
        found = (
            one for one in _find_list(self.fields, "conditions") if isinstance(one, dict) and one.get("type") == kind
        )
        return next(map(ConditionHint, found), None)


def read_status(body: Mapping[str, Any]) -> StatusHint:
    """Read an object's status; one without has an empty one."""
    return StatusHint(_as_object(body.get("status")))


def _as_object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _find_texts(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(one for one in _find_list(fields, name) if isinstance(one, str))


def _find_count(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) else 0


def _find_list(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    return value if isinstance(value, list) else []


def _find_text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None
