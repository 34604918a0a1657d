"""What the chart renders for values that are right."""

import base64
import json
import os
import subprocess

import pytest
import yaml

from maskinporten_operator.config import ENV_PREFIX, Config, load_config
from maskinporten_operator.model.resources import (
    CILIUM_POLICY,
    EXPOSURE_KINDS,
    FQDN_POLICY,
    GKE_FQDN_POLICY,
    MASKINPORTEN_CLIENT,
    MAX_BYTES,
    MAX_DEPTH,
    NETWORK_POLICY,
    POD_MONITOR,
    SERVICE_ACCOUNT,
    WORKLOAD_KINDS,
)
from maskinporten_operator.plan.children import OWNED_KINDS
from maskinporten_operator.plan.egress import POLICY_KINDS
from tests.cel import check_age
from tests.chart.conftest import MIN_VALUES
from tests.chart.rendered import NAME
from tests.e2e.played_pod import has_token
from tests.metric_names import ALERTS
from tools.cluster import helm3
from tools.generate.__main__ import ROOT
from tools.generate.chart import CHART, PLACED, find_value
from tools.generate.dashboard import render_dashboard
from tools.generate.manifests import INSTALL, render_chart, render_install

SIMULATOR = f"{NAME}-simulator"
JWK = json.dumps({"kty": "RSA"})
PEM = {"certificateChain": "-----BEGIN CERTIFICATE-----\n", "privateKey": "-----BEGIN PRIVATE KEY-----\n"}
OTHER_VALUES = {
    "cluster_name": "other",
    "digdir_base_url": "https://digdir.example/api/v1",
    "maskinporten_well_known_url": "https://maskinporten.example/.well-known/oauth-authorization-server",
    "admin_scopes": ["idporten:dcr.read", "idporten:dcr.write"],
    "forbidden_scopes": ["ks:fiks", "skatt:*"],
    "client_name": "Some Organisation",
    "scope_prefix": "ks",
    "default_client_scope": "skatt:some.scope",
    "maskinporten_hosts": ["maskinporten.example"],
    "maskinporten_cidrs": ["192.0.2.0/24", "2001:db8::/32"],
    "webproxy_address": "http://proxy.example:8088",
    "webproxy_exclude": [".example"],
    "webproxy_cidrs": ["192.0.2.1/32"],
    "egress_dns": ["openshift-dns:5353"],
    "inbound_always": ["ingress-nginx"],
    "ingress_classes": ["intern.example.com=internal", "*=nginx"],
    "ingress_controllers": ["internal=192.0.2.0/24", "nginx=ingress-nginx"],
    "egress_always": ["192.0.2.2/32"],
    "metrics_address": "127.0.0.1:9090",
    "health_address": "[::]:9091",
    "image_pull_secrets": ["some-registry"],
    "run_as_user": 2_147_483_647,
}
"""Other values than the default, of settings for which none can be made up."""


