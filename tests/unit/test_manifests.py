import json
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from maskinporten_operator.config import ENV_PREFIX, Config, load_config
from tools.generate.__main__ import ROOT

MANIFESTS = ROOT / "deploy" / "manifests"


def read(kind):
    documents = [document for path in MANIFESTS.glob("*.yaml") for document in yaml.safe_load_all(path.read_text())]
    (document,) = (document for document in documents if document["kind"] == kind)
    return document


DEPLOYMENT = read("Deployment")
POD = DEPLOYMENT["spec"]["template"]["spec"]
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
    assert DEPLOYMENT["spec"]["replicas"] == 1
    assert DEPLOYMENT["spec"]["strategy"] == {"type": "Recreate"}


def test_no_rule_has_a_wildcard_or_deletes():
    for rule in read("ClusterRole")["rules"]:
        assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not {"delete", "deletecollection", "escalate", "bind", "impersonate"} & set(rule["verbs"])
