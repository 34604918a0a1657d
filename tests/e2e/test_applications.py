"""An Application's way to its client, its credentials, its workload and its way out."""

import collections
import itertools
import json
import time
from hashlib import sha256

import httpx
import pytest

from maskinporten_operator.model.resources import (
    APPLICATION,
    CILIUM_POLICY,
    DEPLOYMENT,
    FQDN_POLICY,
    HORIZONTAL_POD_AUTOSCALER,
    INGRESS,
    MASKINPORTEN_CLIENT,
    NETWORK_POLICY,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    WORKLOAD_KINDS,
)
from maskinporten_operator.model.user_metadata import DEPLOYMENT_ANNOTATION
from maskinporten_operator.plan.children import ChildName, build_secret_name
from maskinporten_operator.plan.ingress import build_ingress_name
from maskinporten_operator.plan.mounts import CREDENTIALS_PATH, CREDENTIALS_VOLUME
from maskinporten_operator.plan.scaling import REPLICAS_ANNOTATION
from maskinporten_operator.plan.workload import CREDENTIALS_ANNOTATION
from tests.e2e.applications import CHILDREN, ENABLED, Applications, build_open_crd
from tests.e2e.stage import NUMBERS, PATIENCE, SCOPE, held_kid
from tools.follow import Following
from tools.generate.__main__ import ROOT
from tools.install import install_crd
from tools.kstatus import judge
from tools.kube import APPLICATIONS, credentials, is_ready, wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {
    "applications": "true",
    "platform": "gcp",
    "egress": "networkpolicy",
    "maskinporten_hosts": "test.maskinporten.no",
    "ingress_classes": "example.com=nginx",
    "ingress_controllers": "nginx=ingress-nginx",
    "key_pool_size": "32",
}
EXAMPLES = ROOT / "deploy" / "examples"
CREDENTIALS = {
    "MASKINPORTEN_CLIENT_ID",
    "MASKINPORTEN_CLIENT_JWK",
    "MASKINPORTEN_SCOPES",
    "MASKINPORTEN_WELL_KNOWN_URL",
    "MASKINPORTEN_ISSUER",
    "MASKINPORTEN_JWKS_URI",
    "MASKINPORTEN_TOKEN_ENDPOINT",
}


@pytest.fixture
def apps(stage, namespace):
    """The Applications of the test's namespace; none outlives the test."""
    applications = Applications(stage, namespace)
    yield applications
    stage.kube.request("DELETE", APPLICATION.path(namespace))
    wait_for(lambda: not stage.kube.request("GET", APPLICATION.path(namespace))["items"], PATIENCE, "the end of all")


def template_of(apps, name="app"):
    return apps.find(DEPLOYMENT, name)["spec"]["template"]


@pytest.mark.parametrize("example", ["consume", "expose"])
def test_an_example_manifest_becomes_a_wired_workload_with_a_way_out_as_it_stands(stage, example):
    stage.kube.create_namespace("my-team")
    apps, name = Applications(stage, "my-team"), {"consume": "my-app", "expose": "my-api"}[example]
    stage.cluster.kubectl("apply", "-f", EXAMPLES / f"{example}.yaml")

    apps.wait_ready(name)
    apps.wait_for_reason("MinimumReplicasAvailable", "Available", name)
    assert set(credentials(apps.find_secret(name))) == CREDENTIALS
    (container,) = template_of(apps, name)["spec"]["containers"]
    secret_name = build_secret_name(name)
    assert container["envFrom"] == [{"secretRef": {"name": secret_name}}]
    assert container["volumeMounts"][0]["mountPath"] == CREDENTIALS_PATH
    assert template_of(apps, name)["spec"]["volumes"][0]["secret"]["secretName"] == secret_name
    assert template_of(apps, name)["metadata"]["labels"]["maskinporten"] == "enabled"
    opened = [peer["ipBlock"]["cidr"] for peer in apps.find(NETWORK_POLICY, name)["spec"]["egress"][1]["to"]]
    assert opened == ["139.105.36.132/32", "2a02:9cc::301/128"]
    fields = apps.find_condition("AllFieldsSupported", name)["message"]
    assert "spec.webproxy" in fields
    assert "exposes" not in fields
    if example == "expose":
        assert stage.consumers("nav:arbeid:some.scope.read") == {"123456789"}
    stage.cluster.kubectl("delete", "-f", EXAMPLES / f"{example}.yaml")


