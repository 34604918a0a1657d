"""By which URLs an Application is reached."""

import pytest

from maskinporten_operator.model.application import InvalidSpec, parse_application
from maskinporten_operator.model.resources import DEPLOYMENT, INGRESS, NETWORK_POLICY, SERVICE
from maskinporten_operator.plan.application_plan import ApplyChild, DeleteChild, find_unsupported, plan_application
from maskinporten_operator.plan.children import ChildName
from maskinporten_operator.plan.ingress import Route, build_ingress_name, parse_route
from maskinporten_operator.plan.ingress_classes import find_classes, parse_controller, parse_ingress_class
from maskinporten_operator.plan.platform import Platform, Pods
from tests.children import NAME, application_body, keep, look, settle

CLASSES = tuple(parse_ingress_class(one) for one in ("*=other", "example.com=outer", ".intern.example.com=inner"))
PLATFORM = Platform(ingress_classes=CLASSES)
INBOUND = ChildName(NETWORK_POLICY, f"{NAME}.inbound")
OUTER, INNER = (ChildName(INGRESS, build_ingress_name(NAME, one)) for one in ("outer", "inner"))
CONTROLLER = "nginx.ingress.kubernetes.io"


def body_of(*urls, annotations=None, **spec):
    return application_body({"image": "example/app:1", "ingresses": list(urls), **spec}, annotations=annotations or {})


def ingresses_of(body, platform=PLATFORM):
    return {child: one for child, one in settle(body, platform, {}).items() if child.kind == INGRESS}


def paths_of(ingress):
    return {
        rule["host"]: [(one["path"], one["pathType"]) for one in rule["http"]["paths"]]
        for rule in ingress["spec"]["rules"]
    }


def unsupported(body, platform=PLATFORM):
    return find_unsupported(look(parse_application(body), {}), platform)


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("https://app.example.com", Route("app.example.com", "/")),
        ("https://app.example.com/", Route("app.example.com", "/")),
        ("https://app.example.com/a/b", Route("app.example.com", "/a/b")),
        ("https://app.example.com/a//", Route("app.example.com", "/a")),
        ("https://app.example.com/a.b/~c/%C3%A6", Route("app.example.com", "/a.b/~c/%C3%A6")),
        ("https://app", Route("app", "/")),
    ],
)
def test_a_url_is_a_host_and_the_path_below_which_all_leads_to_the_application(url, route):
    assert parse_route(url) == route


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://",
        "app.example.com",
        "http://app.example.com",
        "HTTPS://app.example.com",
        "https://App.example.com",
        "https://*.example.com",
        "https://app.example.com:8443",
        "https://me@app.example.com",
        "https://192.0.2.7/a",
        "https://010.0.0.1",
        "https://[2001:db8::1]/a",
        "https://app.example.com?a=b",
        "https://app.example.com/a#b",
        "https://app.example.com/(a|b)",
        "https://app.example.com/a(/.*)?",
        "https://app.example.com/a b",
        "https://app.example.com/a//b",
        "https://app.example.com/a/../b",
        "https://app.example.com/.",
        "https://app.example.com/a%2Fb",
        "https://app.example.com/æ",
        "https://app.example.com\n",
        " https://app.example.com",
        "https://" + "a." * 126 + "aa",
        "https://-a.example.com",
    ],
)
def test_what_an_ingress_cant_say_is_named_and_everything_else_is_made(url):
    assert parse_route(url) is None
    body = body_of("https://app.example.com", url)
    assert unsupported(body) == ["spec.ingresses[1] (no https:// with a host in small letters and a plain path)"]
    objects = settle(body, PLATFORM, {})
    assert ChildName(DEPLOYMENT, NAME) in objects
    assert paths_of(objects[OUTER]) == {"app.example.com": [("/", "Prefix")]}


@pytest.mark.parametrize("ingresses", ["https://app.example.com", [1], [None], {"a": "b"}, ["https://" + "a" * 2050]])
def test_what_is_no_list_of_texts_makes_the_spec_invalid(ingresses):
    spec = parse_application(application_body({"ingresses": ingresses})).spec
    assert isinstance(spec, InvalidSpec)
    assert spec.message.startswith("spec.ingresses")


@pytest.mark.parametrize(
    ("host", "classes"),
    [
        ("example.com", ("outer",)),
        ("a.example.com", ("outer",)),
        ("a.b.example.com", ("outer",)),
        ("notexample.com", ("other",)),
        ("intern.example.com", ("outer",)),
        ("a.intern.example.com", ("inner",)),
        ("example.org", ("other",)),
    ],
)
def test_of_the_classes_that_serve_a_host_the_one_of_the_longest_suffix_counts(host, classes):
    assert find_classes(host, CLASSES) == classes
    assert find_classes(host, reversed(CLASSES)) == classes


