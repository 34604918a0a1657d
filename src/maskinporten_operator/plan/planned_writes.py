"""What the operator would write to DigDir, in words: which write, about what, and what it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT

if TYPE_CHECKING:
    from maskinporten_operator.model.conditions import Verdict

Action = Literal["create", "change", "delete", "blocked", "unchanged"]
ACTIONS: tuple[Action, ...] = ("create", "change", "delete", "blocked", "unchanged")
Target = Literal["client", "keys", "scope", "access"]
NEW_CLIENT = "new-client-"
"""How the id of a client begins that DigDir would make."""
NEW_KEY = "a new key"


@dataclass(frozen=True, slots=True)
class Write:
    """One call that would be made.

    Attributes:
        method: Of HTTP.
        path: Below the API's base URL.
        operation: What it does, in words.
        query: By the name of the parameter.
        body: What would be sent; of a key, its public half.
        before: What there is now; None if nothing, or if that isn't known.
    """

    method: str
    path: str
    operation: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    before: Mapping[str, Any] | None = None

    @property
    def target(self) -> Target:
        """What kind of thing it changes."""
        if self.path.endswith("/jwks"):
            return "keys"
        if self.path.startswith("/clients"):
            return "client"
        return "access" if self.path.startswith("/scopes/access/") else "scope"

    @property
    def name(self) -> str:
        """What it changes, by id or name; of an access, also whose it is."""
        if self.target in {"client", "keys"}:
            return self.path.split("/")[2] if self.path != "/clients" else str(self.body["description"])
        if self.target == "access":
            return f"{self.query['scope']} for {self.path.rpartition('/')[2]}"
        return self.query.get("scope") or f"{self.body['prefix']}:{self.body['subscope']}"


@dataclass(frozen=True, slots=True)
class Change:
    """A member that would become another; None for one that isn't there."""

    field: str
    old: Any
    new: Any


def find_changes(write: Write) -> tuple[Change, ...]:
    """Find what a write changes. Of keys nothing but their ids is told."""
    if write.target == "keys":
        old, new = _list_kids(write.before), _list_kids(write.body)
        named = [kid if kid in old else NEW_KEY for kid in new]
        return () if old == named else (Change("keys", old, named),)
    if not isinstance(write.body, Mapping):
        return ()
    before = write.before or {}
    return tuple(
        Change(name, before.get(name), value)
        for name, value in write.body.items()
        if before.get(name) != value and "secret" not in name
    )


def _list_kids(document: Mapping[str, Any] | None) -> list[str]:
    keys = (document or {}).get("keys")
    return [str(one["kid"]) for one in keys] if isinstance(keys, Sequence) else []


@dataclass(frozen=True, slots=True)
class ResourcePlan:
    """What the operator would do for one resource.

    Attributes:
        writes: In their order.
        ready: `Ready` as the last pass would leave it; None if it tells nothing, as at the end of a deletion.
        notices: The other conditions that would be False then.
        failed: Whether its last pass ended by a fault that may pass, so that more may be to do.
    """

    kind: str
    namespace: str
    name: str
    writes: tuple[Write, ...] = ()
    ready: Verdict | None = None
    notices: tuple[Verdict, ...] = ()
    failed: bool = False

    @property
    def action(self) -> Action:
        """What it comes to: a deleted or created client or scope outranks other writes."""
        made = {(one.method, one.target) for one in self.writes}
        if ("DELETE", "client") in made or ("DELETE", "scope") in made:
            return "delete"
        if any(one.method == "POST" and one.target in {"client", "scope"} for one in self.writes):
            return "create"
        if self.writes:
            return "change"
        return "blocked" if self.ready and self.ready.status != "True" else "unchanged"


def choose_plans(plans: Sequence[ResourcePlan]) -> list[ResourcePlan]:
    """Choose what is told: MaskinportenClients, and the Applications that would get none since they aren't ready."""
    clients = {(one.namespace, one.name) for one in plans if one.kind == MASKINPORTEN_CLIENT.name}
    return [
        one
        for one in plans
        if one.kind == MASKINPORTEN_CLIENT.name
        or (one.action == "blocked" and (one.namespace, one.name) not in clients)
    ]


def count_actions(plans: Sequence[ResourcePlan]) -> dict[Action, int]:
    """Count the resources by what would be done for them."""
    return {action: sum(one.action == action for one in plans) for action in ACTIONS}