def test_on_premises_the_variables_of_the_proxy_come_in_and_the_way_to_it_is_opened(stage, apps):
    stage.restart(platform="onprem", webproxy_address="http://proxy.example.no:8088", webproxy_cidrs="192.0.2.0/24")
    apps.create_available("with", webproxy=True)
    apps.create("without")
    apps.wait_for_reason("WebproxyRequired", name="without")

    (container,) = template_of(apps, "with")["spec"]["containers"]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    assert variables["HTTPS_PROXY"] == variables["https_proxy"] == "http://proxy.example.no:8088"
    assert {"HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "JAVA_PROXY_OPTIONS"} <= set(variables)
    (way,) = apps.find(NETWORK_POLICY, "with")["spec"]["egress"][1:]
    assert way == {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 8088, "protocol": "TCP"}]}
    stage.restart()


def test_everything_is_created_with_ten_writes_and_a_pass_without_news_makes_none(stage, apps, audit):
    apps.create_available()
    stage.wait_until_quiet()
    own = [one for one in audit.count(apps.namespace) if one.resource not in {"secrets", "maskinportenclients/status"}]
    counted = collections.Counter(one.resource for one in own)
    # The finalizer and the creation of the MaskinportenClient are two; the second is the Application's.
    assert counted["maskinportenclients"] == 2
    assert counted["deployments"] == 2  # its number of pods has a manager of its own
    assert counted["services"] == counted["poddisruptionbudgets"] == counted["horizontalpodautoscalers"] == 1
    assert counted["networkpolicies"] == 2  # on the ways out, and on who may call it
    # Of the rollout and its end, and once more that the client is waited for, where the machine is that slow
    assert counted.pop("applications/status") <= 3
    assert sum(counted.values()) - 1 <= 8  # and two of its status

    audit.mark()
    passes = stage.passes
    apps.edit(APPLICATION, {"metadata": {"annotations": {"example.com/owner": "me"}}})
    stage.wait_for_passes(1, passes)
    assert audit.count(apps.namespace) == []


def test_a_restart_and_a_resync_write_nothing(stage, apps, audit):
    for number in range(5):
        apps.create(f"app-{number}")
    for number in range(5):
        apps.wait_for_reason("MinimumReplicasAvailable", "Available", f"app-{number}")
    stage.wait_until_quiet()

    audit.mark()
    since = stage.sequence
    stage.restart(resync_interval="3s")
    stage.wait_for_passes(30, 0)  # ten resources, three times

    assert audit.count(apps.namespace) == []
    assert stage.writes(since) == []
    stage.restart()


