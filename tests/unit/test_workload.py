"""What a spec makes of the Deployment and its container. Whole Applications are in tests/golden."""

import pytest

from maskinporten_operator.model.application import ApplicationSpec, parse_application
from maskinporten_operator.model.resources import DEPLOYMENT, SERVICE_ACCOUNT
from maskinporten_operator.plan.application_plan import find_unsupported
from maskinporten_operator.plan.children import ChildName, Credentials, build_children
from maskinporten_operator.plan.platform import Platform
from tests.children import FINGERPRINT, NAME, application_body, look

DEPLOYED = ChildName(DEPLOYMENT, NAME)
PLATFORM = Platform(cluster="some-cluster", backend="cilium", hosts=("maskinporten.no",))


def children_of(metadata=None, platform=PLATFORM, credentials=None, **spec):
    application = parse_application(application_body({"image": "example/app:1", **spec}, **(metadata or {})))
    assert isinstance(application.spec, ApplicationSpec), application.spec
    return build_children(application.meta, application.spec, platform, credentials)


def deployment_of(metadata=None, platform=PLATFORM, **spec):
    return children_of(metadata, platform, **spec)[DEPLOYED]["spec"]


def pod_of(annotations, platform=PLATFORM, **spec):
    return deployment_of({"annotations": annotations}, platform, **spec)["template"]["spec"]


def container_of(**spec):
    return deployment_of(**spec)["template"]["spec"]["containers"][0]


def unsupported(**spec):
    return find_unsupported(look(parse_application(application_body(spec)), {}), Platform())


def test_a_slow_starter_has_a_startup_probe_of_its_own():
    container = container_of(port=9000, startup={"path": "started", "periodSeconds": 5, "failureThreshold": 60})
    assert container["startupProbe"] == {
        "httpGet": {"path": "/started", "port": 9000, "scheme": "HTTP"},
        "initialDelaySeconds": 0,
        "periodSeconds": 5,
        "timeoutSeconds": 1,
        "failureThreshold": 60,
    }


PAUSE = {"sleep": {"seconds": 5}}
STOP = {"path": "/stop", "port": 8080, "scheme": "HTTP"}
REQUEST = {"http": {"path": "/stop", "port": 9090}}
DRAIN = {"exec": {"command": ["/bin/drain", "--all"]}}


@pytest.mark.parametrize(
    ("spec", "before_the_end"),
    [
        ({}, PAUSE),
        ({"preStopHookPath": "stop"}, {"httpGet": STOP}),
        ({"preStopHook": DRAIN}, DRAIN),
        ({"preStopHook": {"http": {"path": "/stop"}}}, {"httpGet": STOP}),
        ({"preStopHook": REQUEST}, {"httpGet": {**STOP, "port": 9090}}),
        ({"preStopHook": REQUEST, "preStopHookPath": "/stop"}, {"httpGet": STOP}),
        ({"preStopHook": DRAIN | REQUEST}, DRAIN),
        ({"preStopHook": {"exec": {}}}, PAUSE),
    ],
)
def test_before_a_container_ends_its_hook_is_run_or_else_it_pauses(spec, before_the_end):
    assert container_of(**spec)["lifecycle"] == {"preStop": before_the_end}


@pytest.mark.parametrize(("grace", "pause"), [(60, 5), (10, 5), (7, 3), (2, 1)])
def test_the_pause_leaves_half_of_the_time_to_end_to_the_application(grace, pause):
    container = container_of(terminationGracePeriodSeconds=grace)
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] == pause


def test_without_time_to_end_there_is_no_pause():
    assert "lifecycle" not in container_of(terminationGracePeriodSeconds=1)


@pytest.mark.parametrize(
    ("strategy", "built"),
    [
        ({}, {"maxSurge": "25%", "maxUnavailable": 0}),
        ({"rollingUpdate": {"maxSurge": 1}}, {"maxSurge": 1, "maxUnavailable": 0}),
        ({"rollingUpdate": {"maxUnavailable": "50%"}}, {"maxSurge": "25%", "maxUnavailable": "50%"}),
        ({"rollingUpdate": {"maxSurge": 0}}, {"maxSurge": 0, "maxUnavailable": 1}),
        ({"rollingUpdate": {"maxSurge": "0%"}}, {"maxSurge": "0%", "maxUnavailable": 1}),
    ],
)
def test_no_pod_goes_before_another_is_ready_unless_the_spec_says_so(strategy, built):
    assert deployment_of(strategy=strategy)["strategy"] == {"type": "RollingUpdate", "rollingUpdate": built}