def change(name, field):
    """Give a value of a setting that isn't its default, as the chart takes it."""
    if name in OTHER_VALUES:
        return OTHER_VALUES[name]
    default = field.default
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1
    words = getattr(field.annotation, "__args__", ())
    if words and all(isinstance(one, str) for one in words):
        return next(one for one in words if one != default)
    return "71s"


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Load the configuration from rendered variables, with files where the Secret would be."""

    def run(environment):
        for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            if name.endswith("_FILE"):
                file = tmp_path / value.rpartition("/")[2]
                file.write_text("{}")
                monkeypatch.setenv(name, str(file))
            elif name.startswith(ENV_PREFIX):
                monkeypatch.setenv(name, value if isinstance(value, str) else value[1])
        return load_config()

    return run


SETTINGS = {name: field for name, field in Config.model_fields.items() if name not in PLACED}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_reaches_the_operator_as_it_was_written(render, load, name):
    value = change(name, SETTINGS[name])
    section, _, key = find_value(name).partition(".")

    config = load(render(**{section: {key: value}}).environment)
    default = load(render().environment)

    written = " ".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else value
    expected = Config.__pydantic_validator__.validate_assignment(default.model_copy(), name, str(written))
    assert getattr(config, name) == getattr(expected, name) != getattr(default, name)


def test_the_defaults_of_the_chart_are_those_of_the_operator(render, load):
    config = load(render().environment)

    for name, field in SETTINGS.items():
        if not field.is_required():
            assert getattr(config, name) == field.default, name


def test_an_address_that_is_empty_serves_nothing(render, load):
    rendered = render(settings={"metricsAddress": "", "healthAddress": ""})

    assert (load(rendered.environment).metrics_address, load(rendered.environment).health_address) == ("", "")
    assert "ports" not in rendered.container()
    assert "livenessProbe" not in rendered.container()
    assert not rendered.all("Service")


@pytest.mark.parametrize(
    ("environment", "digdir", "maskinporten"),
    [
        ("test", "https://api.test.samarbeid.digdir.no/api/v1", "test.maskinporten.no"),
        ("production", "https://api.samarbeid.digdir.no/api/v1", "maskinporten.no"),
    ],
)
def test_an_environment_names_both_of_its_addresses(render, load, environment, digdir, maskinporten):
    config = load(render(environment=environment).environment)

    assert (str(config.digdir_base_url), config.maskinporten_well_known_url.host) == (digdir, maskinporten)


def test_with_the_simulator_nothing_else_need_be_set(render, load):
    rendered = render(alone=True, simulator={"enabled": True})
    url = "http://maskinporten-operator-simulator.maskinporten-operator.svc:8080"

    config = load(rendered.environment)

    assert str(config.digdir_base_url) == f"{url}/api/v1"
    assert str(config.maskinporten_well_known_url) == f"{url}/.well-known/oauth-authorization-server"
    assert f"--public-url={url}" in rendered.container("maskinporten-operator-simulator")["args"]


def test_the_simulators_pod_puts_the_key_into_the_secret_that_the_operator_mounts(render):
    rendered = render(alone=True, simulator={"enabled": True})
    secret, pod = rendered.find("Secret", f"{SIMULATOR}-admin"), rendered.pod(SIMULATOR)["spec"]
    (volume,) = [one for one in rendered.pod()["spec"]["volumes"] if one["name"] == "credentials"]
    (role,) = [one for one in rendered.all("Role") if one["metadata"]["name"] == SIMULATOR]
    (maker,), (simulator,) = pod["initContainers"], pod["containers"]

    assert not secret.keys() & {"data", "stringData"}
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [secret["metadata"]["name"]],
            "verbs": ["get", "patch"],
        }
    ]
    assert f"--secret={secret['metadata']['name']}" in maker["args"]
    assert maker["args"][-1].partition("=")[2] == "/var/run/digdir-simulator/admin.jwk"
    assert f"--admin-jwk-file={maker['args'][-1].partition('=')[2]}" in simulator["args"]
    assert has_token(maker, pod)
    assert not has_token(simulator, pod)
    assert not [one for one in pod["volumes"] if "secret" in one]


RENDERED = {
    "trial": {"simulator": {"enabled": True, "persistence": {"enabled": True}, "seed": {"prefixes": ["nav"]}}},
    "production": {
        **MIN_VALUES,
        "environment": "production",
        "replicas": 2,
        "settings": {"clusterName": "test", "applications": True, "platform": "gcp"},
        "networkPolicy": {"enabled": True},
        "scopePolicy": {"enabled": True},
        "sizePolicy": {"enabled": True},
        "prometheusRule": {"enabled": True, "runbooks": "https://docs.example"},
        "dashboard": {"enabled": True},
    },
}


@pytest.mark.parametrize("values", RENDERED.values(), ids=RENDERED)
def test_every_rendering_is_the_same_by_helm_3_as_by_helm_4(helm, values):
    rendered = [render_chart(program, values) for program in (helm, helm, helm3())]

    assert rendered[0] == rendered[1]
    assert sort(rendered[0]) == sort(rendered[2])


def sort(text):
    """Give the manifests in an order of their own: releases of Helm don't agree on one."""
    return sorted((one for one in yaml.safe_load_all(text) if one), key=json.dumps)


def test_a_kubernetes_that_is_older_than_what_was_tried_is_refused(render):
    assert render("--kube-version=1.34.0").find("Deployment")
    with pytest.raises(ValueError, match=r"requires kubeVersion: >=1\.34\.0-0"):
        render("--kube-version=1.33.9")


def test_no_policy_calls_what_older_api_servers_lack(render):
    rendered = render(scopePolicy={"enabled": True}, sizePolicy={"enabled": True}, settings={"applications": True})
    policies = [one["spec"] for one in rendered.all("ValidatingAdmissionPolicy")]
    fields = ("expression", "messageExpression")

    assert len(policies) == 4
    for policy in policies:
        parts = [*policy["matchConditions"], *policy.get("variables", ()), *policy["validations"]]
        check_age([part[field] for part in parts for field in fields if field in part])