@pytest.mark.parametrize("kind", CHILDREN, ids=lambda kind: kind.name)
def test_a_child_that_is_deleted_comes_back(stage, apps, kind):
    apps.create_available()
    before = apps.find(kind)
    client_id = apps.find()["status"]["clientID"]

    apps.delete(kind)

    apps.wait(lambda: (now := apps.find(kind)) and now["metadata"]["uid"] != before["metadata"]["uid"], "its return")
    apps.wait_ready()
    assert apps.find()["status"]["clientID"] == client_id


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        (MASKINPORTEN_CLIENT, {"spec": {"scopes": {"consumes": [{"name": "nav:some/other/scope"}]}}}),
        (DEPLOYMENT, {"spec": {"template": {"metadata": {"labels": {"maskinporten": "no"}}}}}),
        (SERVICE, {"spec": {"selector": {"app": "another"}}}),
        (NETWORK_POLICY, {"spec": {"egress": []}}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_child_that_is_edited_is_mended(stage, apps, kind, patch):
    apps.create_available()
    stage.wait_until_quiet()
    before = apps.find(kind)["spec"]

    edited = apps.edit(kind, patch)

    assert edited["spec"] != before
    apps.wait(lambda: apps.find(kind)["spec"] == before, "the old spec")


def test_fields_that_others_set_are_left_alone_and_a_scale_is_kept(stage, apps):
    apps.create_available(replicas={"disableAutoScaling": True})
    apps.edit(DEPLOYMENT, {"metadata": {"annotations": {"injected": "yes"}}})
    apps.edit(DEPLOYMENT, {"spec": {"template": {"metadata": {"annotations": {"sidecar": "yes"}}}}})
    apps.edit(SERVICE, {"metadata": {"labels": {"mesh": "yes"}}})
    stage.cluster.kubectl("scale", "deployment/app", "--replicas=5", "-n", apps.namespace)

    apps.patch(port=9090)  # whatever is applied now must leave all of that
    apps.wait(lambda: template_of(apps)["spec"]["containers"][0]["ports"][0]["containerPort"] == 9090, "the new port")

    deployment = apps.find(DEPLOYMENT)
    assert deployment["spec"]["replicas"] == 5
    assert deployment["metadata"]["annotations"]["injected"] == "yes"
    assert deployment["spec"]["template"]["metadata"]["annotations"]["sidecar"] == "yes"
    assert apps.find(SERVICE)["metadata"]["labels"]["mesh"] == "yes"

    apps.patch(replicas={"min": 3})
    apps.wait(lambda: apps.find(DEPLOYMENT)["metadata"]["annotations"][REPLICAS_ANNOTATION] == "3", "it")
    assert apps.find(DEPLOYMENT)["spec"]["replicas"] == 5
    apps.patch(replicas={"min": 6})
    apps.wait(lambda: apps.find(DEPLOYMENT)["spec"]["replicas"] == 6, "the spec's new number")


def test_a_change_of_strategy_is_taken_by_the_api_server_in_both_directions(apps):
    apps.create_available()
    for strategy in ("Recreate", "RollingUpdate"):
        apps.patch(strategy={"type": strategy})
        apps.wait(lambda wanted=strategy: apps.find(DEPLOYMENT)["spec"]["strategy"]["type"] == wanted, strategy)
        apps.wait_ready()


ROUTED = ChildName(INGRESS, build_ingress_name("app", "nginx"))
MADE = [MASKINPORTEN_CLIENT, *(kind for kind in WORKLOAD_KINDS if kind != SERVICE_ACCOUNT)]
EVERY_FIELD = {
    "prometheus": {"enabled": True, "port": 9090},
    "ingresses": ["https://app.example.com/a", "https://app.example.com/b"],
    "accessPolicy": {"inbound": {"rules": [{"application": "b", "namespace": "*"}]}},
    "replicas": {
        "min": 2,
        "max": 6,
        "scalingStrategy": {"cpu": {"thresholdPercentage": 70}, "scaleUpStabilizationWindowSeconds": 60},
    },
    "resources": {"requests": {"cpu": "100m"}},
    "startup": {"path": "started", "periodSeconds": 5, "failureThreshold": 60},
    "preStopHook": {"exec": {"command": ["/bin/drain"]}},
    "strategy": {"rollingUpdate": {"maxSurge": "50%", "maxUnavailable": 1}},
    "filesFrom": [
        {"configmap": "conf"},
        {"secret": "hush"},
        {"emptyDir": {"medium": "Memory"}, "mountPath": "/cache"},
    ],
}


def test_every_field_is_taken_by_the_api_server_and_then_nothing_is_left_to_write(stage, apps, audit):
    apps.create(**EVERY_FIELD)
    annotations = {
        "nais.io/run-as-user": "101",
        "nais.io/read-only-file-system": "true",
        "nginx.ingress.kubernetes.io/proxy-body-size": "8m",
    }
    apps.edit(APPLICATION, {"metadata": {"annotations": annotations, "labels": {"team": "fisk"}}})
    apps.wait_for_reason("MinimumReplicasAvailable", "Available")

    def find_teams():
        return [(apps.find(kind) or {"metadata": {"labels": {}}})["metadata"]["labels"].get("team") for kind in MADE]

    apps.wait(lambda: find_teams() == ["fisk"] * len(MADE), "all children with the label")
    apps.wait(lambda: template_of(apps)["spec"]["securityContext"]["runAsUser"] == 101, "the annotated user")
    assert apps.find_condition("AllFieldsSupported")["status"] == "True"
    (rule,) = apps.find(NETWORK_POLICY, "app.inbound")["spec"]["ingress"]
    assert [one["namespaceSelector"] for one in rule["from"]][1]["matchLabels"] == {
        "kubernetes.io/metadata.name": "ingress-nginx"
    }
    assert "proxy-body-size" in json.dumps(apps.find(*ROUTED)["metadata"]["annotations"])
    stage.wait_until_quiet()

    audit.mark()
    passes = stage.passes
    apps.edit(APPLICATION, {"metadata": {"annotations": {"example.com/owner": "me"}}})
    stage.wait_for_passes(1, passes)
    assert audit.count(apps.namespace) == []

    apps.delete(HORIZONTAL_POD_AUTOSCALER)
    apps.wait(lambda: apps.find(HORIZONTAL_POD_AUTOSCALER), "its return")
    apps.patch(replicas={"disableAutoScaling": True}, ingresses=["https://other.example.com"])
    apps.wait_gone(HORIZONTAL_POD_AUTOSCALER)
    apps.wait(lambda: apps.find(*ROUTED)["spec"]["rules"][0]["host"] == "other.example.com", "the other host")
    apps.patch(ingresses=["https://other.example.org"])
    apps.wait_gone(*ROUTED)
    apps.wait_for_reason("FieldsNotSupported", "AllFieldsSupported")


def test_turned_off_the_client_resource_and_the_wiring_go_and_the_client_at_digdir_stays(stage, apps):
    application = apps.create_available()
    client_id = application["status"]["clientID"]

    apps.patch(maskinporten={"enabled": False})

    apps.wait_gone(MASKINPORTEN_CLIENT)
    apps.wait(lambda: "envFrom" not in template_of(apps)["spec"]["containers"][0], "a Deployment without credentials")
    assert CREDENTIALS_VOLUME not in [one["name"] for one in template_of(apps)["spec"].get("volumes", [])]
    assert "clientID" not in apps.wait_ready()["status"]
    assert stage.registration(apps.namespace)["active"] is True

    apps.patch(maskinporten=ENABLED)
    assert apps.wait_ready()["status"]["clientID"] == client_id


def test_the_children_go_with_their_application_and_the_client_stays_unless_deletion_was_asked_for(stage, apps):
    apps.create_available()
    client_id = apps.find()["status"]["clientID"]
    apps.delete()
    for kind in CHILDREN:
        apps.wait_gone(kind)
    apps.wait(lambda: apps.find_secret() is None, "the end of the Secret")
    assert stage.registration(apps.namespace)["active"] is True

    assert apps.create_available()["status"]["clientID"] == client_id
    stage.annotate(apps.namespace, "app", delete="true")
    apps.delete(policy="Foreground")
    apps.wait_gone(MASKINPORTEN_CLIENT)
    apps.wait_gone()
    assert stage.registration(apps.namespace)["active"] is False


def test_a_namespace_goes_without_a_key_being_minted_on_the_way(stage):
    namespace = f"going-{next(NUMBERS)}"
    stage.kube.create_namespace(namespace)
    apps = Applications(stage, namespace)
    apps.create_available()
    kids, since = stage.kids(namespace), stage.sequence

    stage.kube.request("DELETE", f"/api/v1/namespaces/{namespace}")

    apps.wait(lambda: stage.kube.find(f"/api/v1/namespaces/{namespace}") is None, "the end of the namespace")
    assert stage.kids(namespace) == kids
    assert stage.registration(namespace)["active"] is True
    assert stage.writes(since) == []


def test_a_rotated_key_replaces_the_pods_unless_the_user_said_no(stage, apps):
    apps.create_available()
    apps.create_available("steady")
    apps.edit(APPLICATION, {"metadata": {"annotations": {"digdir.nais.io/restart-on-rotation": "false"}}}, "steady")
    before = template_of(apps)["metadata"]["annotations"][CREDENTIALS_ANNOTATION]
    old = held_kid(credentials(apps.find_secret()))
    apps.wait(
        lambda: CREDENTIALS_ANNOTATION not in template_of(apps, "steady")["metadata"].get("annotations", {}), "it"
    )
    steady = apps.find(DEPLOYMENT, "steady")["metadata"]["generation"]

    for name in ("app", "steady"):
        stage.annotate(apps.namespace, name, rotate="true")

    apps.wait(lambda: held_kid(credentials(apps.find_secret())) != old, "a new key")
    apps.wait(lambda: template_of(apps)["metadata"]["annotations"][CREDENTIALS_ANNOTATION] != before, "new pods")
    stage.wait_until_quiet()
    assert apps.find(DEPLOYMENT, "steady")["metadata"]["generation"] == steady


def test_a_scope_that_isnt_granted_is_seen_on_the_application_which_runs_without_it(stage, apps):
    apps.create(maskinporten={"enabled": True, "scopes": {"consumes": [{"name": "nobody:granted.this"}]}})

    condition = apps.wait_for_reason("ScopesNotGranted")
    mirrored = apps.find_condition("MaskinportenReady")
    assert mirrored["status"] == condition["status"] == "False"
    assert "nobody:granted.this" in mirrored["message"]
    apps.wait_for_reason("MinimumReplicasAvailable", "Available")

    apps.patch(maskinporten=ENABLED)
    apps.wait_ready()


def test_a_refused_client_is_seen_on_the_application_which_gets_no_workload_before_its_credentials(stage, apps):
    stage.fault("status", status=400, method="POST", path="/clients$", times=None)
    apps.create()

    condition = apps.wait_for_reason("RefusedByDigDir")
    mirrored = apps.find_condition("MaskinportenReady")
    assert mirrored["status"] == condition["status"] == "False"
    assert apps.find_condition("Available")["reason"] == "WaitingForCredentials"
    assert apps.find(DEPLOYMENT) is None
    assert apps.find(SERVICE)

    stage.clear_faults()
    apps.edit(MASKINPORTEN_CLIENT, {"metadata": {"annotations": {"digdir.nais.io/resync": "true"}}})
    apps.wait_ready()
    apps.wait_for_reason("MinimumReplicasAvailable", "Available")


def test_without_an_image_there_is_a_client_and_no_workload(apps):
    apps.create(image=None)

    apps.wait_ready()
    assert apps.find_condition("Available")["reason"] == "NoImage"
    assert apps.find(DEPLOYMENT) is None
    assert apps.find(SERVICE) is None
    assert apps.find_secret()

    apps.patch(image="example/app:2")
    apps.wait_for_reason("MinimumReplicasAvailable", "Available")
    apps.patch(image=None)
    apps.wait_gone(DEPLOYMENT)
    apps.wait_gone(SERVICE)


@pytest.mark.parametrize("kind", [SERVICE, MASKINPORTEN_CLIENT], ids=lambda kind: kind.name)
def test_a_child_of_that_name_that_isnt_ours_is_never_taken_over(stage, apps, kind):
    if kind == SERVICE:
        body = {"metadata": {"name": "app"}, "spec": {"ports": [{"port": 1234}]}}
        stage.kube.request("POST", kind.path(apps.namespace), body)
    else:
        stage.create_ready(apps.namespace, "app", secret="mine")
    before = apps.find(kind)
    apps.create()

    condition = apps.wait_for_reason("ChildConflict")
    assert f"{kind.name} app exists" in condition["message"]
    stage.wait_until_quiet()
    assert apps.find(kind)["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    if kind == MASKINPORTEN_CLIENT:
        apps.delete(kind)  # seen at once; other kinds are looked for again every ten minutes, or after an edit
    else:
        apps.delete(kind)
        apps.patch(port=8081)
    apps.wait_ready()


def test_toggled_back_and_forth_it_ends_as_a_fresh_apply_of_the_last_spec(stage, apps):
    scopes = [[{"name": SCOPE}], [{"name": SCOPE}, {"name": "nav:some/other/scope"}]]
    apps.create()
    for number in range(50):
        apps.patch(
            webproxy=bool(number % 2),
            maskinporten={"enabled": number % 3 != 0, "scopes": {"consumes": scopes[number % 2]}},
        )
    last = {"webproxy": True, "maskinporten": {"enabled": True, "scopes": {"consumes": scopes[1]}}}
    apps.patch(**last)
    apps.wait_ready()
    apps.wait_for_reason("MinimumReplicasAvailable", "Available")
    stage.wait_until_quiet()
    apps.create_available("fresh", **last)

    toggled, fresh = apps.describe_children(), apps.describe_children("fresh")
    assert renamed(toggled) == renamed(fresh)
    assert len([one for one in stage.registrations(apps.namespace) if one["active"]]) == 1
    values = credentials(apps.find_secret())
    assert held_kid(values) in stage.kids(apps.namespace)
    assert values["MASKINPORTEN_SCOPES"] == " ".join(one["name"] for one in scopes[1])


def renamed(children):
    """Take out what differs by name and by key: the names, the Secret's, and the hash of the credentials."""
    text = repr(children)
    for name in ("app", "fresh"):
        text = (
            text.replace(build_secret_name(name), "SECRET")
            .replace(f"'{name}'", "'NAME'")
            .replace(f":{name}'", ":NAME'")
        )
    start = text.find(CREDENTIALS_ANNOTATION) + len(CREDENTIALS_ANNOTATION) + 4
    return text[:start] + text[start + 16 :]


def test_two_applications_whose_secret_names_collide_after_cutting_say_so(stage, apps):
    first, second = find_collision()
    apps.create(first, image=None)
    apps.wait_ready(first)
    apps.create(second, image=None)

    condition = apps.wait_for_reason("SecretConflict", name=second)
    assert build_secret_name(first) in condition["message"]
    assert len(stage.registrations(apps.namespace, second)) == 0
    apps.wait_ready(first)


def find_collision():
    """Find two names that are cut alike and have the same CRC-32: by the birthday paradox among some ten thousands."""
    seen = {}
    # Digits that differ within four bytes only never collide: a CRC-32 tells them all apart.
    names = ("a" * 41 + sha256(str(number).encode()).hexdigest()[:20] for number in itertools.count())
    return next((other, name) for name in names if (other := seen.setdefault(build_secret_name(name), name)) != name)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"accessPolicy": {"outbound": {"external": [{"host": "https://a.no"}]}}}, "outbound.external[0].host"),
        ({"accessPolicy": {"outbound": {"external": [{"host": "a.no/path"}]}}}, "outbound.external[0].host"),
        ({"accessPolicy": {"outbound": {"external": [{"ipv4": "256.1.1.1"}]}}}, "outbound.external[0].ipv4"),
        ({"accessPolicy": {"outbound": {"external": [{"host": "a.no", "ports": [{"port": 70000}]}]}}}, "ports[0].port"),
        ({"port": 0}, "spec.port"),
        ({"maskinporten": {"enabled": True, "scopes": {"consumes": [{"name": "noprefix"}]}}}, "consumes[0].name"),
    ],
    ids=["scheme", "path", "ipv4", "port", "own port", "scope"],
)
def test_bad_input_is_refused_with_the_path_of_the_field(apps, spec, field):
    with pytest.raises(httpx.HTTPStatusError) as caught:
        apps.create(**spec)
    assert caught.value.response.status_code == 422
    assert field in str(caught.value)


