"""The plan for one Application: what holds for every spec. What it makes of one is in tests/golden."""

import copy
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskinporten_operator.model.application import parse_application
from maskinporten_operator.model.conditions import (
    ALL_FIELDS_SUPPORTED,
    AVAILABLE,
    MASKINPORTEN_READY,
    READY,
    SCOPES_UNIQUE,
    SYNCHRONIZED,
    Reason,
)
from maskinporten_operator.model.errors import RejectedError, TransientError
from maskinporten_operator.model.resources import DEPLOYMENT, MASKINPORTEN_CLIENT
from maskinporten_operator.plan.application_plan import (
    PATIENCE,
    ApplyChild,
    SetReplicas,
    Workload,
    judge,
    plan_application,
)
from maskinporten_operator.plan.children import HASH_ANNOTATION, ChildName, build_secret_name
from maskinporten_operator.plan.mounts import CREDENTIALS_VOLUME
from maskinporten_operator.plan.outcomes import Retry
from maskinporten_operator.plan.platform import Platform, Webproxy
from maskinporten_operator.plan.rollout import read_rollout
from tests.children import NAME, application_body, carry_out, keep, look, set_ready, settle
from tests.specs import exposed

PROXY = Webproxy("http://webproxy.test:8088", "webproxy.test", 8088, (".svc",))
HOSTS = {"hosts": ("maskinporten.no",), "cidrs": ("139.105.36.164/32",)}
PLATFORMS = st.builds(
    Platform,
    name=st.sampled_from(["gcp", "onprem", "generic"]),
    cluster=st.just("some-cluster"),
    workloads=st.sampled_from([True, True, False]),
    backend=st.sampled_from(["networkpolicy", "fqdn-gke", "cilium", "none"]),
    hosts=st.just(HOSTS["hosts"]),
    cidrs=st.just(HOSTS["cidrs"]),
    webproxy=st.sampled_from([None, PROXY]),
    has_nais_defaults=st.booleans(),
    service_accounts=st.booleans(),
    guards_inbound=st.booleans(),
)
PROBE = st.fixed_dictionaries({"path": st.just("/")}, optional={"initialDelay": st.integers(0, 3), "port": st.just(1)})
SCOPES = st.fixed_dictionaries(
    {},
    optional={
        "consumes": st.lists(st.sampled_from(["a:b", "a:c"]).map(lambda name: {"name": name}), max_size=3),
        "exposes": st.just([{"name": "some.scope", "product": "arbeid", "enabled": False}]),
    },
)
EXTERNAL = st.sampled_from(
    [{"host": "a.example"}, {"host": "*.a.example"}, {"ipv4": "192.0.2.7", "ports": [{"port": 1}]}, {}]
)
RULES = st.sampled_from(
    [{"application": "*", "namespace": "*"}, {"application": "b"}, {"application": "b", "cluster": "c"}]
)
OUTBOUND = st.fixed_dictionaries(
    {}, optional={"external": st.lists(EXTERNAL, max_size=3), "rules": st.lists(RULES, max_size=2)}
)
ENV = st.fixed_dictionaries({"name": st.just("A")}, optional={"value": st.sampled_from(["", "1"])})
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(["example/app:1", "example/app:2"]),
        "command": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "port": st.sampled_from([8080, 9000]),
        "replicas": st.fixed_dictionaries({"min": st.integers(0, 3)}, optional={"max": st.integers(0, 3)}),
        "env": st.lists(ENV, max_size=1),
        "envFrom": st.lists(st.sampled_from([{"secret": "a"}, {"configmap": "a"}, {}]), max_size=2),
        "filesFrom": st.lists(st.sampled_from([{"secret": "a"}, {"emptyDir": {}, "mountPath": "/a"}, {}]), max_size=2),
        "preStopHook": st.sampled_from([{"exec": {"command": ["a"]}}, {"http": {"path": "/"}}, {}]),
        "startup": PROBE,
        "resources": st.sampled_from([{}, {"limits": {"cpu": 1}}, {"requests": {"cpu": "1000m"}}]),
        "liveness": PROBE,
        "terminationGracePeriodSeconds": st.integers(0, 1),
        "strategy": st.sampled_from([{"type": "Recreate"}, {"rollingUpdate": {"maxSurge": 0}}, {}]),
        "webproxy": st.booleans(),
        "accessPolicy": st.fixed_dictionaries({}, optional={"outbound": OUTBOUND}),
        "maskinporten": st.fixed_dictionaries({"enabled": st.booleans()}, optional={"scopes": SCOPES}),
    },
)  # fmt: skip
ENABLED = {"image": "example/app:1", "maskinporten": {"enabled": True}}
CLIENT = ChildName(MASKINPORTEN_CLIENT, NAME)
DEPLOYED = ChildName(DEPLOYMENT, NAME)
fewer = settings(max_examples=60)