def test_the_policy_on_sizes_has_the_limits_of_what_the_operator_reads(render):
    rendered = render(sizePolicy={"enabled": True})
    (policy,) = rendered.all("ValidatingAdmissionPolicy")

    size, _, depth = policy["spec"]["validations"]
    assert size["expression"].endswith(f"<= {MAX_BYTES}")
    assert size["message"] == f"spec is larger than {MAX_BYTES // 1024} KiB"
    assert depth["expression"].count(".exists(") == MAX_DEPTH + 1
    assert depth["message"] == f"spec is nested more than {MAX_DEPTH} levels deep"


def test_credentials_that_exist_are_mounted_where_the_settings_say(render):
    for kind, files in (("jwk", {"jwk.json"}), ("certificate", {"chain.pem", "key.pem"})):
        keys = {"clientId": "id", "jwk": "the-jwk", "certificateChain": "the-chain", "privateKey": "the-key"}
        rendered = render(credentials={"kind": kind, "existingSecret": "mine", "keys": keys})

        variables = rendered.environment
        (volume,) = [one for one in rendered.pod()["spec"]["volumes"] if one["name"] == "credentials"]
        (mount,) = [one for one in rendered.container()["volumeMounts"] if one["name"] == "credentials"]
        assert variables[f"{ENV_PREFIX}ADMIN_CLIENT_ID"] == ("mine", "id")
        assert volume["secret"]["secretName"] == "mine"
        assert {one["path"] for one in volume["secret"]["items"]} == files
        assert {one["key"] for one in volume["secret"]["items"]} <= set(keys.values())
        named = {value for name, value in variables.items() if name.endswith("_FILE")}
        assert named == {f"{mount['mountPath']}/{file}" for file in files}
        assert mount["readOnly"]
        assert not rendered.all("Secret")


@pytest.mark.parametrize("values", [{"kind": "jwk", "jwk": JWK}, {"kind": "certificate", **PEM}], ids=["key", "x5c"])
def test_credentials_given_inline_become_a_secret(render, load, values):
    rendered = render(credentials={"existingSecret": "", "clientId": "some-id", **values})
    (secret,) = rendered.all("Secret")
    (volume,) = [one for one in rendered.pod()["spec"]["volumes"] if one["name"] == "credentials"]

    assert load(rendered.environment).admin_client_id == "some-id"
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    assert {one["key"] for one in volume["secret"]["items"]} == set(secret["data"])
    assert {base64.b64decode(one).decode() for one in secret["data"].values()} == set(values.values()) - {
        values["kind"]
    }


ARN = "arn:aws:kms:eu-north-1:123456789012:key/0f0b3a46-5f60-4bd0-a5a3-b9a6a4b4c1f2"


def test_a_key_that_another_holds_needs_no_file_and_no_secret(render, load):
    values = {"kind": "signer", "signer": ARN, "keyId": "some-kid", "clientId": "some-id", "existingSecret": ""}
    rendered = render(credentials=values)
    config = load(rendered.environment)

    assert (config.admin_signer, config.admin_key_id, config.admin_client_id) == (ARN, "some-kid", "some-id")
    assert {one["name"] for one in rendered.pod()["spec"]["volumes"]} == {"tmp"}
    assert [one["name"] for one in rendered.container()["volumeMounts"]] == ["tmp"]


