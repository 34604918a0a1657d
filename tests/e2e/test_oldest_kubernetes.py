"""On the oldest Kubernetes that the chart takes, as far as a newer one can emulate it.

Of CEL it can't: it knows all that came up to the version that it emulates, of which a server of that version takes the
last part in no new rule. What rules call is held against the ages of CEL's libraries by tests/cel.py.
"""

import json
import re

import httpx
import pytest
import yaml

from maskinporten_operator.model.resources import APPLICATION, DEPLOYMENT, MASKINPORTEN_CLIENT
from tests.e2e.applications import Applications
from tests.e2e.conftest import AUDIT_POLICY
from tests.e2e.stage import PATIENCE, SCOPE, exposed
from tools.cluster import Cluster
from tools.generate.__main__ import ROOT
from tools.generate.chart import CHART
from tools.install import VALUES, install
from tools.kube import is_ready, wait_for

pytestmark = pytest.mark.e2e

OLDEST = re.fullmatch(r">=(1\.\d+)\.0-0", yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"])[1]
EXAMPLES = ROOT / "deploy" / "examples"
TEAM = "my-team"
SETTINGS = {"applications": "true", "platform": "gcp", "egress": "networkpolicy"}
TWICE = {
    "consumes": [{"name": SCOPE}] * 2,
    "exposes": [exposed("twice.read", atMaxAge=30), exposed("twice.read", separator=":", atMaxAge=60)],
}


@pytest.fixture(scope="module")
def cluster():
    with Cluster.create(name="mpo-oldest", audit_policy=AUDIT_POLICY, emulated_version=OLDEST) as cluster:
        install(cluster, {**VALUES, "scopePolicy": {"enabled": True, "rules": [ALLOWED]}})
        yield cluster


ALLOWED = {"namespaceLabels": {}, "consumes": ["skatt:*", "nav:some/*"], "exposes": ["arbeid:*"]}


@pytest.fixture(scope="module")
def apps(running):
    running.kube.create_namespace(TEAM)
    return Applications(running, TEAM)


def test_it_behaves_like_the_oldest(cluster):
    version = json.loads(cluster.kubectl("get", "--raw=/version"))

    assert f"{version['emulationMajor']}.{version['emulationMinor']}" == OLDEST


@pytest.mark.parametrize("example", sorted(EXAMPLES.iterdir()), ids=lambda path: path.stem)
def test_an_example_becomes_ready(cluster, apps, example):
    manifest = yaml.safe_load(example.read_text())
    kind = next(one for one in (APPLICATION, MASKINPORTEN_CLIENT) if one.name == manifest["kind"])
    if kind == MASKINPORTEN_CLIENT:  # it has the name of an Application's
        manifest["metadata"]["name"] = "my-client"

    cluster.kubectl("apply", "--validate=strict", "--warnings-as-errors", "-f=-", stdin=json.dumps(manifest))

    name = manifest["metadata"]["name"]
    apps.wait(lambda: is_ready(apps.find(kind, name)), f"Ready of {name}")
    assert (apps.find(DEPLOYMENT, name) is not None) == (kind == APPLICATION)


@pytest.mark.parametrize("kind", [APPLICATION, MASKINPORTEN_CLIENT], ids=lambda kind: kind.plural)
def test_a_scope_that_is_written_twice_counts_and_is_named(running, apps, kind):
    name, scopes = f"twice-{kind.plural}", json.loads(json.dumps(TWICE).replace("twice.read", f"{kind.plural}.read"))
    if kind == APPLICATION:
        apps.create(name, maskinporten={"enabled": True, "scopes": scopes})
        apps.wait(lambda: apps.find(DEPLOYMENT, name), "the Deployment")
    else:
        running.create(TEAM, name, spec={"scopes": scopes})

    apps.wait(lambda: is_ready(apps.find(kind, name)), f"Ready of {name}")

    assert running.registration(TEAM, name)["scopes"] == [SCOPE]
    assert running.scope(f"nav:arbeid:{kind.plural}.read")["at_max_age"] == 60
    for one in {kind, MASKINPORTEN_CLIENT}:
        conditions = {each["type"]: each for each in apps.find(one, name)["status"]["conditions"]}
        assert (conditions["ScopesUnique"]["status"], conditions["ScopesUnique"]["reason"]) == (
            "False",
            "DuplicateScopes",
        )
        assert SCOPE in conditions["ScopesUnique"]["message"]


def test_the_policy_on_scopes_is_in_force(running, apps):
    def is_refused():
        try:
            running.kube.create_client(
                TEAM, "refused", {"secretName": "x", "scopes": {"consumes": [{"name": "krr:a"}]}}
            )
        except httpx.HTTPStatusError as error:
            return "may not use krr:a" in error.response.json()["message"]
        running.kube.request("DELETE", MASKINPORTEN_CLIENT.path(TEAM, "refused"))
        return False

    wait_for(is_refused, PATIENCE, "the policy's refusal")
