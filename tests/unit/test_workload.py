"""What a spec makes of the Deployment and its container. Whole Applications are in tests/golden."""

import pytest

from maskinporten_operator.model.application import ApplicationSpec, parse_application
from maskinporten_operator.model.resources import DEPLOYMENT
from maskinporten_operator.plan.application_plan import find_unsupported
from maskinporten_operator.plan.children import ChildName, build_children
from maskinporten_operator.plan.platform import Platform
from tests.children import NAME, application_body, look


def deployment_of(**spec):
    application = parse_application(application_body({"image": "example/app:1", **spec}))
    assert isinstance(application.spec, ApplicationSpec), application.spec
    children = build_children(application.meta, application.spec, Platform(cluster="some-cluster"), None)
    return children[ChildName(DEPLOYMENT, NAME)]["spec"]


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