def test_a_key_that_the_operator_renews_is_the_one_secret_that_it_may_write(render, load):
    rendered = render(settings={"adminKeyRotation": True}, credentials={"existingSecret": "mine"}, namespaces=["team"])
    role = rendered.find("Role", f"{NAME}-own-key")
    binding = rendered.find("RoleBinding", f"{NAME}-own-key")
    namespace = role["metadata"]["namespace"]

    assert load(rendered.environment).admin_key_secret == f"{namespace}/mine/jwk.json"
    assert [(rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in role["rules"]] == [
        (["secrets"], ["mine"], ["get", "patch"]),
        (["events"], None, ["create"]),
    ]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["metadata"]["namespace"] == namespace


def test_without_renewal_there_is_no_right_to_the_secret_of_the_credentials(render):
    assert not [one for one in render().all("Role") if one["metadata"]["name"].endswith("-own-key")]


def test_a_proxy_is_for_digdir_and_not_for_the_cluster(render):
    variables = render(proxy={"url": "http://proxy.example:8088"}).environment

    assert variables["HTTPS_PROXY"] == "http://proxy.example:8088"
    assert ".svc" in variables["NO_PROXY"].split(",")


def test_certificates_to_trust_are_a_file_of_the_map_or_secret(render):
    for values, source in (({"configMap": "ca"}, "configMap"), ({"secret": "ca"}, "secret")):
        rendered = render(caBundle={**values, "key": "root.pem"})
        (volume,) = [one for one in rendered.pod()["spec"]["volumes"] if one["name"] == "ca"]
        (mount,) = [one for one in rendered.container()["volumeMounts"] if one["name"] == "ca"]

        assert volume[source]["items"] == [{"key": "root.pem", "path": "ca.crt"}]
        assert rendered.environment[f"{ENV_PREFIX}CA_BUNDLE"] == f"{mount['mountPath']}/ca.crt"


@pytest.mark.parametrize("replicas", [1, 2])
def test_one_works_by_a_lease_that_it_may_write_by_name_and_a_new_one_waits_for_the_old(render, replicas):
    rendered = render(replicas=replicas)
    spec, variables = rendered.find("Deployment")["spec"], rendered.environment
    create, rest = rendered.find("Role", "maskinporten-operator-lease")["rules"]

    assert spec["replicas"] == replicas
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert variables[f"{ENV_PREFIX}LEADER_ELECTION"] == "true"
    assert create["verbs"] == ["create"]
    assert rest["resourceNames"] == [variables[f"{ENV_PREFIX}LEASE_NAME"]]
    assert "list" not in rest["verbs"]


def test_several_replicas_are_apart_from_each_other_and_a_drain_leaves_one(render):
    rendered = render(replicas=2)
    budget = rendered.find("PodDisruptionBudget")["spec"]

    assert (budget["minAvailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    (spread,) = rendered.pod()["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == rendered.find("Deployment")["spec"]["selector"]["matchLabels"]
    assert not render().all("PodDisruptionBudget")


CHILDREN = {MASKINPORTEN_CLIENT, *OWNED_KINDS}


def test_no_rule_has_a_wildcard_and_only_children_of_applications_are_deleted(render):
    children = {(kind.group, kind.plural) for kind in CHILDREN}
    for namespaces in ([], ["team"]):
        rendered = render(replicas=2, namespaces=namespaces, settings={"applications": True})
        roles = [*rendered.all("Role"), *rendered.all("ClusterRole")]
        own = [one for one in roles if not one["metadata"]["name"].endswith(("-view", "-edit"))]
        assert len(own) == 3
        for rule in [rule for role in own for rule in role["rules"]]:
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not {"deletecollection", "escalate", "bind", "impersonate"} & set(rule["verbs"])
            named = {(group, resource) for group in rule["apiGroups"] for resource in rule["resources"]}
            assert named <= children or "delete" not in rule["verbs"]


def find_verbs(rendered, kind):
    names = ("maskinporten-operator", "maskinporten-operator-applications")
    return {
        verb
        for role in [rendered.find("ClusterRole", name) for name in names]
        for rule in role["rules"]
        if kind.group in rule["apiGroups"] and kind.plural in rule["resources"]
        for verb in rule["verbs"]
    }


def test_every_child_of_an_application_may_be_made_and_deleted(render):
    settings = {"platform": "gcp", "serviceAccounts": True, "ingressClasses": ["*=a"], "ingressControllers": ["a=b"]}
    rendered = render(settings={"applications": True, **settings})
    for kind in CHILDREN:
        assert find_verbs(rendered, kind) == {"get", "list", "watch", "create", "patch", "delete"}, kind


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        ({"platform": "generic"}, {*WORKLOAD_KINDS, POD_MONITOR} - {SERVICE_ACCOUNT}),
        ({"podMonitors": False}, {*WORKLOAD_KINDS} - {SERVICE_ACCOUNT}),
        ({"ingressClasses": ["*=nginx"]}, {*WORKLOAD_KINDS, *EXPOSURE_KINDS} - {SERVICE_ACCOUNT}),
        ({"ingressClasses": ["*=nginx"], "workloads": False}, set()),
        ({"platform": "gcp", "egress": "none", "inbound": "none", "workloads": False}, set()),
        ({"platform": "gcp", "egress": "none", "workloads": False}, {NETWORK_POLICY}),
        ({"inbound": "networkpolicy", "workloads": False}, {NETWORK_POLICY}),
        ({"egress": "networkpolicy", "serviceAccounts": True}, {*WORKLOAD_KINDS, POD_MONITOR, NETWORK_POLICY}),
        ({"egress": "fqdn-gke", "workloads": False}, {NETWORK_POLICY, FQDN_POLICY, GKE_FQDN_POLICY}),
        ({"egress": "cilium", "serviceAccounts": True}, {*WORKLOAD_KINDS, POD_MONITOR, CILIUM_POLICY}),
    ],
)
def test_what_the_settings_let_nobody_make_may_be_deleted_only(render, settings, made):
    rendered = render(settings={"applications": True, **settings})
    for kind in CHILDREN - {MASKINPORTEN_CLIENT}:
        making = {"create", "patch"} if kind in made else set()
        if kind == NETWORK_POLICY and not made & {*POLICY_KINDS}:
            making = {"patch"}  # it is opened while the policy for host names goes
        assert find_verbs(rendered, kind) == {"get", "list", "watch", "delete"} | making, kind


def test_names_that_look_like_numbers_stay_texts(render):
    rendered = render(
        namespaces=["123", "1e3", "0x10"],
        credentials={"existingSecret": "0123", "keys": {"clientId": "1", "jwk": "2"}},
        serviceAccount={"name": "007"},
        priorityClassName="1e3",
        imagePullSecrets=["42"],
        caBundle={"secret": "1e3", "key": "3"},
        leaderElection={"leaseName": "1e3", "leaseNamespace": "12"},
    )
    pod = rendered.pod()["spec"]
    credentials, ca, _ = pod["volumes"]

    assert {one["metadata"]["namespace"] for one in rendered.all("Role")} == {"123", "1e3", "0x10", "12"}
    assert rendered.environment[f"{ENV_PREFIX}ADMIN_CLIENT_ID"] == ("0123", "1")
    assert (credentials["secret"]["secretName"], credentials["secret"]["items"][0]["key"]) == ("0123", "2")
    assert (ca["secret"]["secretName"], ca["secret"]["items"][0]["key"]) == ("1e3", "3")
    assert (pod["serviceAccountName"], pod["priorityClassName"]) == ("007", "1e3")
    assert pod["imagePullSecrets"] == [{"name": "42"}]
    assert rendered.find("Role", "maskinporten-operator-lease")["rules"][1]["resourceNames"] == ["1e3"]


def test_ports_of_other_addresses_are_opened_too(render):
    urls = {"digdirBaseUrl": "http://192.0.2.1:9999", "maskinportenWellKnownUrl": "http://maskinporten.example/.well"}
    rendered = render(networkPolicy={"enabled": True}, settings=urls)

    *_, digdir = rendered.find("NetworkPolicy")["spec"]["egress"]
    assert [one["port"] for one in digdir["ports"]] == [443, 9999, 80]


def test_large_numbers_among_the_simulators_settings_stay_whole(render):
    values = {"simulator": {"enabled": True, "settings": {"latency_ms": 1500000, "name": "a", "on": True}}}
    rendered = render(alone=True, **values)

    given = [one for one in rendered.container(f"{NAME}-simulator")["args"] if one.startswith("--set=")]
    assert given == ["--set=latency_ms=1500000", "--set=name=a", "--set=on=true"]


def test_every_role_is_bound_to_the_operators_own_account(render):
    for namespaces in ([], ["team-a", "team-b"]):
        rendered = render(replicas=2, namespaces=namespaces, settings={"applications": True})
        for kind in ("Role", "ClusterRole"):
            places = {(one["metadata"].get("namespace"), one["metadata"]["name"]) for one in rendered.all(kind)}
            bindings = rendered.all(f"{kind}Binding")
            bound = {(one["metadata"].get("namespace"), one["roleRef"]["name"]) for one in bindings}
            assert bound == {place for place in places if not place[1].endswith(("-view", "-edit"))}
            for binding in bindings:
                (subject,) = binding["subjects"]
                assert subject["name"] == rendered.pod()["spec"]["serviceAccountName"]


def test_for_a_list_of_namespaces_nothing_is_granted_elsewhere(render, load):
    rendered = render(namespaces=["team-a", "team-b"], rbac={"aggregate": False}, settings={"applications": True})

    assert load(rendered.environment).namespaces == ("team-a", "team-b")
    assert not [*rendered.all("ClusterRole"), *rendered.all("ClusterRoleBinding")]
    own = {(one["metadata"]["namespace"], one["metadata"]["name"].removeprefix(NAME)) for one in rendered.all("Role")}
    assert own == {(team, role) for team in ("team-a", "team-b") for role in ("", "-applications")} | {
        ("maskinporten-operator", "-lease")
    }


def test_teams_write_resources_and_never_their_status(render):
    rendered = render(settings={"applications": True})
    for name in ("maskinporten-operator-view", "maskinporten-operator-edit"):
        (rule,) = rendered.find("ClusterRole", name)["rules"]
        assert rule["resources"] == ["maskinportenclients", "applications"]
    assert rendered.find("ClusterRole", "maskinporten-operator-view")["rules"][0]["verbs"] == ["get", "list", "watch"]


def test_the_crd_of_applications_comes_with_applications_and_none_where_the_platform_has_its_own(render):
    names = lambda rendered: {one["metadata"]["name"] for one in rendered.all("CustomResourceDefinition")}  # noqa: E731

    assert names(render()) == {"maskinportenclients.nais.io"}
    assert names(render(settings={"applications": True})) == {"maskinportenclients.nais.io", "applications.nais.io"}
    assert names(render(crds={"install": False}, settings={"applications": True})) == set()


def test_a_crd_is_the_generated_one_and_is_kept(render):
    for crd in render(settings={"applications": True}).all("CustomResourceDefinition"):
        alone = yaml.safe_load((ROOT / "deploy" / "crds" / f"{crd['metadata']['name']}.yaml").read_text())

        assert crd["spec"] == alone["spec"]
        assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_a_network_policy_opens_dns_the_api_server_and_digdir_and_nothing_else(render):
    rendered = render(
        networkPolicy={"enabled": True, "digdir": {"cidrs": ["192.0.2.0/24"]}, "apiServer": {"cidrs": ["10.0.0.1/32"]}}
    )
    spec = rendered.find("NetworkPolicy")["spec"]
    dns, api_server, digdir = spec["egress"]

    assert {one["port"] for one in dns["ports"]} == {53}
    assert api_server["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    assert digdir == {"ports": [{"port": 443}], "to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}
    assert spec["podSelector"]["matchLabels"].items() <= rendered.pod()["metadata"]["labels"].items()


def test_behind_a_proxy_a_network_policy_opens_the_proxy_instead_of_digdir(render):
    for url, port in (
        ("http://proxy.example:8088", 8088),
        ("http://proxy.example", 80),
        ("https://proxy.example", 443),
    ):
        policy = render(networkPolicy={"enabled": True, "proxy": {"cidrs": ["192.0.2.9/32"]}}, proxy={"url": url}).find(
            "NetworkPolicy"
        )

        assert policy["spec"]["egress"][-1] == {
            "ports": [{"port": port}],
            "to": [{"ipBlock": {"cidr": "192.0.2.9/32"}}],
        }


def test_prometheus_finds_the_metrics_by_the_service(render):
    rendered = render(serviceMonitor={"enabled": True, "labels": {"release": "prometheus"}, "interval": "30s"})
    monitor, service = rendered.find("ServiceMonitor"), rendered.find("Service")

    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] in {one["name"] for one in service["spec"]["ports"]}
    assert service["spec"]["selector"].items() <= rendered.pod()["metadata"]["labels"].items()