def test_two_classes_of_one_suffix_both_serve_it_as_while_controllers_are_changed():
    both = [parse_ingress_class(one) for one in ("example.com=nginx", "example.com=haproxy", "example.com=nginx")]
    assert find_classes("a.example.com", both) == ("nginx", "haproxy")


def test_a_host_that_no_class_serves_is_named():
    platform = Platform(ingress_classes=(parse_ingress_class("example.com=outer"),))
    body = body_of("https://app.example.org", "https://app.example.com")
    assert unsupported(body, platform) == ["spec.ingresses[0] (no ingress class of this cluster serves the host)"]
    assert list(ingresses_of(body, platform)) == [OUTER]


def test_without_classes_no_ingress_is_made_and_the_field_is_named():
    body = body_of("https://app.example.com", annotations={f"{CONTROLLER}/proxy-body-size": "8m"})
    assert ingresses_of(body, Platform()) == {}
    assert unsupported(body, Platform()) == [
        f"metadata.annotations[{CONTROLLER}/proxy-body-size]",
        "spec.ingresses (no Ingresses are made in this cluster)",
    ]


def test_each_class_has_an_ingress_with_its_hosts_and_each_host_its_paths_once():
    body = body_of(
        "https://app.example.com/b",
        "https://app.intern.example.com",
        "https://app.example.com/a",
        "https://app.example.com/b/",
        "https://other.example.com",
    )
    found = ingresses_of(body)
    assert set(found) == {OUTER, INNER}
    assert found[INNER]["spec"]["ingressClassName"] == "inner"
    assert paths_of(found[OUTER]) == {
        "app.example.com": [("/b", "Prefix"), ("/a", "Prefix")],
        "other.example.com": [("/", "Prefix")],
    }


def test_it_leads_to_the_port_of_the_service():
    (ingress,) = ingresses_of(body_of("https://app.example.com", service={"port": 8181})).values()
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"] == {"service": {"name": NAME, "port": {"number": 8181}}}


def test_its_name_is_the_one_that_it_has_on_nais_so_that_theirs_is_kept():
    assert build_ingress_name("some-app", "nginx") == "some-app-nginx-91acb464"
    assert len(build_ingress_name("a" * 63, "b" * 63)) == 63
    assert build_ingress_name("a" * 63, "b") != build_ingress_name("a" * 63, "c")
    # The API server takes no dash after a dot.
    assert ".-" not in build_ingress_name("a" * 39, "webapprouting.kubernetes.azure.com")


def test_annotations_for_controllers_are_passed_on_and_win():
    annotations = {
        f"{CONTROLLER}/proxy-body-size": "8m",
        f"{CONTROLLER}/backend-protocol": "GRPCS",
        "haproxy.org/timeout-server": "2h",
        "traefik.ingress.kubernetes.io/router.entrypoints": "web",
        "haproxy.org/backend-config-snippet": "x" * 4096,
    }
    body = body_of("https://app.example.com", annotations=annotations, service={"protocol": "grpc"})
    (ingress,) = ingresses_of(body).values()
    assert annotations.items() <= ingress["metadata"]["annotations"].items()
    assert unsupported(body) == []


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("proxy-set-headers", "x" * 4097, "more than 4096 characters"),
        ("rewrite-target", "/$1", "paths are no expressions here"),
        ("use-regex", "true", "paths are no expressions here"),
        ("use-regex", "T", "paths are no expressions here"),
        ("use-regex", "1", "paths are no expressions here"),
    ],
)
def test_what_would_mean_something_else_to_a_controller_is_named_and_not_passed_on(name, value, why):
    body = body_of("https://app.example.com", annotations={f"{CONTROLLER}/{name}": value})
    assert unsupported(body) == [f"metadata.annotations[{CONTROLLER}/{name}] ({why})"]
    (ingress,) = ingresses_of(body).values()
    assert f"{CONTROLLER}/{name}" not in ingress["metadata"].get("annotations", {})


def test_it_is_marked_for_being_probed_where_the_application_is_probed():
    (ingress,) = ingresses_of(body_of("https://app.example.com", liveness={"path": "/alive"})).values()
    annotations = ingress["metadata"]["annotations"]
    assert (annotations["prometheus.io/scrape"], annotations["prometheus.io/path"]) == ("true", "/alive")


def test_where_callers_are_restricted_the_controllers_of_its_classes_are_let_in_and_no_others():
    controllers = tuple(
        parse_controller(one) for one in ("outer=192.0.2.0/24", "inner=intern/app=nginx", "outer=ingress-nginx")
    )
    platform = Platform(ingress_classes=CLASSES, ingress_controllers=controllers, guards_inbound=True)

    def callers(*urls):
        return settle(body_of(*urls), platform, {})[INBOUND]["spec"]["ingress"]

    inner = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "intern"}},
        "podSelector": {"matchLabels": {"app": "nginx"}},
    }
    outer = [
        {"ipBlock": {"cidr": "192.0.2.0/24"}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}},
    ]
    assert callers() == []
    assert callers("https://a.intern.example.com") == [{"from": [inner]}]
    assert callers("https://a.example.com") == [{"from": outer}]
    assert callers("https://a.example.org") == []
    assert callers("http://a.example.com") == []


