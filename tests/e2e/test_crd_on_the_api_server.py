import itertools
import json
import ssl

import httpx
import pytest
import yaml

from maskinporten_operator.model.maskinportenclient import parse
from maskinporten_operator.model.resources import (
    APPLICATION,
    DEPLOYMENT,
    MASKINPORTEN_CLIENT,
    InvalidSpec,
)
from maskinporten_operator.plan.children import OWNED_KINDS
from tests.specs import ACCEPTED, EVERY_FIELD, MAX_EXPOSED, REFUSED, consuming, exposed, exposing
from tools.cluster import ControlPlaneError
from tools.generate.__main__ import ROOT
from tools.install import VALUES, ensure_namespace, install
from tools.kube import KubeClient, wait_for

pytestmark = pytest.mark.e2e

NAMESPACE = "crd-tests"
INSTALL = ROOT / "deploy" / "manifests" / "install.yaml"
OPERATOR = "maskinporten-operator"
PLURAL = MASKINPORTEN_CLIENT.plural
GROUPS = {kind.plural: kind.group for kind in (MASKINPORTEN_CLIENT, APPLICATION, *OWNED_KINDS)}

LARGEST_SCOPES = [
    [exposed(f"{'a' * 150}{i:04}", "p" * 100) for i in range(MAX_EXPOSED)],
    [exposed(f"{'æ' * 150}{i:04}", "p" * 100, separator=":") for i in range(MAX_EXPOSED)],
    [
        exposed(
            f"{'ø/' * 75}{i:04}",
            "p" * 100,
            delegationSource="altinn",
            allowedIntegrations=["krr"] * 9 + ["maskinporten"],
            consumers=[{"orgno": "123456789", "name": "å" * 20}] * 5,
        )
        for i in range(MAX_EXPOSED)
    ],
    [exposed(f"s{i:04}") for i in range(MAX_EXPOSED)],
    [exposed("a" * 150)] * MAX_EXPOSED,
]


