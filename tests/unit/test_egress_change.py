"""While policies change, no way is closed that is open before and after: whatever the writes, wherever they end."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskinporten_operator.model.application import parse_application
from maskinporten_operator.model.resources import (
    CILIUM_POLICY,
    DEPLOYMENT,
    FQDN_POLICY,
    GKE_FQDN_POLICY,
    NETWORK_POLICY,
)
from maskinporten_operator.plan.application_plan import ApplicationPlan, ApplyChild, plan_application
from maskinporten_operator.plan.children import ChildName
from maskinporten_operator.plan.egress import POLICY_KINDS
from maskinporten_operator.plan.platform import Platform
from tests.children import NAME, application_body, carry_out, look, settle

ADDRESSES = {"maskinporten": "139.105.36.164/32", "a": "192.0.2.7/32", "metadata": "169.254.169.254/32"}
WAYS = {
    "DNS": ("kube-system",),
    "Maskinporten": ("maskinporten.no", ADDRESSES["maskinporten"]),
    "a": ("a.example", ADDRESSES["a"]),
    "b": ('"app": "b"',),
    "the metadata server": (ADDRESSES["metadata"],),
    "anything else": (),
}
"""What a pod may reach, and the texts in a policy of which any opens it."""
PLATFORMS = st.builds(
    Platform,
    name=st.just("gcp"),
    backend=st.sampled_from(["networkpolicy", "fqdn-gke", "cilium", "none"]),
    fqdn_kind=st.just(FQDN_POLICY),
    hosts=st.just(("maskinporten.no",)),
    cidrs=st.just((ADDRESSES["maskinporten"],)),
    always=st.sampled_from([(), (ADDRESSES["metadata"],)]),
)
EXTERNAL = st.sampled_from([{"host": "a.example"}, {"ipv4": "192.0.2.7"}])
OUTBOUND = st.fixed_dictionaries(
    {}, optional={"external": st.lists(EXTERNAL, max_size=2), "rules": st.just([{"application": "b"}])}
)
SPECS = st.fixed_dictionaries(
    {"image": st.just("example/app:1"), "maskinporten": st.fixed_dictionaries({"enabled": st.booleans()})},
    optional={"accessPolicy": st.fixed_dictionaries({}, optional={"outbound": OUTBOUND})},
)


def find_open(objects):
    """Every way that some policy opens; without any policy all of them are open."""
    rules = [rule for child, one in objects.items() if child.kind in POLICY_KINDS for rule in one["spec"]["egress"]]
    if not any(child.kind in POLICY_KINDS for child in objects) or {} in rules:
        return set(WAYS)
    text = json.dumps(rules)
    return {way for way, signs in WAYS.items() if any(sign in text for sign in signs)}


def settle_step_by_step(spec, platform, objects):
    """What is there after each write."""
    application, found = parse_application(application_body(spec)), [objects]
    while steps := plan_application(look(application, objects), platform).steps:
        for step in steps:
            objects = carry_out(ApplicationPlan((step,), None), application, objects)
            found.append(objects)
    return found


@settings(max_examples=80)
@given(st.tuples(SPECS, PLATFORMS), st.tuples(SPECS, PLATFORMS), st.integers(0, 6), st.tuples(SPECS, PLATFORMS))
def test_what_is_open_before_and_after_is_open_after_each_write_and_after_one_that_was_the_last(
    first, second, n, third
):
    before = settle(application_body(first[0]), first[1], {})
    writes = settle_step_by_step(*second, before)
    wanted = find_open(before) & find_open(writes[-1])
    assert all(wanted <= find_open(one) for one in writes)

    left = writes[min(n, len(writes) - 1)]  # the operator was killed here, and started with other settings
    writes = settle_step_by_step(*third, left)
    wanted = find_open(left) & find_open(writes[-1])
    assert all(wanted <= find_open(one) for one in writes)


HOST = {"accessPolicy": {"outbound": {"external": [{"host": "a.example"}]}}}
ADDRESS = {"accessPolicy": {"outbound": {"external": [{"ipv4": "192.0.2.7"}, {"host": "b.example"}]}}}
NONE, FQDN = Platform(backend="none"), Platform(backend="fqdn-gke")


def written(spec, platform, objects):
    """The policies that are written or deleted, in order."""
    steps = plan_application(look(parse_application(application_body(spec)), objects), platform).steps
    return [str(step.child) for step in steps if getattr(step, "child", None) and step.child.kind in POLICY_KINDS]


@pytest.mark.parametrize(
    ("before", "after"), [((HOST, NONE), (HOST, FQDN)), ((HOST, FQDN), (ADDRESS, FQDN)), ((HOST, FQDN), (HOST, NONE))]
)
def test_where_two_policies_change_the_first_opens_meanwhile_what_both_do(before, after):
    spec = {"image": "example/app:1"}
    objects = settle(application_body(spec | before[0]), before[1], {})
    last = ["FQDNNetworkPolicy app-fqdn", "NetworkPolicy app"]
    assert written(spec | after[0], after[1], objects) == ["NetworkPolicy app", *last]


def test_an_application_without_pods_needs_no_bridge():
    assert written(HOST | {"image": "example/app:1"}, FQDN, {}) == ["FQDNNetworkPolicy app-fqdn", "NetworkPolicy app"]


def test_a_policy_by_addresses_stays_until_there_is_one_by_names():
    spec = HOST | {"image": "example/app:1", "maskinporten": {"enabled": True}}
    where = {"name": "gcp", "hosts": ("maskinporten.no",), "cidrs": (ADDRESSES["maskinporten"],)}
    objects = settle(application_body(spec), Platform(backend="networkpolicy", **where), {})
    assert written(spec, Platform(backend="fqdn-gke", **where), objects) == [
        "FQDNNetworkPolicy app-fqdn", "NetworkPolicy app",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [FQDN_POLICY, GKE_FQDN_POLICY])
def test_with_a_policy_that_is_somebody_elses_no_policy_is_closed_and_no_pods_are_begun(kind):
    spec, platform = HOST | {"image": "example/app:1"}, Platform(backend="fqdn-gke", fqdn_kind=kind)
    theirs = {ChildName(kind, f"{NAME}-fqdn"): {"metadata": {"name": f"{NAME}-fqdn", "uid": "theirs"}, "spec": {}}}
    plan = plan_application(look(parse_application(application_body(spec)), theirs), platform)
    applied = {step.child.kind for step in plan.steps if isinstance(step, ApplyChild)}
    assert plan.blocker
    assert not applied & {NETWORK_POLICY, CILIUM_POLICY, DEPLOYMENT}