@pytest.mark.parametrize(
    ("files", "volume", "path", "read_only"),
    [
        ({"configmap": "conf"}, {"configMap": {"name": "conf"}}, "/var/run/configmaps/conf", True),
        ({"secret": "hush"}, {"secret": {"secretName": "hush"}}, "/var/run/secrets", True),
        (
            {"persistentVolumeClaim": "disk"},
            {"persistentVolumeClaim": {"claimName": "disk"}},
            "/var/run/pvc/disk",
            False,
        ),
        ({"emptyDir": {}, "mountPath": "/cache"}, {"emptyDir": {}}, "/cache", False),
        ({"emptyDir": {"medium": "Memory"}, "mountPath": "/c"}, {"emptyDir": {"medium": "Memory"}}, "/c", False),
        ({"secret": "hush", "mountPath": "/etc/hush"}, {"secret": {"secretName": "hush"}}, "/etc/hush", True),
    ],
)
def test_files_are_mounted_where_the_spec_says_or_where_nais_has_them(files, volume, path, read_only):
    pod = deployment_of(filesFrom=[files])["template"]["spec"]
    assert pod["volumes"] == [{"name": "files-0", **volume}]
    (mount,) = pod["containers"][0]["volumeMounts"]
    assert (mount["name"], mount["mountPath"], mount.get("readOnly", False)) == ("files-0", path, read_only)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"filesFrom": [{}]}, "spec.filesFrom[0] (no source)"),
        ({"filesFrom": [{"emptyDir": {}}]}, "spec.filesFrom[0].emptyDir (no mountPath)"),
        (
            {"filesFrom": [{"configmap": "a"}, {"secret": "b", "persistentVolumeClaim": "c"}]},
            "spec.filesFrom[1].persistentVolumeClaim (only one source counts)",
        ),
        ({"preStopHook": {}}, "spec.preStopHook (neither exec.command nor http)"),
        (
            {"preStopHook": REQUEST, "preStopHookPath": "/stop"},
            "spec.preStopHook (only one of preStopHookPath, exec and http counts, in this order)",
        ),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
            "spec.strategy.rollingUpdate (the type is Recreate)",
        ),
    ],
)
def test_what_has_no_effect_is_named(spec, named):
    assert unsupported(**spec) == [named]


def test_what_has_an_effect_is_not_named():
    spec = {"preStopHook": DRAIN, "startup": {"path": "/"}, "strategy": {"rollingUpdate": {"maxSurge": 2}}}
    assert unsupported(**spec, filesFrom=[{"configmap": "a"}, {"emptyDir": {}, "mountPath": "/c"}]) == []


LABELS = {"team": "fisk", "logs.nais.io/flow-loki": "true", "domain": "kvote"}
TRACKING = {
    "app.kubernetes.io/instance": "a",
    "argocd.argoproj.io/instance": "b",
    "kustomize.toolkit.fluxcd.io/name": "c",
}


def test_an_applications_labels_are_on_all_that_it_owns_and_on_its_pods():
    enabled = {"enabled": True}
    credentials = Credentials("some-secret", FINGERPRINT)
    children = children_of({"labels": LABELS}, credentials=credentials, maskinporten=enabled)
    templates = [children[DEPLOYED]["spec"]["template"]]
    assert {child.kind.name for child in children} >= {"MaskinportenClient", "Service", "Deployment"}
    for one in (*children.values(), *templates):
        assert LABELS.items() <= one["metadata"]["labels"].items()


def test_without_a_team_the_namespace_is_the_team():
    assert children_of()[DEPLOYED]["metadata"]["labels"]["team"] == "some-team"


def test_the_labels_by_which_tools_know_what_they_applied_stay_on_the_application():
    labels = children_of({"labels": TRACKING | {"app.kubernetes.io/managed-by": "Helm"}})[DEPLOYED]["metadata"][
        "labels"
    ]
    assert labels == children_of()[DEPLOYED]["metadata"]["labels"]