def manifest(spec, name="some-app"):
    return {
        "apiVersion": MASKINPORTEN_CLIENT.api_version,
        "kind": MASKINPORTEN_CLIENT.name,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


@pytest.fixture(scope="module", autouse=True)
def _namespace(cluster):
    cluster.kubectl("create", "namespace", NAMESPACE)


@pytest.fixture(scope="module")
def kube(cluster):
    with KubeClient(cluster.admin_kubeconfig) as kube:
        yield kube


@pytest.fixture(scope="module")
def post(cluster):
    """Ask the API server, over one connection, what it would say to a new resource."""
    kubeconfig = yaml.safe_load(cluster.admin_kubeconfig.read_text())
    admin = kubeconfig["users"][0]["user"]
    context = ssl.create_default_context(cafile=kubeconfig["clusters"][0]["cluster"]["certificate-authority"])
    context.load_cert_chain(admin["client-certificate"], admin["client-key"])

    with httpx.Client(base_url=cluster.server, verify=context, trust_env=False, timeout=30.0) as client:

        def send(spec):
            return client.post(MASKINPORTEN_CLIENT.path(NAMESPACE), params={"dryRun": "All"}, json=manifest(spec))

        yield send


@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_a_manifest_with_every_field_applies_unchanged(cluster, how):
    name = f"every-field{'-'.join(how)}"
    written = yaml.safe_dump(manifest(EVERY_FIELD, name))
    apply = ["apply", *how, "--validate=strict", "--warnings-as-errors", "-f=-"]

    cluster.kubectl(*apply, stdin=written)
    cluster.kubectl(*apply, stdin=written)  # the first write after the creation stores the status that the CRD gives
    stored = json.loads(cluster.kubectl("get", PLURAL, name, f"-n={NAMESPACE}", "-o=json"))
    cluster.kubectl(*apply, stdin=written)
    again = json.loads(cluster.kubectl("get", PLURAL, name, f"-n={NAMESPACE}", "-o=json"))

    assert stored["spec"] == EVERY_FIELD
    assert again["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED)
def test_the_api_server_accepts_and_adds_nothing(post, spec):
    answer = post(spec)

    assert answer.status_code == 201, answer.text
    assert answer.json()["spec"] == spec


@pytest.mark.parametrize(("spec", "fault"), REFUSED.values(), ids=REFUSED)
def test_the_api_server_refuses_and_says_where(post, spec, fault):
    answer = post(spec)

    assert answer.status_code == 422
    assert fault in answer.json()["message"]


@pytest.mark.parametrize(
    "scopes", LARGEST_SCOPES, ids=["ASCII", "two bytes a letter", "every rule applies", "short names", "one name"]
)
def test_a_full_list_with_the_longest_names_is_within_the_budget_for_rules(post, scopes):
    answer = post(exposing(*scopes))

    assert answer.status_code == 201, answer.json()["message"][:500]


def test_one_more_is_too_many_and_not_too_costly(post):
    answer = post(exposing(*LARGEST_SCOPES[0], exposed("one.more")))

    assert answer.status_code == 422
    assert f"must have at most {MAX_EXPOSED} items" in answer.json()["message"]
    assert "cost" not in answer.json()["message"]


def test_the_model_agrees_with_the_api_server_on_every_combination_of_names_and_separators(post):
    names = ["ab", "a", "a:b", "a:bc", "ab/cd", "ab.cd", "a.b", "a/:bc", "ab/", "ab/cd:ef", "æøå", "AB", "a b", "ab\n"]
    for name, product, separator, source in itertools.product(
        names, ["p", "arbeid", "æ"], [None, "/", ":", "."], [None, "altinn"]
    ):
        fields = {"separator": separator, "delegationSource": source}
        spec = exposing(exposed(name, product, **{key: value for key, value in fields.items() if value}))
        body = manifest(spec)
        body["metadata"] |= {"uid": "b9d2", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}

        accepted = post(spec).status_code == 201

        assert accepted != isinstance(parse(body).spec, InvalidSpec), (name, product, separator, source)


RULES_OF_CONSUMED = (
    "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/scopes/properties/consumes/items"
    "/x-kubernetes-validations"
)


@pytest.fixture
def older(cluster, post):
    """A resource from before the rule about scopes that can't be consumed, which the API server has by now."""
    crd = f"customresourcedefinition/{PLURAL}.{MASKINPORTEN_CLIENT.group}"
    (version,) = json.loads(cluster.kubectl("get", crd, "-o=json"))["spec"]["versions"]
    consumes = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["scopes"]["properties"]
    rules = consumes["consumes"]["items"]["x-kubernetes-validations"]
    spec = consuming("skatt:inntekt", "idporten:dcr.write")

    def patch(operation, code):
        cluster.kubectl("patch", crd, "--type=json", f"-p={json.dumps([{'path': RULES_OF_CONSUMED, **operation}])}")
        wait_for(lambda: post(spec).status_code == code, 30, f"answer {code}")

    patch({"op": "remove"}, 201)
    try:
        cluster.kubectl("apply", "-f=-", stdin=yaml.safe_dump(manifest(spec, "older")))
    finally:
        patch({"op": "add", "value": rules}, 422)
    return "older"


def test_a_resource_that_is_older_than_a_rule_can_have_its_status_written_and_be_deleted(cluster, older):
    def patch(what, *more):
        cluster.kubectl("patch", PLURAL, older, f"-n={NAMESPACE}", "--type=merge", f"-p={json.dumps(what)}", *more)

    patch({"metadata": {"finalizers": ["example.com/held"], "annotations": {"example.com/a": "b"}}})
    patch({"spec": {"clientName": "Another name"}})
    patch({"status": {"clientID": "1f6e0f0a"}}, "--subresource=status")
    with pytest.raises(ControlPlaneError, match="can't be consumed"):
        patch({"spec": {"scopes": {"consumes": [{"name": "idporten:dcr.write"}]}}})
    cluster.kubectl("delete", PLURAL, older, f"-n={NAMESPACE}", "--wait=false")
    patch({"metadata": {"finalizers": None}})

    assert cluster.kubectl("get", PLURAL, f"-n={NAMESPACE}", f"--field-selector=metadata.name={older}", "-o=name") == ""


def test_a_field_written_as_null_is_the_same_as_one_left_out(post):
    answer = post({"secretName": "some-secret", "clientName": None, "scopes": {"exposes": [exposed(separator=None)]}})

    assert answer.status_code == 201
    assert answer.json()["spec"] == {"secretName": "some-secret", "scopes": {"exposes": [exposed()]}}


def test_an_unknown_field_is_dropped_and_strict_validation_names_it(cluster, post):
    spec = {"secretName": "some-secret", "secretname": "a slip of the shift key"}

    assert post(spec).json()["spec"] == {"secretName": "some-secret"}
    with pytest.raises(ControlPlaneError, match=r'unknown field "spec\.secretname"'):
        cluster.kubectl("apply", "--validate=strict", "-f=-", stdin=yaml.safe_dump(manifest(spec)))


def test_the_columns_show_the_secret_the_client_and_how_it_stands(cluster):
    cluster.kubectl("apply", "-f=-", stdin=yaml.safe_dump(manifest(EVERY_FIELD, "shown")))
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Synchronized",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }
    status = {"status": {"clientID": "1f6e0f0a", "conditions": [condition]}}
    cluster.kubectl(
        "patch", PLURAL, "shown", f"-n={NAMESPACE}", "--subresource=status", "--type=merge", f"-p={json.dumps(status)}"
    )

    for name in (PLURAL, MASKINPORTEN_CLIENT.name.lower(), "nais"):
        header, row = cluster.kubectl("get", name, f"-n={NAMESPACE}", "--field-selector=metadata.name=shown").split(
            "\n"
        )[:2]

        assert header.split() == ["NAME", "SECRET", "CLIENT", "ID", "READY", "REASON", "AGE"]
        assert row.split()[1:5] == [EVERY_FIELD["secretName"], "1f6e0f0a", "True", "Synchronized"]


def test_a_condition_type_occurs_once(cluster):
    cluster.kubectl("apply", "-f=-", stdin=yaml.safe_dump(manifest(EVERY_FIELD, "twice")))
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Synchronized",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = json.dumps({"status": {"conditions": [condition, condition]}})

    with pytest.raises(ControlPlaneError, match="Duplicate value"):
        cluster.kubectl(
            "patch", PLURAL, "twice", f"-n={NAMESPACE}", "--subresource=status", "--type=merge", f"-p={status}"
        )


def test_what_is_installed_without_helm_applies_without_a_warning(cluster):
    other = "installed-without-helm"  # beside the release, which has objects of the same names
    ensure_namespace(cluster, other)
    manifests = INSTALL.read_text().replace(OPERATOR, other)

    apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"]
    cluster.kubectl(*apply, "--warnings-as-errors", "-f=-", stdin=manifests)


def may(kube, verb, resource, subresource=""):
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{OPERATOR}:{OPERATOR}",
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{OPERATOR}", "system:authenticated"],
            "resourceAttributes": {
                "verb": verb,
                "group": GROUPS.get(resource, ""),
                "resource": resource,
                "subresource": subresource,
                "namespace": NAMESPACE,
            },
        },
    }
    return kube.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]


