"""Who may call an Application."""

import pytest

from maskinporten_operator.model.application import ApplicationSpec, parse_application
from maskinporten_operator.model.resources import DEPLOYMENT, NETWORK_POLICY
from maskinporten_operator.plan.application_plan import ApplyChild, DeleteChild, find_unsupported, plan_application
from maskinporten_operator.plan.children import ChildName
from maskinporten_operator.plan.platform import Platform, Pods, guards_inbound, parse_caller
from tests.children import NAME, application_body, keep, look, settle

OPEN = Platform(cluster="here")
CLOSED = Platform(cluster="here", guards_inbound=True)
INBOUND, EGRESS = ChildName(NETWORK_POLICY, f"{NAME}.inbound"), ChildName(NETWORK_POLICY, NAME)
DEPLOYED = ChildName(DEPLOYMENT, NAME)
INGRESS = Pods("ingress-nginx", (("app", "nginx"),))


def body_of(*rules, **spec):
    policy = {"accessPolicy": {"inbound": {"rules": list(rules)}}} if rules else {}
    return application_body({"image": "example/app:1", **policy, **spec})


def peers_of(*rules, platform=CLOSED):
    policy = settle(body_of(*rules), platform, {})[INBOUND]["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["podSelector"] == {"matchLabels": {"app": NAME}}
    return [peer for rule in policy["ingress"] for peer in rule["from"]]


def test_nobody_may_call_an_application_that_names_nobody():
    assert settle(body_of(), CLOSED, {})[INBOUND]["spec"]["ingress"] == []


@pytest.mark.parametrize(
    ("rule", "peer"),
    [
        ({"application": "b"}, {"podSelector": {"matchLabels": {"app": "b"}}}),
        ({"application": "*"}, {"podSelector": {}}),
        (
            {"application": "b", "namespace": "other"},
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}},
                "podSelector": {"matchLabels": {"app": "b"}},
            },
        ),
        (
            {"application": "b", "namespace": "*"},
            {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "b"}}},
        ),
        ({"application": "*", "namespace": "*"}, {"namespaceSelector": {}, "podSelector": {}}),
        ({"application": "b", "cluster": "here"}, {"podSelector": {"matchLabels": {"app": "b"}}}),
    ],
)
def test_those_whom_it_names_may_call_it(rule, peer):
    assert peers_of(rule) == [peer]


def test_a_rule_of_another_cluster_lets_nobody_in_and_is_named_and_no_cluster_means_all():
    body = body_of({"application": "b", "cluster": "there"}, {"application": "c", "cluster": ""})
    (rule,) = settle(body, CLOSED, {})[INBOUND]["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app": "c"}}}]
    named = find_unsupported(look(parse_application(body), {}), CLOSED)
    assert named == ["spec.accessPolicy.inbound.rules[0] (of the cluster there)"]


def test_those_whom_the_cluster_names_may_call_every_application():
    always = (INGRESS, Pods(network="192.0.2.0/24"))
    platform = Platform(guards_inbound=True, inbound_always=always)
    assert peers_of(platform=platform) == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}},
            "podSelector": {"matchLabels": {"app": "nginx"}},
        },
        {"ipBlock": {"cidr": "192.0.2.0/24"}},
    ]


def test_where_the_cluster_leaves_it_open_rules_are_named_and_nothing_is_closed():
    body = body_of({"application": "b"})
    assert INBOUND not in settle(body, OPEN, {})
    assert find_unsupported(look(parse_application(body), {}), OPEN) == [
        "spec.accessPolicy.inbound (who calls isn't restricted in this cluster)"
    ]
    assert find_unsupported(look(parse_application(body), {}), CLOSED) == []


def test_what_others_read_in_a_rule_is_named():
    body = body_of({"application": "b", "permissions": {"roles": ["a"]}})
    assert find_unsupported(look(parse_application(body), {}), CLOSED) == [
        "spec.accessPolicy.inbound.rules[0].permissions"
    ]