def test_the_labels_by_which_the_operator_knows_its_own_are_not_the_users():
    labels = {"app": "another", "maskinporten": "no"}
    template = children_of({"labels": labels}, credentials=Credentials("s", None), maskinporten={"enabled": True})
    assert (
        template[DEPLOYED]["spec"]["template"]["metadata"]["labels"].items()
        >= {
            "app": NAME,
            "maskinporten": "enabled",
        }.items()
    )


def test_the_cause_of_a_change_is_told_by_the_deployment_and_starts_no_new_pods():
    cause = {"annotations": {"kubernetes.io/change-cause": "deploy 7f3e"}}
    deployment = children_of(cause)[DEPLOYED]
    assert deployment["metadata"]["annotations"]["kubernetes.io/change-cause"] == "deploy 7f3e"
    assert deployment["spec"] == deployment_of()


@pytest.mark.parametrize(
    ("annotations", "ids"),
    [
        ({}, (1069, 1069, 1069)),
        ({"nais.io/run-as-user": "101"}, (101, 101, 1069)),
        ({"nais.io/run-as-group": "102"}, (1069, 102, 1069)),
        ({"nais.io/run-as-user": "101", "nais.io/run-as-group": "102"}, (101, 102, 1069)),
        ({"nais.io/run-as-user": "0"}, (1069, 1069, 1069)),
        ({"nais.io/run-as-user": "nginx"}, (1069, 1069, 1069)),
    ],
)
def test_a_container_runs_as_the_user_and_group_that_the_annotations_name_and_reads_its_credentials(annotations, ids):
    context = pod_of(annotations)["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == ids
    assert context["runAsNonRoot"]


def test_where_the_platform_chooses_the_user_an_annotation_still_counts():
    context = pod_of({"nais.io/run-as-user": "101"}, Platform(run_as_user=None))["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context.get("fsGroup")) == (101, 101, None)


@pytest.mark.parametrize(("value", "is_read_only"), [("true", True), ("yes", True), ("false", False), ("False", False)])
def test_a_read_only_root_comes_with_a_directory_to_write_to(value, is_read_only):
    pod = pod_of({"nais.io/read-only-file-system": value})
    (container,) = pod["containers"]
    assert container["securityContext"].get("readOnlyRootFilesystem", False) is is_read_only
    assert [one["mountPath"] for one in container.get("volumeMounts", [])] == (["/tmp"] if is_read_only else [])
    assert pod.get("volumes", []) == ([{"name": "tmp", "emptyDir": {}}] if is_read_only else [])


def test_a_directory_that_the_spec_mounts_there_is_the_one_to_write_to():
    memory = {"emptyDir": {"medium": "Memory"}, "mountPath": "/tmp/"}
    pod = pod_of({"nais.io/read-only-file-system": "true"}, filesFrom=[memory])
    assert [one["name"] for one in pod["volumes"]] == ["files-0"]


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"annotations": {"texas.nais.io/enabled": "true"}}, "metadata.annotations[texas.nais.io/enabled]"),
        (
            {"annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "8m"}},
            "metadata.annotations[nginx.ingress.kubernetes.io/proxy-body-size]",
        ),
        (
            {"annotations": {"digdir.nais.io/rotate": "true"}},
            "metadata.annotations[digdir.nais.io/rotate] (write it on the MaskinportenClient)",
        ),
        (
            {"annotations": {"nais.io/run-as-user": "root"}},
            "metadata.annotations[nais.io/run-as-user] (no id of a user or group but root's)",
        ),
        ({"labels": {"app": "another"}}, "metadata.labels[app] (everything has the Application's name in it)"),
        ({"labels": {"euthanaisa.nais.io/kill-after": "x"}}, "metadata.labels[euthanaisa.nais.io/kill-after]"),
    ],
)
def test_a_label_or_annotation_without_an_effect_is_named(metadata, named):
    application = parse_application(application_body({}, **metadata))
    assert find_unsupported(look(application, {}), PLATFORM) == [named]


