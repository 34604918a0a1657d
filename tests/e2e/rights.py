"""What the operator's ServiceAccount is granted by RBAC, and what it used of that, by the API server's audit log."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from tests.e2e.audit import CREATED, AuditLog
from tools.stack import NAMESPACE, SERVICE_ACCOUNT

if TYPE_CHECKING:
    from tools.cluster import Cluster

EVERYWHERE = "*"
REFUSAL = re.compile(
    r'User "[^"]*" cannot (\w+) resource "([^"]*)" in API group "([^"]*)"(?: in the namespace "([^"]*)")?'
)


class Right(NamedTuple):
    """A verb on a resource, with its subresource, in one namespace or everywhere; of one object if it has a name."""

    verb: str
    resource: str
    group: str
    namespace: str
    name: str = ""


class Rights(NamedTuple):
    """What is granted, what of it was used, and what was asked for and refused by RBAC."""

    granted: set[Right]
    used: set[Right]
    refused: set[Right]


def read_rights(cluster: Cluster, account: str = SERVICE_ACCOUNT) -> Rights:
    """Compare the roles that are bound to an account now with all that it has asked for since the start."""
    granted = _read_granted(cluster, account)
    user = f"system:serviceaccount:{NAMESPACE}:{account}"
    used: set[Right] = set()
    refused: set[Right] = set()
    for event in AuditLog(cluster).read_all():
        target = event.get("objectRef")
        if event["user"]["username"] != user or not target:  # discovery: anybody may
            continue
        answer = event.get("responseStatus", {})
        resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
        asked = Right(event["verb"], resource, target.get("apiGroup", ""), target.get("namespace", EVERYWHERE))
        if event["annotations"]["authorization.k8s.io/decision"] != "allow":
            # Right after its start an API server refuses what it hasn't read the roles of yet.
            if _find_granted(asked._replace(name=target.get("name", "")), granted) not in granted:
                refused.add(asked)
            continue
        # A patch that creates needs the right to create too, which is asked for within.
        if found := REFUSAL.search(answer.get("message", "")):
            refused.add(Right(found[1], found[2], found[3], found[4] or EVERYWHERE))
        verbs = {event["verb"], "create"} if answer.get("code") == CREATED else {event["verb"]}
        used |= {_find_granted(asked._replace(verb=verb, name=target.get("name", "")), granted) for verb in verbs}
    return Rights(granted, used, refused)


def _find_granted(asked: Right, granted: set[Right]) -> Right:
    """Find the right by which something was allowed: the narrowest that is granted."""
    candidates = (
        asked,
        asked._replace(name=""),
        asked._replace(namespace=EVERYWHERE),
        asked._replace(namespace=EVERYWHERE, name=""),
    )
    return next((one for one in candidates if one in granted), asked)


def _read_granted(cluster: Cluster, account: str) -> set[Right]:
    kinds = "clusterroles,clusterrolebindings,roles,rolebindings"
    items = json.loads(cluster.kubectl("get", kinds, "--all-namespaces", "-o=json"))["items"]
    roles = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one for one in items}
    granted: set[Right] = set()
    for binding in items:
        subjects = binding.get("subjects") or []
        if not any((one.get("namespace"), one["name"]) == (NAMESPACE, account) for one in subjects):
            continue
        namespace, reference = binding["metadata"].get("namespace"), binding["roleRef"]
        role = roles[reference["kind"], namespace if reference["kind"] == "Role" else None, reference["name"]]
        granted |= {
            Right(verb, resource, group, namespace or EVERYWHERE, name)
            for rule in role["rules"]
            for verb in rule["verbs"]
            for resource in rule["resources"]
            for group in rule["apiGroups"]
            for name in rule.get("resourceNames", [""])
        }
    return granted