def test_the_alerts_are_those_of_their_file(render):
    rule = render(prometheusRule={"enabled": True, "labels": {"release": "prometheus"}}).find("PrometheusRule")

    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"] == ALERTS
    assert not render().all("PrometheusRule")


def test_alerts_link_to_the_runbooks_where_the_docs_are_published(render):
    spec = render(prometheusRule={"enabled": True, "runbooks": "https://docs.example/a/"}).find("PrometheusRule")[
        "spec"
    ]
    links = [rule["annotations"]["runbook_url"] for group in spec["groups"] for rule in group["rules"]]

    assert links[0] == "https://docs.example/a/runbooks/no-leader/"
    assert all(link.startswith("https://docs.example/a/runbooks/") for link in links)


def test_grafanas_sidecar_finds_the_dashboard_as_it_was_generated(render):
    found = render(dashboard={"enabled": True}).find("ConfigMap", f"{NAME}-dashboard")

    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["maskinporten-operator.json"]) == json.loads(render_dashboard())
    assert not render().find("ConfigMap", f"{NAME}-dashboard")


def test_every_pod_is_restricted_with_a_root_that_it_cant_write_to(render):
    rendered = render(alone=True, simulator={"enabled": True, "persistence": {"enabled": True}})
    pods = [one["spec"]["template"]["spec"] for one in rendered.all("Deployment")]
    pods += [one["spec"] for one in rendered.all("Pod")]

    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(("seed", "scope"), [({}, "nav:some/other/scope"), ({"prefixes": ["ks"]}, None)])