def test_a_controller_that_may_call_everybody_is_named_once():
    platform = Platform(
        ingress_classes=CLASSES,
        ingress_controllers=(parse_controller("outer=ingress-nginx"),),
        inbound_always=(Pods("ingress-nginx"),),
        guards_inbound=True,
    )
    (rule,) = settle(body_of("https://a.example.com"), platform, {})[INBOUND]["spec"]["ingress"]
    assert len(rule["from"]) == 1


def test_controllers_are_let_in_before_their_ingress_is_made():
    platform = Platform(ingress_classes=CLASSES, guards_inbound=True)
    plan = plan_application(look(parse_application(body_of("https://a.example.com")), {}), platform)
    children = [step.child for step in plan.steps if isinstance(step, ApplyChild)]
    assert children.index(INBOUND) < children.index(ChildName(SERVICE, NAME)) < children.index(OUTER)


def test_an_ingress_never_leads_to_somebody_elses_service():
    foreign = keep({"kind": "Service", "metadata": {"name": NAME, "namespace": "some-team"}, "spec": {}})
    application = parse_application(body_of("https://a.example.com"))
    plan = plan_application(look(application, {ChildName(SERVICE, NAME): foreign}), PLATFORM)
    assert plan.blocker
    assert OUTER not in [step.child for step in plan.steps if isinstance(step, ApplyChild)]


def test_a_change_of_urls_writes_the_ingress_and_no_pod():
    objects = settle(body_of("https://a.example.com"), PLATFORM, {})
    application = parse_application(body_of("https://b.example.com"))
    assert [step.child for step in plan_application(look(application, objects), PLATFORM).steps] == [OUTER]


@pytest.mark.parametrize(
    ("body", "platform"),
    [
        (body_of(), PLATFORM),
        (body_of("https://a.intern.example.com"), PLATFORM),
        (body_of("https://a.example.com"), Platform()),
    ],
    ids=["no URL", "another class", "a cluster that makes none"],
)
def test_an_ingress_goes_with_what_asked_for_it(body, platform):
    objects = settle(body_of("https://a.example.com"), PLATFORM, {})
    plan = plan_application(look(parse_application(body), objects), platform)
    assert OUTER in [step.child for step in plan.steps if isinstance(step, DeleteChild)]


def test_it_goes_while_credentials_are_waited_for_too_and_the_pods_stay():
    objects = settle(body_of("https://a.example.com"), PLATFORM, {})
    application = parse_application(body_of(maskinporten={"enabled": True}))
    plan = plan_application(look(application, objects), PLATFORM)
    assert [step.child for step in plan.steps if isinstance(step, DeleteChild)] == [OUTER]


def test_whoever_makes_the_workloads_makes_the_ingress():
    platform = Platform(ingress_classes=CLASSES, workloads=False)
    objects = settle(body_of("https://a.example.com"), PLATFORM, {})
    body = body_of("https://b.example.com", "no url")
    plan = plan_application(look(parse_application(body), objects), platform)
    assert not [step for step in plan.steps if step.child.kind == INGRESS]
    assert unsupported(body, platform) == []


@pytest.mark.parametrize(
    ("text", "serves", "not_served"),
    [
        ("*=nginx", "a.example.org", None),
        ("example.com=nginx", "example.com", "badexample.com"),
        (".example.com=nginx", "a.example.com", "example.com"),
    ],
)
def test_a_class_serves_the_hosts_that_end_in_its_suffix(text, serves, not_served):
    one = parse_ingress_class(text)
    assert one.name == "nginx"
    assert one.serves(serves)
    assert not_served is None or not one.serves(not_served)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nginx",
        "=nginx",
        "example.com=",
        "a=b=c",
        "Example.com=a",
        "*.example.com=a",
        "a=B",
        "..a=b",
        "a=b\n",
        "a\n=b",
    ],
)
def test_anything_else_is_no_class(text):
    with pytest.raises(ValueError, match="write what hosts end in and the class"):
        parse_ingress_class(text)


def test_a_controller_is_a_class_and_from_where_it_calls():
    assert parse_controller("a.b=ingress-nginx/app=x") == ("a.b", Pods("ingress-nginx", (("app", "x"),)))


@pytest.mark.parametrize(
    "text", ["", "nginx", "nginx=", "=a", "Nginx=a", "nginx=A", "nginx=192.0.2.7/24", "ingress/a=b"]
)
def test_anything_else_is_no_controller(text):
    with pytest.raises(ValueError, match="write a class and from where its controllers call"):
        parse_controller(text)
