import json
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from maskinporten_operator.config import ENV_PREFIX, Config, load_config
from maskinporten_operator.model.resources import DEPLOYMENT, MASKINPORTEN_CLIENT, SERVICE
from maskinporten_operator.plan.egress import POLICY_KINDS
from tools.generate.__main__ import ROOT

MANIFESTS = ROOT / "deploy" / "manifests"


def read(kind, pattern="*.yaml"):
    documents = [document for path in MANIFESTS.glob(pattern) for document in yaml.safe_load_all(path.read_text())]
    (document,) = (document for document in documents if document["kind"] == kind)
    return document


DEPLOYMENT_MANIFEST = read("Deployment")
POD = DEPLOYMENT_MANIFEST["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """The container's environment, with the admin's Secret in a file of this test's."""
    key = tmp_path / "jwk.json"
    key.write_text(json.dumps({"kty": "RSA"}))
    variables = read("ConfigMap")["data"] | {one["name"]: one.get("value", "some-id") for one in CONTAINER["env"]}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(key) if name.endswith("_FILE") else value)
    return variables


def test_the_environment_is_a_complete_configuration(environment):
    config = load_config()

    assert str(config.digdir_base_url) == "https://api.test.samarbeid.digdir.no/api/v1"
    assert config.maskinporten_well_known_url.host == "test.maskinporten.no"


def test_every_variable_is_a_setting(environment):
    assert {name.removeprefix(ENV_PREFIX).lower() for name in environment} <= set(Config.model_fields)


def test_the_key_file_is_where_the_secret_is_mounted(environment):
    (mount,) = (one for one in CONTAINER["volumeMounts"] if one["name"] == "admin")

    assert Path(environment[f"{ENV_PREFIX}ADMIN_JWK_FILE"]).parent == Path(mount["mountPath"])
    assert mount["readOnly"]


def test_the_probes_and_the_metrics_are_where_the_operator_serves_them():
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}

    assert Config.model_fields["health_address"].default.endswith(f":{ports['health']}")
    assert Config.model_fields["metrics_address"].default.endswith(f":{ports['metrics']}")


def test_the_image_is_of_this_version():
    assert CONTAINER["image"] == f"maskinporten-operator:{version('maskinporten-operator')}"


def test_never_do_two_operators_run_side_by_side():
    assert DEPLOYMENT_MANIFEST["spec"]["replicas"] == 1
    assert DEPLOYMENT_MANIFEST["spec"]["strategy"] == {"type": "Recreate"}


def test_no_rule_has_a_wildcard_or_deletes():
    for rule in read("ClusterRole", "rbac.yaml")["rules"]:
        assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not {"delete", "deletecollection", "escalate", "bind", "impersonate"} & set(rule["verbs"])


CHILDREN = {MASKINPORTEN_CLIENT, DEPLOYMENT, SERVICE, *POLICY_KINDS}


def test_no_rule_for_applications_has_a_wildcard_and_only_their_children_are_deleted():
    children = {(kind.group, kind.plural) for kind in CHILDREN}
    for rule in read("ClusterRole", "rbac-applications.yaml")["rules"]:
        assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not {"deletecollection", "escalate", "bind", "impersonate"} & set(rule["verbs"])
        named = {(group, resource) for group in rule["apiGroups"] for resource in rule["resources"]}
        assert named <= children or "delete" not in rule["verbs"]


def test_every_child_of_an_application_may_be_made_and_deleted():
    rules = [rule for path in ("rbac.yaml", "rbac-applications.yaml") for rule in read("ClusterRole", path)["rules"]]
    for kind in CHILDREN:
        verbs = {
            verb
            for rule in rules
            if kind.group in rule["apiGroups"] and kind.plural in rule["resources"]
            for verb in rule["verbs"]
        }
        assert verbs == {"get", "list", "watch", "create", "patch", "delete"}, kind


def test_the_lease_is_the_only_one_that_may_be_read_or_changed():
    role = read("Role", "rbac-leader-election.yaml")
    by_verbs = {tuple(rule["verbs"]): rule for rule in role["rules"]}

    assert role["metadata"]["namespace"] == DEPLOYMENT_MANIFEST["metadata"]["namespace"]
    assert by_verbs.keys() == {("get", "update"), ("create",)}
    assert by_verbs["get", "update"]["resourceNames"] == [Config.model_fields["lease_name"].default]
    assert all(rule["resources"] == ["leases"] for rule in role["rules"])


def test_both_roles_are_bound_to_the_operators_own_account():
    for path in ("rbac.yaml", "rbac-applications.yaml"):
        binding = read("ClusterRoleBinding", path)

        assert binding["roleRef"]["name"] == read("ClusterRole", path)["metadata"]["name"]
        assert binding["subjects"] == [
            {
                "kind": "ServiceAccount",
                "name": POD["serviceAccountName"],
                "namespace": DEPLOYMENT_MANIFEST["metadata"]["namespace"],
            }
        ]