def test_in_a_trial_what_only_exposes_scopes_gets_a_client_by_a_scope_that_the_simulator_knows(render, seed, scope):
    rendered = render(alone=True, simulator={"enabled": True, "seed": seed})

    assert rendered.environment.get(f"{ENV_PREFIX}DEFAULT_CLIENT_SCOPE") == scope


@pytest.mark.parametrize("user", ["", None])
def test_a_platform_that_chooses_users_is_left_to_it(render, user):
    rendered = render(alone=True, simulator={"enabled": True}, runAsUser=user)
    pods = [one["spec"]["template"]["spec"] for one in rendered.all("Deployment")]
    pods += [one["spec"] for one in rendered.all("Pod")]

    for pod in pods:
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_applications_have_no_user_where_the_platform_chooses_them(render):
    assert render(settings={"runAsUser": ""}).environment[f"{ENV_PREFIX}RUN_AS_USER"] == ""


def test_every_pod_runs_as_the_user_that_the_values_say(render):
    rendered = render(alone=True, simulator={"enabled": True}, runAsUser=1_000_660_000)
    pods = [one["spec"]["template"]["spec"] for one in rendered.all("Deployment")]

    for pod in pods:
        context = pod["securityContext"]
        assert {context[name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {1_000_660_000}


def test_a_slow_start_is_none_of_the_liveness_probe_s_concern(render):
    """It is looked at once the start-up probe has succeeded, for which there is more time than any start takes."""
    (container,) = render().pod()["spec"]["containers"]
    startup, liveness = container["startupProbe"], container["livenessProbe"]

    assert startup["httpGet"] == liveness["httpGet"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 180


def test_pods_are_placed_and_marked_as_the_values_say(render):
    values = {
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "imagePullSecrets": ["pull"],
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "platform"},
        "extraEnv": [{"name": "TZ", "value": "Europe/Oslo"}],
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        "commonLabels": {"owner": "us"},
        "image": {"repository": "registry.example:5000/mpo", "digest": f"sha256:{'0' * 64}"},
    }
    rendered = render(**values)
    pod = rendered.pod()

    for name in ("priorityClassName", "nodeSelector", "tolerations", "affinity"):
        assert pod["spec"][name] == values[name]
    assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["metadata"]["annotations"] == {"a": "b"}
    assert {"team": "platform", "owner": "us"}.items() <= pod["metadata"]["labels"].items()
    assert rendered.environment["TZ"] == "Europe/Oslo"
    assert {"name": "more", "emptyDir": {}} in pod["spec"]["volumes"]
    assert rendered.container()["image"] == f"registry.example:5000/mpo@sha256:{'0' * 64}"


def test_what_is_installed_without_helm_is_what_the_chart_renders(helm):
    assert (ROOT / INSTALL).read_text() == render_install(helm), "run `make generate`"


def test_helm_finds_no_fault_with_the_chart(helm):
    lint = [helm, "lint", CHART, "--strict", "--quiet", "--set=simulator.enabled=true", "--kube-version=1.37"]

    done = subprocess.run(lint, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("namespaces", [[], ["team-a"]], ids=["cluster-wide", "namespaced"])
@pytest.mark.parametrize("pods", [True, False])
def test_the_right_to_list_pods_and_nothing_else_of_them_can_be_left_out(render, namespaces, pods):
    rendered = render(namespaces=namespaces, rbac={"pods": pods})

    roles = [*rendered.all("ClusterRole"), *rendered.all("Role")]
    rules = [rule for role in roles for rule in role["rules"] if "pods" in rule["resources"]]
    assert [rule["verbs"] for rule in rules] == ([["list"]] if pods else [])
