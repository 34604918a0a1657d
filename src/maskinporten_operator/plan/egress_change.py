"""Changes of policies that take several writes: what is open before and after stays open in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.resources import NETWORK_POLICY
from maskinporten_operator.plan.egress import FQDN_KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from maskinporten_operator.model.resources import Kind

    Policies = Mapping[Kind, Mapping[str, Any]]

EVERYTHING: list[dict[str, Any]] = [{}]
"""The rule of a NetworkPolicy that opens every way; without any policy a pod has that too."""


def find_bridge(before: Policies, after: Policies, changed: Collection[Kind]) -> list[dict[str, Any]] | None:
    """Find the rules that a NetworkPolicy needs until the other policies have changed; None if it needs none.

    A pod may go where any of its policies lets it, and everywhere without any. The first of several policies that go
    would close what it opens, as long as there is another; so a NetworkPolicy that opens everything goes last. A single
    policy that comes opens all that is open afterwards. Of two, each write by itself may close what the other opens.

    Args:
        before: The policies that are there, by kind.
        after: Those that are to be.
        changed: The kinds that are written or deleted.
    """
    if not after:
        return EVERYTHING if len(before) > 1 else None
    named = [kind for kind in FQDN_KINDS if kind in after]
    if not named or not {*named, NETWORK_POLICY} <= {*changed} or (before and named[0] not in before):
        return None
    rules = [rule for policies in (before, after) for rule in _find_rules(policies)]
    unique = [rule for number, rule in enumerate(rules) if rule not in rules[:number]]
    return EVERYTHING if EVERYTHING[0] in unique else unique


def _find_rules(policies: Policies) -> list[dict[str, Any]]:
    if not policies:
        return EVERYTHING
    spec = policies.get(NETWORK_POLICY, {}).get("spec") or {}
    return [rule for rule in spec.get("egress") or () if isinstance(rule, dict)]