def test_labels_and_annotations_that_ask_for_nothing_or_for_what_is_done_are_not_named():
    metadata = {
        "labels": LABELS | TRACKING | {"app": NAME},
        "annotations": {
            "nais.io/run-as-user": "101",
            "nais.io/read-only-file-system": "false",
            "digdir.nais.io/restart-on-rotation": "false",
            "kubernetes.io/change-cause": "deploy",
            "nais.io/deploymentCorrelationID": "1-2-3",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "example.com/owner": "us",
        },
    }
    application = parse_application(application_body({}, **metadata))
    assert find_unsupported(look(application, {}), PLATFORM) == []


NAIS = Platform(has_nais_defaults=True)
ALL_DEFAULTS = {"limits": {"memory": "512Mi"}, "requests": {"cpu": "200m", "memory": "256Mi"}}


@pytest.mark.parametrize(
    ("given", "built"),
    [
        ({}, ALL_DEFAULTS),
        ({"requests": {"cpu": 1}}, {**ALL_DEFAULTS, "requests": {"cpu": "1", "memory": "256Mi"}}),
        ({"limits": {"cpu": "2"}}, {**ALL_DEFAULTS, "limits": {"cpu": "2", "memory": "512Mi"}}),
        (
            {"limits": {"memory": "128Mi"}},
            {"limits": {"memory": "128Mi"}, "requests": {"cpu": "200m"}},
        ),
        (
            {"requests": {"memory": "1Gi"}},
            {"requests": {"cpu": "200m", "memory": "1Gi"}},
        ),
        (
            {"limits": {"memory": "2Gi", "cpu": "100m"}, "requests": {"memory": "1Gi"}},
            {"limits": {"memory": "2Gi", "cpu": "100m"}, "requests": {"memory": "1Gi"}},
        ),
    ],
)
def test_by_nais_defaults_resources_are_filled_in_where_that_contradicts_nothing(given, built):
    assert pod_of({}, NAIS, resources=given)["containers"][0]["resources"] == built


def test_by_nais_defaults_pods_prefer_different_nodes_and_have_a_read_only_root():
    pod = pod_of({}, NAIS)
    (preferred,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["podAffinityTerm"]["labelSelector"] == {"matchLabels": {"app": NAME}}
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    assert [one["name"] for one in pod["volumes"]] == ["tmp"]


def test_the_annotation_that_wants_a_writable_root_gets_one():
    container = pod_of({"nais.io/read-only-file-system": "false"}, NAIS)["containers"][0]
    assert "readOnlyRootFilesystem" not in container["securityContext"]
    assert "volumeMounts" not in container


def test_an_empty_directory_doesnt_keep_the_node_from_being_removed():
    annotations = deployment_of({}, NAIS)["template"]["metadata"]["annotations"]
    assert annotations == {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}
    assert "annotations" not in deployment_of()["template"]["metadata"]


def test_without_nais_defaults_nothing_is_filled_in():
    pod = pod_of({})
    assert "resources" not in pod["containers"][0]
    assert not {"affinity", "volumes", "serviceAccountName", "imagePullSecrets"} & pod.keys()


def test_pods_run_as_a_service_account_of_their_own_without_its_token_where_the_cluster_wants_it():
    platform = Platform(service_accounts=True)
    account = children_of({"labels": LABELS}, platform)[ChildName(SERVICE_ACCOUNT, NAME)]
    assert account["automountServiceAccountToken"] is False
    assert account["metadata"]["labels"]["team"] == "fisk"
    pod = pod_of({}, platform)
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == (NAME, False)


def test_images_are_pulled_by_the_clusters_secrets():
    assert pod_of({}, Platform(image_pull_secrets=("a", "b")))["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


@pytest.mark.parametrize(
    ("prometheus", "port", "path"),
    [
        ({"enabled": True}, "9000", "/metrics"),
        ({"enabled": True, "port": "9090", "path": "/internal/prometheus"}, "9090", "/internal/prometheus"),
        ({"enabled": True, "port": 9090, "path": ""}, "9090", "/metrics"),
    ],
)
def test_pods_say_where_their_metrics_are(prometheus, port, path):
    annotations = deployment_of(port=9000, prometheus=prometheus)["template"]["metadata"]["annotations"]
    assert annotations == {"prometheus.io/scrape": "true", "prometheus.io/port": port, "prometheus.io/path": path}


def test_pods_without_metrics_say_nothing():
    assert "annotations" not in deployment_of(prometheus={"enabled": False, "path": "/m"})["template"]["metadata"]