def plan(spec, objects, platform):
    return plan_application(look(parse_application(application_body(spec)), objects), platform)


def conclude(spec, objects, platform, *, error=None, waited=0.0):
    seen = look(parse_application(application_body(spec)), objects)
    deployment = objects.get(DEPLOYED)
    workload = Workload(read_rollout(deployment)) if deployment else Workload()
    return judge(seen, platform, workload, error, waited)


def describe(objects):
    """What the operator decides of the children: no version, which counts the ways there."""
    found = copy.deepcopy(objects)
    for one in found.values():
        for name in ("generation", "resourceVersion"):
            del one["metadata"][name]
        for condition in one["status"].get("conditions", ()):
            condition.pop("observedGeneration", None)
    return found


@fewer
@given(SPECS, PLATFORMS)
def test_after_what_was_planned_there_is_nothing_left_to_plan(spec, platform):
    objects = settle(application_body(spec), platform, {})
    assert plan(spec, objects, platform).steps == ()
    assert plan(spec, objects, platform).blocker is None


def take_number(objects):
    """Take out the number of pods, which isn't lowered where a scaler may have set it."""
    return objects.get(DEPLOYED, {"spec": {}})["spec"].pop("replicas", 0)


@fewer
@given(st.lists(st.tuples(SPECS, PLATFORMS), min_size=2, max_size=4))
def test_the_way_to_a_spec_leaves_no_traces_but_more_pods(steps):
    objects = {}
    for spec, platform in steps:
        objects = settle(application_body(spec), platform, objects)
    spec, platform = steps[-1]
    wanted = describe(settle(application_body(spec), platform, {}))
    kept = {child: one for child, one in describe(objects).items() if platform.workloads or child in wanted}
    if DEPLOYED in wanted:
        assert take_number(kept) >= take_number(wanted)
    assert kept == wanted


