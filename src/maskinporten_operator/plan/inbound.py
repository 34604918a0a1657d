"""The policy on who may call an Application: nobody but those whom its spec or the cluster names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.resources import NETWORK_POLICY
from maskinporten_operator.plan.application_metadata import build_child_metadata
from maskinporten_operator.plan.egress import build_peer, build_pods_peer, find_rules_of_others
from maskinporten_operator.plan.ingress import find_controllers

if TYPE_CHECKING:
    from collections.abc import Collection

    from maskinporten_operator.model.application import ApplicationSpec
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.platform import Platform

SUFFIX = ".inbound"
"""Of its name: no Application's own name has a dot."""


def build_inbound_name(application: str) -> str:
    """Build the policy's name."""
    return f"{application}{SUFFIX}"


def is_inbound(name: str) -> bool:
    """Whether a NetworkPolicy of an Application is the one on who may call it."""
    return name.endswith(SUFFIX)


def is_guarded(spec: ApplicationSpec, platform: Platform) -> bool:
    """Whether the policy is made: not for what is a client at DigDir only."""
    return platform.guards_inbound and bool(spec.image or not platform.workloads or spec.access_policy.inbound)


def build_inbound_policy(
    meta: ObjectMeta, spec: ApplicationSpec, platform: Platform, going: Collection[str] = ()
) -> dict[str, Any]:
    """Build the policy; as long as it names nobody, it lets nobody in.

    The controllers of `going`, ingress classes, are let in too.
    """
    inbound = spec.access_policy.inbound
    named = [build_peer(one) for one in (inbound.rules if inbound else ()) if one.holds_in(platform.cluster)]
    always = (*find_controllers(spec, platform, going), *platform.inbound_always)
    peers = named + [build_pods_peer(one) for one in dict.fromkeys(always)]
    return {
        "apiVersion": NETWORK_POLICY.api_version,
        "kind": NETWORK_POLICY.name,
        "metadata": build_child_metadata(meta, build_inbound_name(meta.name)),
        "spec": {
            "podSelector": {"matchLabels": {"app": meta.name}},
            "policyTypes": ["Ingress"],
            # A rule that names nobody would let everybody in.
            "ingress": [{"from": peers}] if peers else [],
        },
    }


def find_unguarded(spec: ApplicationSpec, platform: Platform) -> list[str]:
    """Find what is said of callers and has no effect."""
    inbound = spec.access_policy.inbound
    if not inbound:
        return []
    if platform.guards_inbound:
        return find_rules_of_others("spec.accessPolicy.inbound", inbound.rules, platform)
    return ["spec.accessPolicy.inbound (who calls isn't restricted in this cluster)"]
