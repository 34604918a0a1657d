"""How Prometheus finds an Application's metrics."""

import pytest

from maskinporten_operator.model.application import parse_application
from maskinporten_operator.model.resources import DEPLOYMENT, POD_MONITOR
from maskinporten_operator.plan.application_plan import ApplyChild, DeleteChild, find_unsupported, plan_application
from maskinporten_operator.plan.children import ChildName
from maskinporten_operator.plan.platform import Platform
from tests.children import NAME, application_body, keep, look, settle

PLATFORM = Platform(pod_monitors=True)
MONITOR, DEPLOYED = ChildName(POD_MONITOR, NAME), ChildName(DEPLOYMENT, NAME)
LISTENS = {"name": "http", "containerPort": 8080, "protocol": "TCP"}


def body_of(prometheus, **spec):
    return application_body({"image": "example/app:1", "prometheus": prometheus, **spec})


def ports_of(objects):
    return objects[DEPLOYED]["spec"]["template"]["spec"]["containers"][0]["ports"]


def unsupported(body, platform=PLATFORM):
    return find_unsupported(look(parse_application(body), {}), platform)


@pytest.mark.parametrize("port", [None, "", 8080, "8080"])
def test_metrics_on_its_own_port_are_read_by_that_ports_name(port):
    objects = settle(body_of({"enabled": True, "port": port}), PLATFORM, {})
    assert objects[MONITOR]["spec"] == {
        "jobLabel": "app.kubernetes.io/name",
        "podTargetLabels": ["app", "team"],
        "selector": {"matchLabels": {"app": NAME}},
        "podMetricsEndpoints": [{"port": "http", "path": "/metrics"}],
    }
    assert ports_of(objects) == [LISTENS]


@pytest.mark.parametrize("port", [9090, "9090"])
def test_another_port_for_metrics_is_named_by_the_container(port):
    objects = settle(body_of({"enabled": True, "port": port, "path": "/a"}), PLATFORM, {})
    assert objects[MONITOR]["spec"]["podMetricsEndpoints"] == [{"port": "metrics", "path": "/a"}]
    assert ports_of(objects) == [LISTENS, {"name": "metrics", "containerPort": 9090, "protocol": "TCP"}]


def test_the_pods_are_annotated_too_and_alike_with_and_without_the_kind():
    body = body_of({"enabled": True, "port": 8080})
    templates = [settle(body, one, {})[DEPLOYED]["spec"]["template"] for one in (PLATFORM, Platform())]
    assert templates[0] == templates[1]
    assert templates[0]["metadata"]["annotations"]["prometheus.io/scrape"] == "true"


def test_without_the_kind_there_is_no_monitor_and_no_port_for_it():
    objects = settle(body_of({"enabled": True, "port": 9090}), Platform(), {})
    assert MONITOR not in objects
    assert ports_of(objects) == [LISTENS]
    assert unsupported(body_of({"enabled": True, "port": 9090}), Platform()) == []


@pytest.mark.parametrize("prometheus", [None, {}, {"enabled": False, "port": 9090}])
def test_an_application_that_asks_for_none_has_none(prometheus):
    objects = settle(body_of(prometheus), PLATFORM, {})
    assert MONITOR not in objects
    assert ports_of(objects) == [LISTENS]


@pytest.mark.parametrize("port", ["metrics", "0", "65536", "-1", "9" * 5000, "٣", "80.5", 0 - 1])
def test_what_is_no_port_is_named_and_nothing_else_suffers(port):
    body = body_of({"enabled": True, "port": port})
    assert unsupported(body) == ["spec.prometheus.port (no number of a port)"]
    objects = settle(body, PLATFORM, {})
    assert MONITOR not in objects
    assert ports_of(objects) == [LISTENS]


def test_it_comes_and_goes_without_touching_the_pods_if_the_port_is_their_own():
    objects = settle(body_of({"enabled": True}), Platform(), {})
    application = parse_application(body_of({"enabled": True}))
    come = plan_application(look(application, objects), PLATFORM).steps
    assert [step.child for step in come if isinstance(step, ApplyChild)] == [MONITOR]
    go = plan_application(look(application, settle(body_of({"enabled": True}), PLATFORM, {})), Platform()).steps
    assert [step.child for step in go if isinstance(step, DeleteChild)] == [MONITOR]
    assert len(come) == len(go) == 1


def test_a_monitor_of_its_name_that_is_somebody_elses_does_as_well():
    foreign = keep({"kind": "PodMonitor", "metadata": {"name": NAME, "namespace": "some-team"}, "spec": {}})
    plan = plan_application(look(parse_application(body_of({"enabled": True})), {MONITOR: foreign}), PLATFORM)
    assert plan.blocker is None
    assert DEPLOYED in [step.child for step in plan.steps if isinstance(step, ApplyChild)]
    assert MONITOR not in [getattr(step, "child", None) for step in plan.steps]


def test_it_stays_while_credentials_are_waited_for():
    objects = settle(body_of({"enabled": True}), PLATFORM, {})
    body = body_of({"enabled": True}, maskinporten={"enabled": True})
    steps = plan_application(look(parse_application(body), objects), PLATFORM).steps
    assert not [step for step in steps if isinstance(step, DeleteChild)]


def test_whoever_makes_the_workloads_makes_the_monitor():
    objects = settle(body_of({"enabled": True}), PLATFORM, {})
    platform = Platform(pod_monitors=True, workloads=False)
    assert plan_application(look(parse_application(body_of(None)), objects), platform).steps == ()
