import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from maskinporten_operator.config import ENV_PREFIX, Config, ConfigError, load_config
from tools.generate.__main__ import ROOT

INSTALL = ROOT / "deploy" / "manifests" / "install.yaml"


def read(kind, name="maskinporten-operator"):
    documents = list(yaml.safe_load_all(INSTALL.read_text()))
    (document,) = (one for one in documents if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return document


DEPLOYMENT_MANIFEST = read("Deployment")
POD = DEPLOYMENT_MANIFEST["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """The container's environment, with the admin's Secret in a file of this test's, and a name for the cluster."""
    key = tmp_path / "jwk.json"
    key.write_text(json.dumps({"kty": "RSA"}))
    variables = {one["name"]: one.get("value", "some-id") for one in CONTAINER["env"]}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(key) if name.endswith("_FILE") else value)
    monkeypatch.setenv(f"{ENV_PREFIX}CLUSTER_NAME", "some-cluster")
    return variables


def test_the_name_of_the_cluster_must_be_set_before_it_starts(environment, monkeypatch):
    monkeypatch.setenv(f"{ENV_PREFIX}CLUSTER_NAME", environment[f"{ENV_PREFIX}CLUSTER_NAME"])

    with pytest.raises(ConfigError, match=r"CLUSTER_NAME \(or --cluster-name\) is missing: "):
        load_config()


def test_the_environment_is_a_complete_configuration(environment):
    config = load_config()

    assert str(config.digdir_base_url) == "https://api.test.samarbeid.digdir.no/api/v1"
    assert config.maskinporten_well_known_url.host == "test.maskinporten.no"


def test_every_variable_is_a_setting(environment):
    assert {name.removeprefix(ENV_PREFIX).lower() for name in environment} <= set(Config.model_fields)


def test_the_key_file_is_where_the_secret_is_mounted(environment):
    (mount,) = (one for one in CONTAINER["volumeMounts"] if one["name"] == "credentials")

    assert Path(environment[f"{ENV_PREFIX}ADMIN_JWK_FILE"]).parent == Path(mount["mountPath"])
    assert mount["readOnly"]


def test_the_probes_and_the_metrics_are_where_the_operator_serves_them():
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}

    assert Config.model_fields["health_address"].default.endswith(f":{ports['health']}")
    assert Config.model_fields["metrics_address"].default.endswith(f":{ports['metrics']}")


def test_the_image_is_of_this_version():
    assert CONTAINER["image"] == f"maskinporten-operator:{version('maskinporten-operator')}"


def test_a_new_pod_works_by_the_same_lease_as_the_old_one_and_may_write_it(environment):
    name = environment[f"{ENV_PREFIX}LEASE_NAME"]

    assert environment[f"{ENV_PREFIX}LEADER_ELECTION"] == "true"
    assert environment[f"{ENV_PREFIX}LEASE_NAMESPACE"] == DEPLOYMENT_MANIFEST["metadata"]["namespace"]
    assert DEPLOYMENT_MANIFEST["spec"]["strategy"]["type"] == "RollingUpdate"
    assert [rule.get("resourceNames") for rule in read("Role", f"{name}-lease")["rules"]] == [None, [name]]


def test_no_rule_has_a_wildcard_or_deletes():
    for rule in read("ClusterRole")["rules"]:
        assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not {"delete", "deletecollection", "escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_the_role_is_bound_to_the_operators_own_account():
    assert read("ClusterRoleBinding")["roleRef"]["name"] == read("ClusterRole")["metadata"]["name"]
    assert read("ClusterRoleBinding")["subjects"] == [
        {
            "kind": "ServiceAccount",
            "name": POD["serviceAccountName"],
            "namespace": DEPLOYMENT_MANIFEST["metadata"]["namespace"],
        }
    ]


def test_nothing_says_that_helm_manages_it():
    assert "helm" not in re.sub("#.*", "", INSTALL.read_text()).lower()