@pytest.mark.parametrize(("workloads", "is_closed"), [(True, False), (False, True)])
def test_without_an_image_only_pods_that_others_make_are_closed(workloads, is_closed):
    platform = Platform(guards_inbound=True, workloads=workloads)
    assert (INBOUND in settle(application_body({}), platform, {})) is is_closed


def test_pods_are_not_begun_before_it_is_known_who_may_call_them():
    plan = plan_application(look(parse_application(body_of()), {}), CLOSED)
    kinds = [step.child for step in plan.steps if isinstance(step, ApplyChild)]
    assert kinds.index(INBOUND) < kinds.index(DEPLOYED)


def test_a_policy_of_that_name_that_is_somebody_elses_keeps_pods_from_being_begun_and_no_way_out_from_being_opened():
    foreign = {"kind": "NetworkPolicy", "metadata": {"name": INBOUND.name, "namespace": "some-team"}, "spec": {}}
    body = body_of(accessPolicy={"outbound": {"rules": [{"application": "b"}]}})
    platform = Platform(backend="networkpolicy", guards_inbound=True)
    plan = plan_application(look(parse_application(body), {INBOUND: keep(foreign)}), platform)
    applied = {step.child for step in plan.steps if isinstance(step, ApplyChild)}
    assert plan.blocker
    assert EGRESS in applied
    assert not {INBOUND, DEPLOYED} & applied


def test_a_change_of_who_may_call_leaves_the_ways_out_alone():
    platform = Platform(backend="networkpolicy", guards_inbound=True)
    outbound = {"outbound": {"rules": [{"application": "b"}]}}
    objects = settle(body_of(accessPolicy=outbound), platform, {})
    body = body_of(accessPolicy={**outbound, "inbound": {"rules": [{"application": "c"}]}})
    plan = plan_application(look(parse_application(body), objects), platform)
    assert [step.child for step in plan.steps] == [INBOUND]


def test_it_goes_where_the_cluster_no_longer_wants_it_and_the_policy_on_ways_out_stays():
    body = body_of(accessPolicy={"outbound": {"rules": [{"application": "b"}]}})
    objects = settle(body, Platform(backend="networkpolicy", guards_inbound=True), {})
    plan = plan_application(look(parse_application(body), objects), Platform(backend="networkpolicy"))
    assert [step.child for step in plan.steps if isinstance(step, DeleteChild)] == [INBOUND]
    assert len(plan.steps) == 1


@pytest.mark.parametrize(
    ("wanted", "platform", "is_guarded"),
    [
        ("auto", "gcp", True),
        ("auto", "onprem", True),
        ("auto", "generic", False),
        ("networkpolicy", "generic", True),
        ("none", "gcp", False),
    ],
)
def test_callers_are_restricted_by_the_setting_or_by_the_platform(wanted, platform, is_guarded):
    assert guards_inbound(wanted, platform) is is_guarded


@pytest.mark.parametrize(
    ("text", "caller"),
    [
        ("nais-system", Pods("nais-system")),
        ("ingress-nginx/app=nginx", INGRESS),
        ("192.0.2.0/24", Pods(network="192.0.2.0/24")),
        ("192.0.2.7", Pods(network="192.0.2.7/32")),
        ("2001:db8::/32", Pods(network="2001:db8::/32")),
    ],
)
def test_a_caller_is_a_namespace_with_a_label_or_without_or_a_network(text, caller):
    assert parse_caller(text) == caller


@pytest.mark.parametrize("text", ["", "Upper", "a/b", "a:53", "192.0.2.7/24", "*"])
def test_anything_else_is_no_caller(text):
    with pytest.raises(ValueError, match="write namespaces or networks"):
        parse_caller(text)


def test_a_name_that_ends_like_the_policys_is_no_applications():
    body = application_body({"image": "example/app:1"}, name="a.inbound")
    assert not isinstance(parse_application(body).spec, ApplicationSpec)
