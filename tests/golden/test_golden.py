"""What Applications make of a cluster: single rules in `cases/`, whole manifests as teams write them in `manifests/`.

Each is a YAML file with these parts.

`platform`: where the Application runs, the fields of `plan.platform.Platform` that differ from `BASE`.

`application`: the manifest as a user writes it; the runner adds what an API server adds.

`before`: what the operator has applied already: everything that `application` asks for on `platform`, each with a JSON
merge patch: `spec` (of the Application's spec), `annotations`, `platform`. `before: {}` is thus a cluster in which all
is in place, the pods are up and there is one for each that the spec asks for. Without `before` there is nothing.

`client`: the MaskinportenClient: `new` (applied, has yet to say how it is), `ready`, `refused` (by DigDir), `waiting`
(for DigDir), or the fields in which it differs from a ready one, as a merge patch. With `before` it is ready.

`existing`: further objects that are there. One that is there by `before` or `client` takes it as a merge patch.

`expect`: all that follows; nothing else may. `error` alone for a manifest that can't be used; or
  `apply`: the manifests, in order, without the hash that the operator adds;
  `reasons`: why, if the case is about that;
  `replicas`: the number of pods that is set;
  `delete`: kind and name of what is deleted;
  `hold`: the reason why a child can't be applied;
  `conditions`: by type, when the client has been waited for long enough: status, reason, message.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from maskinporten_operator.model.application import InvalidSpec, parse_application
from maskinporten_operator.model.resources import (
    CILIUM_POLICY,
    DEPLOYMENT,
    EXPOSURE_KINDS,
    FQDN_POLICY,
    MASKINPORTEN_CLIENT,
    NETWORK_POLICY,
    WORKLOAD_KINDS,
)
from maskinporten_operator.plan.application_plan import (
    PATIENCE,
    ApplicationSnapshot,
    ApplyChild,
    DeleteChild,
    SetReplicas,
    Workload,
    find_unsupported,
    judge,
    plan_application,
)
from maskinporten_operator.plan.children import HASH_ANNOTATION, ChildName, _seal, build_children
from maskinporten_operator.plan.egress import FQDN_KINDS
from maskinporten_operator.plan.ingress_classes import parse_controller, parse_ingress_class
from maskinporten_operator.plan.manifest_findings import Rule, find_findings
from maskinporten_operator.plan.owner_references import is_owned_by
from maskinporten_operator.plan.platform import (
    Platform,
    Webproxy,
    find_published_addresses,
    parse_caller,
    parse_dns_server,
)
from maskinporten_operator.plan.registration_settings import RegistrationSettings
from maskinporten_operator.plan.rollout import read_rollout
from tests.children import (
    Objects,
    application_body,
    carry_out,
    keep,
    look,
    merge,
    set_available,
    set_ready,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = Path(__file__).parent / "cases"
MANIFESTS = Path(__file__).parent / "manifests"
BASE = {"name": "generic", "cluster": "some-cluster", "backend": "none", "hosts": ["test.maskinporten.no"]}
OWNED = (*WORKLOAD_KINDS, *EXPOSURE_KINDS, NETWORK_POLICY, FQDN_POLICY, CILIUM_POLICY)
KINDS = {kind.name: kind for kind in (MASKINPORTEN_CLIENT, *OWNED)}
PARSERS: dict[str, Callable[[str], Any]] = {
    "dns": parse_dns_server,
    "inbound_always": parse_caller,
    "ingress_classes": parse_ingress_class,
    "ingress_controllers": parse_controller,
}
REFUSAL = {
    "status": "False",
    "reason": "RefusedByDigDir",
    "message": "DigDir refuses the scope skatt:some.scope: its owner hasn't granted it to the organisation",
}
WAIT = {"status": "Unknown", "reason": "AwaitingList", "message": "Waiting for DigDir's list"}


def build_platform(fields: dict[str, Any]) -> Platform:
    whole: dict[str, Any] = BASE | fields
    proxy = whole.get("webproxy")
    if version := whole.get("fqdn_kind"):
        whole["fqdn_kind"] = next(kind for kind in FQDN_KINDS if kind.api_version == version)
    lists = {name: tuple(value) for name, value in whole.items() if isinstance(value, list)}
    for name, parse in PARSERS.items():
        if name in lists:
            lists[name] = tuple(parse(one) for one in lists[name])
    lists["cidrs"] = lists.get("cidrs", find_published_addresses(lists["hosts"]))
    if proxy:
        lists["webproxy"] = Webproxy(**{k: tuple(v) if isinstance(v, list) else v for k, v in proxy.items()})
    return Platform(**(whole | lists))


def build_body(manifest: dict[str, Any]) -> dict[str, Any]:
    assert (manifest["apiVersion"], manifest["kind"]) == ("nais.io/v1alpha1", "Application")
    return application_body(manifest["spec"], **manifest["metadata"])


def build_objects(case: dict[str, Any]) -> Objects:
    """What is there before the pass."""
    past = case.get("before")
    before = past or {}
    manifest = case["application"]
    metadata = merge(manifest["metadata"], {"annotations": before.get("annotations", {})})
    body = build_body(manifest | {"metadata": metadata, "spec": merge(manifest["spec"], before.get("spec", {}))})
    application = parse_application(body)
    platform = build_platform(merge(case.get("platform", {}), before.get("platform", {})))
    objects: Objects = {}
    if client := case.get("client", "ready" if past is not None else None):
        seen = look(application, {})
        desired = build_children(application.meta, seen.spec, platform, None)
        name = ChildName(MASKINPORTEN_CLIENT, application.meta.name)
        if name in desired:
            objects[name] = build_client(keep(desired[name]), client)
    if past is not None:
        objects = carry_out(plan_application(look(application, objects), platform), application, objects)
    for one in case.get("existing", ()):
        child = ChildName(KINDS[one["kind"]], one["metadata"]["name"])
        filled = keep({"metadata": {}, "kind": one["kind"], "spec": {}})
        filled["metadata"]["namespace"] = application.meta.namespace
        objects[child] = merge(objects.get(child, filled), one)
    deployment = ChildName(DEPLOYMENT, application.meta.name)
    if past is not None and deployment in objects and not objects[deployment]["status"]:
        objects[deployment] = set_available(objects[deployment])
    return objects


def build_client(client: dict[str, Any], how: Any) -> dict[str, Any]:
    match how:
        case "new":
            return client
        case "ready":
            return set_ready(client)
        case "refused":
            return set_ready(client, secret=False, **REFUSAL)
        case "waiting":
            return set_ready(client, secret=False, **WAIT)
    return merge(set_ready(client), how)


def strip_hash(manifest: dict[str, Any]) -> dict[str, Any]:
    """Take off the hash, which must be that of the rest."""
    bare = {**manifest, "metadata": dict(manifest["metadata"])}
    annotations = dict(bare["metadata"].pop("annotations"))
    del annotations[HASH_ANNOTATION]
    if annotations:
        bare["metadata"]["annotations"] = annotations
    assert _seal(bare) == manifest
    return bare


def run(case: dict[str, Any]) -> dict[str, Any]:
    """What follows from a case, in the shape of `expect`."""
    platform = build_platform(case.get("platform", {}))
    application = parse_application(build_body(case["application"]))
    if isinstance(application.spec, InvalidSpec):
        return {"error": application.spec.message}
    objects = build_objects(case)
    seen = look(application, objects)
    plan = plan_application(seen, platform)
    applied = [step for step in plan.steps if isinstance(step, ApplyChild)]
    for step in applied:
        assert step.uid == (objects[step.child]["metadata"]["uid"] if step.child in objects else None)
    after = carry_out(plan, application, objects)
    found: dict[str, Any] = {
        "apply": [strip_hash(dict(step.manifest)) for step in applied],
        "reasons": {str(step.child): step.reason for step in applied},
        "replicas": next((step.count for step in plan.steps if isinstance(step, SetReplicas)), None),
        "delete": [str(step.child) for step in plan.steps if isinstance(step, DeleteChild)],
        "hold": str(plan.blocker.reason) if plan.blocker else None,
        "conditions": judge_after(look(application, after), platform, plan.blocker),
    }
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def judge_after(seen: ApplicationSnapshot, platform: Platform, hold: Any) -> dict[str, list[str]]:
    deployment = seen.children.get(ChildName(DEPLOYMENT, seen.application.meta.name))
    is_ours = deployment is not None and is_owned_by(deployment, seen.application.meta)
    workload = Workload(read_rollout(deployment)) if deployment and is_ours else Workload()
    outcome = judge(seen, platform, workload, hold, PATIENCE + 1)
    return {one.type: [one.status, str(one.reason), one.message] for one in outcome.verdicts}


PATHS = sorted([*CASES.glob("*.yaml"), *MANIFESTS.glob("*.yaml")])


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_an_application_makes_of_a_cluster_what_its_case_says(path):
    case = yaml.safe_load(path.read_text())
    assert case.keys() <= {"platform", "application", "before", "client", "existing", "expect"}
    expected = case["expect"]
    found = run(case)
    if "reasons" not in expected:
        found.pop("reasons", None)
    assert found == expected


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_check_finds_in_a_manifest_what_the_operator_says_of_it(path):
    case = yaml.safe_load(path.read_text())
    manifest, expected = case["application"], case["expect"]
    platform = build_platform(case.get("platform", {}))

    found = find_findings(manifest, "some-namespace", RegistrationSettings("some-cluster", "some-name"), platform)

    refused = [str(one) for one in found if one.rule.level == "error"]
    without_effect = [one for one in found if one.rule == Rule.NOT_ACTED_ON]
    if "error" in expected:
        assert [one.partition(":")[0] for one in refused] == [
            one.partition(":")[0] for one in expected["error"].split("; ")
        ]
    else:
        _, reason, message = expected["conditions"]["Ready"]
        assert refused == ([f"spec.webproxy: {message}"] if reason == "WebproxyRequired" else [])
        spec = parse_application(build_body(manifest)).spec
        fields = find_unsupported(
            ApplicationSnapshot(parse_application(build_body(manifest)), spec, None, {}), platform
        )
        assert [one.path for one in without_effect] == [one.partition(" (")[0] for one in fields]
        assert bool(fields) == (expected["conditions"]["AllFieldsSupported"][0] == "False")


def test_there_are_cases():
    assert len(list(CASES.glob("*.yaml"))) >= 44
    assert len(list(MANIFESTS.glob("*.yaml"))) >= 40