def test_a_name_of_63_characters_works_and_one_of_64_or_with_a_dot_is_refused(apps):
    apps.create_available("a" * 63)
    for name in ("a" * 64, "with.dot"):
        with pytest.raises(httpx.HTTPStatusError, match="at most 63 characters, and no dots"):
            apps.create(name)


def test_every_field_of_a_platform_manifest_is_kept_and_those_not_acted_on_are_named(apps):
    extra = {
        "ingresses": ["https://app.example.no"],
        "azure": {"application": {"enabled": True, "claims": {"groups": [{"id": "x"}]}}},
        "replicas": {"min": 5, "max": 4, "scalingStrategy": {"kafka": {"topic": "t"}}},
        "accessPolicy": {"inbound": {"rules": [{"application": "other"}]}, "outbound": {"rules": [], "services": []}},
    }
    kept = apps.create(**extra)["spec"]
    assert {key: kept[key] for key in extra} == extra

    apps.wait_ready()
    message = apps.find_condition("AllFieldsSupported")["message"]
    for path in (
        "spec.ingresses",
        "spec.azure",
        "spec.replicas.max",
        "spec.replicas.scalingStrategy.kafka",
        "spec.accessPolicy.outbound.services",
    ):
        assert path in message


def test_the_pods_fit_the_restricted_pod_security_standard(stage, apps):
    labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    stage.kube.request("PATCH", f"/api/v1/namespaces/{apps.namespace}", labels, "application/merge-patch+json")

    apps.create_available()

    pods = stage.kube.request("GET", f"/api/v1/namespaces/{apps.namespace}/pods", labelSelector="app=app")["items"]
    assert len(pods) == 2