@fewer
@given(SPECS, PLATFORMS)
def test_every_child_is_ours_in_our_namespace_watched_and_sealed(spec, platform):
    body = application_body(spec)
    for child, one in settle(body, platform, {}).items():
        metadata = one["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert (metadata["namespace"], metadata["name"]) == (body["metadata"]["namespace"], child.name)
        assert (owner["uid"], owner["controller"]) == (body["metadata"]["uid"], True)
        known_by = {"app": NAME, "app.kubernetes.io/managed-by": "maskinporten-operator"}
        assert metadata["labels"] == {**known_by, "team": body["metadata"]["namespace"]}
        assert metadata["annotations"][HASH_ANNOTATION]


@fewer
@given(SPECS, PLATFORMS)
def test_the_pods_get_credentials_exactly_when_they_use_maskinporten(spec, platform):
    objects = settle(application_body(spec), platform, {})
    if DEPLOYED not in objects:
        return
    template = objects[DEPLOYED]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    wired = CLIENT in objects
    assert wired is bool(spec.get("maskinporten", {}).get("enabled"))
    assert (template["metadata"]["labels"].get("maskinporten") == "enabled") is wired
    assert ({"secretRef": {"name": build_secret_name(NAME)}} in container.get("envFrom", [])) is wired
    volumes, mounts = template["spec"].get("volumes", []), container.get("volumeMounts", [])
    assert [one["name"] for one in volumes] == [one["name"] for one in mounts]
    assert (CREDENTIALS_VOLUME in [one["name"] for one in volumes]) is wired


@pytest.mark.parametrize("backend", ["networkpolicy", "fqdn-gke", "cilium"])
def test_children_are_applied_before_what_needs_them_and_deleted_after_the_others_are_in_place(backend):
    platform = Platform(name="gcp", backend=backend, **HOSTS)
    application = parse_application(application_body(ENABLED | {"replicas": {"max": 4}}))
    first = plan_application(look(application, {}), platform)
    objects = carry_out(first, application, {})
    objects[CLIENT] = set_ready(objects[CLIENT])
    steps = [*first.steps, *plan_application(look(application, objects), platform).steps]
    kinds = [step.child.kind.name for step in steps if isinstance(step, ApplyChild)]
    assert kinds[0] == "MaskinportenClient"
    assert kinds[-4:] == ["Service", "Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler"]
    (number,) = [at for at, step in enumerate(steps) if isinstance(step, SetReplicas)]
    assert steps[number - 1].child == DEPLOYED


def test_credentials_that_were_there_once_keep_the_pods_when_the_client_fails():
    platform = Platform()
    objects = settle(application_body(ENABLED), platform, {})
    objects[CLIENT] = set_ready(objects[CLIENT], status="False", reason="RefusedByDigDir", message="no")
    changed = ENABLED | {"image": "example/app:2"}
    (step,) = plan(changed, objects, platform).steps
    assert step.manifest["spec"]["template"]["spec"]["containers"][0]["image"] == "example/app:2"


def test_replicas_that_were_not_set_after_a_creation_are_set_in_the_next_pass():
    spec = {"image": "example/app:1"}
    objects = settle(application_body(spec), Platform(), {})
    del objects[DEPLOYED]["metadata"]["annotations"]["digdir.nais.io/replicas"]
    assert plan(spec, objects, Platform()).steps == (SetReplicas(2, 2),)


def test_turning_maskinporten_on_and_off_again_ends_where_it_began():
    off = {"image": "example/app:1"}
    stages = [settle(application_body(off), Platform(), {})]
    for spec in (ENABLED, off, ENABLED, off):
        stages.append(settle(application_body(spec), Platform(), stages[-1]))
    assert describe(stages[0]) == describe(stages[2]) == describe(stages[4])
    assert describe(stages[1]) == describe(stages[3])
    assert all(before != after for before, after in pairwise(stages))


def test_a_client_that_has_yet_to_say_how_it_is_is_not_reported_on_within_patience():
    objects = {CLIENT: keep(plan(ENABLED, {}, Platform()).steps[0].manifest)}
    early = conclude(ENABLED, objects, Platform(), waited=1.0)
    assert (early.verdicts, early.retry) == ((), Retry(PATIENCE - 1.0, failed=False))
    late = conclude(ENABLED, objects, Platform(), waited=PATIENCE)
    assert (late.verdicts[0].status, late.verdicts[0].reason, late.retry) == ("Unknown", Reason.AWAITING_CLIENT, None)


def test_an_error_is_told_at_once_though_the_client_has_yet_to_say_how_it_is():
    outcome = conclude(ENABLED, {}, Platform(), error=RejectedError(Reason.REFUSED_BY_CLUSTER, "no").blocker)
    assert [one.type for one in outcome.verdicts] == [READY, MASKINPORTEN_READY, AVAILABLE, ALL_FIELDS_SUPPORTED]
    assert (outcome.verdicts[0].status, outcome.verdicts[0].message) == ("False", "no")


def test_a_scope_that_is_written_twice_is_named_and_keeps_nothing_from_being_made():
    scopes = {"consumes": [{"name": "a:b"}] * 2, "exposes": [exposed(), exposed(atMaxAge=60)]}
    spec = ENABLED | {"maskinporten": {"enabled": True, "scopes": scopes}}
    objects = settle(application_body(spec), Platform(), {})

    outcome = conclude(spec, objects, Platform())

    synchronized, _, repeated, *_ = outcome.verdicts[1:]
    assert {CLIENT, DEPLOYED} < set(objects)
    assert objects[CLIENT]["spec"]["scopes"] == scopes
    assert (synchronized.type, synchronized.status) == (SYNCHRONIZED, "True")
    assert (repeated.type, repeated.status) == (SCOPES_UNIQUE, "False")
    assert "a:b" in repeated.message
    assert "arbeid:some.scope.read" in repeated.message
    off = spec | {"maskinporten": {"enabled": False, "scopes": scopes}}
    assert SCOPES_UNIQUE not in {one.type for one in conclude(off, objects, Platform()).verdicts}


def test_a_fault_of_the_cluster_says_nothing_of_the_application():
    objects = settle(application_body(ENABLED), Platform(), {})
    outcome = conclude(ENABLED, objects, Platform(), error=TransientError(Reason.CLUSTER_UNAVAILABLE, "no").blocker)
    assert outcome.not_the_resources_fault
