"""What decides on policies before an Application is looked at."""

import pytest

from maskinporten_operator.model.application import parse_application
from maskinporten_operator.model.resources import CILIUM_POLICY, FQDN_POLICY, GKE_FQDN_POLICY, NETWORK_POLICY
from maskinporten_operator.plan.egress import build_policies, find_targets
from maskinporten_operator.plan.platform import (
    Platform,
    Pods,
    check_backend,
    choose_backend,
    find_fqdn_kind,
    find_network,
    find_published_addresses,
    parse_dns_server,
)
from tests.children import application_body

ALL = (NETWORK_POLICY, FQDN_POLICY, GKE_FQDN_POLICY, CILIUM_POLICY)
ENABLED = {"maskinporten": {"enabled": True}}


def ways(spec, **platform):
    return find_targets(parse_application(application_body(spec)).spec, Platform(**platform))


@pytest.mark.parametrize("platform", ["gcp", "onprem"])
@pytest.mark.parametrize(
    ("served", "backend"),
    [
        (ALL, "fqdn-gke"),
        ((NETWORK_POLICY, GKE_FQDN_POLICY), "fqdn-gke"),
        ((NETWORK_POLICY, CILIUM_POLICY), "cilium"),
        ((NETWORK_POLICY,), "networkpolicy"),
        ((), "networkpolicy"),
    ],
)
def test_the_backend_is_the_best_that_the_cluster_serves(platform, served, backend):
    assert choose_backend("auto", platform, served) == backend


@pytest.mark.parametrize("served", [ALL, ()])
def test_a_generic_cluster_has_no_backend_by_itself(served):
    assert choose_backend("auto", "generic", served) == "none"


@pytest.mark.parametrize("platform", ["gcp", "onprem", "generic"])
@pytest.mark.parametrize("wanted", ["networkpolicy", "fqdn-gke", "cilium", "none"])
def test_a_backend_that_is_asked_for_is_used(platform, wanted):
    assert choose_backend(wanted, platform, ()) == wanted


def test_the_addresses_of_production_and_test_are_the_published_ones():
    assert find_published_addresses(("maskinporten.no",)) == ("139.105.36.164/32", "2a02:9cc::201/128")
    assert find_published_addresses(("test.maskinporten.no",)) == ("139.105.36.132/32", "2a02:9cc::301/128")
    assert find_published_addresses(("maskinporten.internal", "10.9.0.1")) == ("10.9.0.1/32",)


@pytest.mark.parametrize(
    ("host", "network"),
    [("10.3.0.7", "10.3.0.7/32"), ("[2001:db8::1]", "2001:db8::1/128"), ("webproxy.test", None), ("", None)],
)
def test_a_host_that_is_an_address_is_its_own_network(host, network):
    assert find_network(host) == network


@pytest.mark.parametrize("backend", ["fqdn-gke", "cilium"])
def test_a_host_of_maskinporten_that_is_an_address_is_opened_as_one(backend):
    found = ways(ENABLED, name="gcp", backend=backend, hosts=("10.9.0.1",), cidrs=("10.9.0.1/32",))
    assert (found.hosts, found.networks) == ((), ((("10.9.0.1/32",), ((443, "TCP"),)),))


@pytest.mark.parametrize("backend", ["fqdn-gke", "cilium"])
def test_of_hosts_with_names_and_addresses_each_is_opened_in_its_way(backend):
    hosts = ("maskinporten.no", "10.9.0.1")
    found = ways(ENABLED, name="gcp", backend=backend, hosts=hosts, cidrs=find_published_addresses(hosts))
    assert [names for names, _ in found.hosts] == [("maskinporten.no",)]
    assert [networks for networks, _ in found.networks] == [("10.9.0.1/32",)]


@pytest.mark.parametrize("backend", ["networkpolicy", "fqdn-gke", "cilium"])
def test_maskinporten_is_not_opened_on_premises(backend):
    found = ways(ENABLED, name="onprem", backend=backend, hosts=("maskinporten.no",), cidrs=("139.105.36.164/32",))
    assert (found.hosts, found.networks) == ((), ())


def test_hosts_of_maskinporten_are_opened_together():
    found = ways(ENABLED, name="gcp", backend="cilium", hosts=("maskinporten.no", "b.example"))
    assert found.hosts == ((("maskinporten.no", "b.example"), ((443, "TCP"),)),)


def test_the_policy_for_hosts_of_an_application_with_the_longest_name_has_a_name_of_its_own():
    application = parse_application(application_body(ENABLED, name="a" * 63))
    platform = Platform(name="gcp", backend="fqdn-gke", hosts=("maskinporten.no",))
    names = [
        manifest["metadata"]["name"] for _, manifest in build_policies(application.meta, application.spec, platform)
    ]
    assert names == ["a" * 63 + "-fqdn", "a" * 63]


@pytest.mark.parametrize(("wanted", "kind"), [("fqdn-gke", "fqdnnetworkpolicies"), ("cilium", "ciliumnetworkpolicies")])
def test_a_backend_whose_kind_is_not_served_is_refused_with_the_kind_that_is_missing(wanted, kind):
    assert f"doesn't serve {kind}." in check_backend(wanted, (NETWORK_POLICY,))
    assert check_backend(wanted, ALL) is None


@pytest.mark.parametrize("wanted", ["auto", "networkpolicy", "none"])
def test_a_backend_that_needs_no_kind_of_others_is_never_refused(wanted):
    assert check_backend(wanted, ()) is None


def test_gkes_own_policies_are_used_where_nothing_else_serves_the_kind():
    assert find_fqdn_kind((GKE_FQDN_POLICY,)) == GKE_FQDN_POLICY
    assert find_fqdn_kind((FQDN_POLICY, GKE_FQDN_POLICY)) == FQDN_POLICY
    assert check_backend("fqdn-gke", (GKE_FQDN_POLICY,)) is None


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("kube-system", Pods("kube-system")),
        ("openshift-dns:5353", Pods("openshift-dns", port=5353)),
        ("kube-system/k8s-app=kube-dns:8053", Pods("kube-system", (("k8s-app", "kube-dns"),), port=8053)),
        ("dns/dns.operator.openshift.io/daemonset-dns=default", Pods(
            "dns", (("dns.operator.openshift.io/daemonset-dns", "default"),)
        )),
        ("169.254.20.10", Pods(network="169.254.20.10/32")),
        ("[fd00::10]:5353", Pods(network="fd00::10/128", port=5353)),
        ("fd00::10", Pods(network="fd00::10/128")),
    ],
)  # fmt: skip
def test_where_pods_ask_for_names_is_written_as_a_namespace_or_an_address(text, server):
    assert parse_dns_server(text) == server


def test_what_is_always_open_makes_no_policy_by_itself():
    assert ways({}, name="gcp", backend="networkpolicy", always=("192.0.2.1/32",)).is_empty
    assert ways({"gcp": {}}, name="gcp", backend="networkpolicy").is_empty


@pytest.mark.parametrize(("platform", "opened"), [("gcp", True), ("onprem", False), ("generic", False)])
def test_the_metadata_server_is_opened_for_those_who_use_google_cloud_there(platform, opened):
    spec = {"gcp": {"buckets": []}, "accessPolicy": {"outbound": {}}}
    found = ways(spec, name=platform, backend="networkpolicy", always=("192.0.2.1/32",))
    assert found.networks == ((("192.0.2.1/32", *(("169.254.169.254/32",) if opened else ())), ()),)