def test_a_new_application_is_in_progress_by_kstatus_until_its_rollout_is_complete(stage, apps):
    with Following(stage.cluster.admin_kubeconfig, apps.namespace, APPLICATIONS) as following:
        bodies = [apps.create()]
        for _, body in following.until(time.monotonic() + PATIENCE):
            bodies.append(body)
            if is_ready(body):
                break
    deployment = apps.find(DEPLOYMENT)

    judged = [one["status"] for one in judge(bodies)]

    assert bodies[0]["status"] == {"observedGeneration": -1}
    assert judged == ["InProgress"] * (len(judged) - 1) + ["Current"]
    assert deployment["status"]["availableReplicas"] == deployment["status"]["updatedReplicas"] == 2


def test_a_deployment_tool_of_nais_is_told_when_what_it_applied_is_up(stage, apps):
    apps.create()
    apps.edit(APPLICATION, {"metadata": {"annotations": {DEPLOYMENT_ANNOTATION: "its-deployment"}}})

    def look():
        events = stage.kube.request("GET", f"/api/v1/namespaces/{apps.namespace}/events")["items"]
        return [one for one in events if one["reason"] == "RolloutComplete"]

    (event,) = apps.wait(look, "the Event")
    assert event["metadata"]["annotations"] == {DEPLOYMENT_ANNOTATION: "its-deployment"}
    assert (event["reportingComponent"], event["involvedObject"]["name"]) == ("naiserator", "app")
    assert event["lastTimestamp"] >= apps.find()["metadata"]["creationTimestamp"]