def rights(kube, resource):
    kind, _, subresource = resource.partition("/")
    every = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
    return {verb for verb in every if may(kube, verb, kind, subresource)}


MAKES_AND_DELETES = {"get", "list", "watch", "create", "patch", "delete"}


@pytest.mark.parametrize(
    ("resource", "verbs"),
    [
        (APPLICATION.plural, {"get", "list", "watch"}),
        (f"{APPLICATION.plural}/status", {"patch"}),
        (f"{APPLICATION.plural}/finalizers", {"update"}),
        (PLURAL, MAKES_AND_DELETES),
        *((kind.plural, MAKES_AND_DELETES) for kind in OWNED_KINDS),
        ("secrets", {"get", "list", "watch", "create", "patch"}),
        ("pods", {"list"}),
        ("configmaps", set()),
    ],
)
def test_for_applications_the_operator_may_do_what_they_need_and_no_more(kube, resource, verbs):
    assert rights(kube, resource) == verbs


@pytest.fixture(scope="module")
def without_applications(cluster, kube):
    """The rights of an operator that leaves Applications to somebody else; the API server takes a moment to see."""
    install(cluster, {**VALUES, "settings": {"clusterName": "test"}})
    wait_for(lambda: not may(kube, "create", PLURAL), 30, "the end of the rights for Applications")
    yield
    install(cluster)
    wait_for(lambda: may(kube, "create", PLURAL), 30, "the rights for Applications")


@pytest.mark.parametrize(
    ("resource", "verbs"),
    [
        (PLURAL, {"get", "list", "watch", "patch"}),
        (f"{PLURAL}/status", {"patch"}),
        (f"{PLURAL}/finalizers", {"update"}),
        ("secrets", {"get", "list", "watch", "create", "patch"}),
        ("namespaces", {"get", "list", "watch"}),
        ("events", {"create"}),
        (APPLICATION.plural, set()),
        (DEPLOYMENT.plural, set()),
        ("pods", {"list"}),
        ("configmaps", set()),
    ],
)
def test_the_operator_may_do_what_it_does_and_no_more(kube, without_applications, resource, verbs):
    assert rights(kube, resource) == verbs