BLOCKED = {
    "by a quota": ({}, "the API server refuses pods: exceeded quota: none"),
    "by its size": ({"resources": {"requests": {"cpu": "9999"}}}, "no node takes a pod (Unschedulable): 0/1 nodes"),
}


@pytest.mark.parametrize(("spec", "words"), BLOCKED.values(), ids=BLOCKED)
def test_pods_that_dont_come_up_say_why_long_before_the_rollout_has_failed(stage, apps, spec, words):
    if not spec:
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
        path = f"/api/v1/namespaces/{apps.namespace}/resourcequotas"
        stage.kube.request("POST", path, quota | {"spec": {"hard": {"pods": "0"}}})
    apps.create(**spec)

    assert words in apps.wait_for_reason("RolloutBlocked", "Available")["message"]
    assert apps.find_condition()["status"] == "Unknown"
    assert apps.find_condition("Reconciling")["status"] == apps.find_condition("Synchronized")["status"] == "True"


def test_without_workloads_the_secret_and_the_policies_are_made_and_the_users_deployment_is_left_alone(stage, apps):
    stage.restart(workloads="false")
    apps.create()

    apps.wait_ready()
    assert apps.find_condition("Available")["reason"] == "WorkloadElsewhere"
    assert apps.find(DEPLOYMENT) is None
    assert apps.find(SERVICE) is None
    assert apps.find_secret()
    assert apps.find(NETWORK_POLICY)["spec"]["podSelector"] == {"matchLabels": {"app": "app"}}
    assert apps.find(SECRET, build_secret_name("app"))["metadata"]["labels"]["app"] == "app"
    stage.restart()


@pytest.fixture
def policy_crd(stage, request):
    """A CRD of the kind, as open as can be; the operator is started anew so that it finds it."""
    crd = build_open_crd(request.param)
    install_crd(stage.cluster, json.dumps(crd))
    stage.restart(egress="auto")
    yield request.param
    stage.restart()
    stage.kube.request("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}")


@pytest.mark.parametrize("policy_crd", [FQDN_POLICY, CILIUM_POLICY], indirect=True, ids=lambda kind: kind.name)
def test_the_policies_are_those_that_the_api_server_serves(stage, apps, policy_crd):
    name = "app-fqdn" if policy_crd == FQDN_POLICY else "app"
    apps.create_available()

    policy = apps.find(policy_crd, name)
    assert "test.maskinporten.no" in json.dumps(policy["spec"])
    assert (apps.find(NETWORK_POLICY) is None) == (policy_crd == CILIUM_POLICY)

    apps.delete(policy_crd, name)
    apps.wait(lambda: apps.find(policy_crd, name), "its return")

    stage.restart(egress="networkpolicy")  # the old backend's policies go, and the new one's come
    apps.wait_gone(policy_crd, name)
    apps.wait(lambda: apps.find(NETWORK_POLICY), "the NetworkPolicy")
