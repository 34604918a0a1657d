"""What a team with Kubernetes' ordinary role `edit` tries in its own namespace has no effect outside it.

Each attempt is made with the tenant's credentials, and ends as its table says: refused by the API server, or with a
reason of the condition Ready. Then all that isn't the tenant's is compared with what it was before the first: others'
resources, Secrets, workloads, policies and rights in the cluster, their clients, keys, scopes and accesses at DigDir.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from maskinporten_operator.model.maskinportenclient import DIGDIRATOR_FINALIZERS, FINALIZER
from maskinporten_operator.model.resources import (
    APPLICATION,
    DEPLOYMENT,
    MASKINPORTEN_CLIENT,
    NAMESPACE,
    NETWORK_POLICY,
    SECRET,
    SERVICE,
    Kind,
)
from maskinporten_operator.plan.owner_references import MANAGED_BY, MANAGED_BY_LABEL
from tests.e2e.keys import edit, private_jwk
from tests.e2e.stage import NUMBERS, PATIENCE, SCOPE, exposed
from tests.e2e.tenants import (
    BINDINGS,
    CLUSTER_BINDINGS,
    GUARDED,
    MERGE_PATCH,
    ROLES,
    SERVICE_ACCOUNTS,
    SKATT,
    TENANT,
    VICTIM,
    Tenant,
    Victim,
    compare,
)
from tools.kube import credentials, wait_for
from tools.stack import NAMESPACE as OPERATORS
from tools.stack import SERVICE_ACCOUNT

pytestmark = pytest.mark.e2e

SETTINGS = {
    "applications": "true",
    "platform": "gcp",
    "egress": "networkpolicy",
    "maskinporten_hosts": "test.maskinporten.no",
    "key_pool_size": "32",
}
FOREIGN = {"generate_clients": 5, "generate_scopes": 5}
LEASES = Kind("coordination.k8s.io/v1", "Lease", "leases")
CRDS = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
MARKER = "injected"
"""Stands in what is tried to get into logs, metrics, paths and headers."""
INJECTIONS = {
    "new lines": f"a\r\nX-{MARKER}: 1\r\n\r\n",
    "an escape sequence": f"\x1b[31m{MARKER}\x1b[0m",
    "percent-encoded slashes": f"..%2F..%2Fclients%2F{MARKER}",
    "a path": f"../../clients/{MARKER}",
    "a query": f"a?scope={GUARDED}&x={MARKER}#y",
    "a text that turns around": f"\u202e{MARKER}",
    "10,000 characters": MARKER + "a" * 10_000,
}


@dataclass
class Attempt:
    """An attempt under way: what it makes has this name."""

    name: str
    tenant: Tenant
    victim: Victim
    stage: Any

    def wait_for(self, reason, kind=MASKINPORTEN_CLIENT):
        """Wait until Ready has a reason at the present generation; give the resource."""
        found = None

        def look():
            nonlocal found
            found = self.tenant.find(kind, self.name)
            return found and find_reason(found) == reason

        try:
            wait_for(look, PATIENCE, reason)
        except TimeoutError as error:
            raise AssertionError(f"{error}: {json.dumps((found or {}).get('status'), indent=1)}") from None
        return found

    def create_ready(self, **more):
        """Create a MaskinportenClient of the tenant's own, and give it when it is Ready."""
        self.tenant.create_client(self.name, **more)
        return self.wait_for("Synchronized")

    def patch_secret(self, values):
        """Write into the Secret that the tenant was given."""
        data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
        self.tenant.patch(SECRET, f"{self.name}-secret", {"data": data})

    def read_secret(self):
        """Give what is in it."""
        found = self.tenant.find(SECRET, f"{self.name}-secret")
        return credentials({"data": {}, **found}) if found else {}


def find_reason(resource):
    generation = resource["metadata"]["generation"]
    conditions = resource.get("status", {}).get("conditions", [])
    return next(
        (one["reason"] for one in conditions if (one["type"], one["observedGeneration"]) == ("Ready", generation)), None
    )


@pytest.fixture(scope="module")
def tenant(running):
    """The tenant, of whom nothing is left afterwards."""
    tenant = Tenant(running)
    with tenant.kube:
        yield tenant
    remove_applications(running, TENANT)


@pytest.fixture(scope="module")
def victim(running):
    """The other team, whose things have come to rest, and of whom nothing is left afterwards."""
    victim = Victim(running)
    yield victim
    remove_applications(running, VICTIM)
    running.kube.request("DELETE", SECRET.path(OPERATORS, "maskinporten-operator-admin"))


def remove_applications(stage, namespace):
    path = APPLICATION.path(namespace)
    stage.kube.request("DELETE", path)
    wait_for(lambda: not stage.kube.request("GET", path)["items"], PATIENCE, "the end of all Applications")


@pytest.fixture
def refused(running, tenant, victim):
    """An attempt that doesn't get as far as to the operator; what follows shows that it had no effect."""
    return Attempt(f"try-{next(NUMBERS)}", tenant, victim, running)


@pytest.fixture
def attempt(running, refused, victim):
    """An attempt, with the proof that nobody else's things are other than they were at the beginning."""
    claimed = len(running.operator.output())
    yield refused
    wait_for(lambda: is_idle(running.operator), PATIENCE, "an idle operator")
    assert compare(victim.unharmed, victim.snapshot()) == {}
    assert all(isinstance(json.loads(line), dict) for line in running.operator.output()[claimed:].splitlines())
    assert MARKER not in running.operator.metrics()
    assert running.operator.running


def is_idle(operator):
    """Whether no resource waits for a pass, and none is under way."""
    return not any(operator.metric(f"maskinporten_operator_{name}") for name in ("queue_depth", "active_workers"))


# Rights

ASKED_FOR = {"metadata": {"annotations": {"digdir.nais.io/delete": "true"}}}
AS_CLUSTER_ADMIN = {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"}
FORBIDDEN = {
    "reading the other team's Secret": ("GET", SECRET.path(VICTIM, "api-secret")),
    "listing everybody's Secrets": ("GET", SECRET.path()),
    "reading the operator's own credentials": ("GET", SECRET.path(OPERATORS, "maskinporten-operator-admin")),
    "writing the operator's own credentials": ("PATCH", SECRET.path(OPERATORS, "maskinporten-operator-admin"), {}),
    "reading the other team's client": ("GET", MASKINPORTEN_CLIENT.path(VICTIM, "api")),
    "listing everybody's clients": ("GET", MASKINPORTEN_CLIENT.path()),
    "listing everybody's Applications": ("GET", APPLICATION.path()),
    "asking for the deletion of the other team's client": ("PATCH", MASKINPORTEN_CLIENT.path(VICTIM, "api"), ASKED_FOR),
    "deleting the other team's client": ("DELETE", MASKINPORTEN_CLIENT.path(VICTIM, "api")),
    "deleting the other team's Application": ("DELETE", APPLICATION.path(VICTIM, "shop")),
    "making a client in the other team's namespace": ("POST", MASKINPORTEN_CLIENT.path(VICTIM), {}),
    "making a client in the operator's namespace": ("POST", MASKINPORTEN_CLIENT.path(OPERATORS), {}),
    "a token of the operator's ServiceAccount": (
        "POST",
        SERVICE_ACCOUNTS.path(OPERATORS, SERVICE_ACCOUNT) + "/token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
    ),
    "taking the operator's Lease": ("PATCH", LEASES.path(OPERATORS, SERVICE_ACCOUNT), {"spec": {}}),
    "the operator's rights in its own namespace": (
        "POST",
        BINDINGS.path(TENANT),
        {
            "metadata": {"name": "try"},
            "roleRef": {**AS_CLUSTER_ADMIN, "name": SERVICE_ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": TENANT, "namespace": TENANT}],
        },
    ),
    "a cluster admin's rights": (
        "POST",
        CLUSTER_BINDINGS.path(),
        {"metadata": {"name": "try"}, "roleRef": AS_CLUSTER_ADMIN, "subjects": []},
    ),
    "widening the role that it has": ("PATCH", ROLES.path(name="edit"), {"rules": []}),
    "the label by which namespaces are selected": ("PATCH", NAMESPACE.path(name=TENANT), {"metadata": {"labels": {}}}),
    "the schema of our resources": ("PATCH", CRDS.path(name="maskinportenclients.nais.io"), {"spec": {}}),
    "a namespace of another's name": ("POST", NAMESPACE.path(), {"metadata": {"name": "former"}}),
}


@pytest.mark.parametrize("asked", FORBIDDEN.values(), ids=FORBIDDEN)
def test_the_role_doesnt_allow(refused, asked):
    method, path, *body = asked
    content_type = MERGE_PATCH if method == "PATCH" else "application/json"

    with pytest.raises(httpx.HTTPStatusError) as refusal:
        refused.tenant.kube.request(method, path, *(body or [None]), content_type)

    assert refusal.value.response.status_code == httpx.codes.FORBIDDEN


@pytest.mark.parametrize("kind", [MASKINPORTEN_CLIENT, APPLICATION], ids=lambda kind: kind.name)
def test_a_status_is_the_operators_to_write(attempt, kind):
    spec = {"secretName": f"{attempt.name}-secret"} if kind == MASKINPORTEN_CLIENT else {}
    attempt.tenant.create(kind, attempt.name, spec=spec)

    with pytest.raises(httpx.HTTPStatusError) as refusal:
        attempt.tenant.patch(kind, attempt.name, {"status": {"clientID": attempt.victim.client_id}}, "/status")

    assert refusal.value.response.status_code == httpx.codes.FORBIDDEN


# Forged: what the operator may not believe

MARKS = {
    "our finalizer from the start": {"finalizers": [FINALIZER]},
    "Digdirator's finalizer": {"finalizers": [DIGDIRATOR_FINALIZERS[0]]},
    "an owner in the other namespace": {"ownerReferences": ["shop"]},
    "labels of the other team's client": {"labels": {"app": "api", MANAGED_BY_LABEL: MANAGED_BY}},
    "every request at once": {
        "annotations": {f"digdir.nais.io/{one}": "true" for one in ("rotate", "resync", "preserve", "delete")}
    },
    "an applied hash": {"annotations": {"digdir.nais.io/applied-hash": "0123456789abcdef"}},
}


@pytest.mark.parametrize("metadata", MARKS.values(), ids=MARKS)
def test_metadata_of_its_own_choice_gets_it_a_client_of_its_own_and_nothing_else(attempt, metadata):
    if "ownerReferences" in metadata:
        shop = attempt.victim.shop
        metadata = {"ownerReferences": [build_reference(shop, "shop", shop["metadata"]["uid"])]}
        attempt.tenant.create_client(attempt.name, metadata=metadata)
        # The garbage collector knows no owner in another namespace.
        wait_for(lambda: attempt.tenant.find(MASKINPORTEN_CLIENT, attempt.name) is None, PATIENCE, "its end")
        return

    client = attempt.create_ready(metadata=metadata)

    assert client["status"]["clientID"] != attempt.victim.client_id


def build_reference(owner, name, uid):
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name, "uid": uid, "controller": True}


def test_a_status_that_comes_with_a_new_resource_is_dropped(attempt):
    claimed = {"clientID": attempt.victim.client_id, "exposedScopes": [{"name": GUARDED, "state": "Active"}]}
    spec = {"secretName": f"{attempt.name}-secret", "scopes": {"consumes": [{"name": SCOPE}]}}
    attempt.tenant.create(MASKINPORTEN_CLIENT, attempt.name, spec=spec, status=claimed)

    status = attempt.wait_for("Synchronized")["status"]

    assert status["clientID"] != attempt.victim.client_id
    assert not status.get("exposedScopes")


IDS = {
    "the other team's client": lambda victim: victim.client_id,
    "the operator's own client": lambda _: "admin-client",
    **{what: lambda _, text=text: text for what, text in INJECTIONS.items()},
}


@pytest.mark.parametrize("find_id", IDS.values(), ids=IDS)
def test_a_client_id_that_it_wrote_into_its_secret_leads_nowhere(attempt, find_id):
    own = attempt.create_ready()["status"]["clientID"]

    attempt.patch_secret({"MASKINPORTEN_CLIENT_ID": find_id(attempt.victim)})

    wait_for(lambda: attempt.read_secret().get("MASKINPORTEN_CLIENT_ID") == own, PATIENCE, "its own id again")


KEYS = {
    "the other team's public key": lambda victim: json.dumps(victim.public_key),
    "a key that names itself as the other team's": lambda victim: edit(
        private_jwk("any"), kid=victim.public_key["kid"]
    ),
    **{
        f"a key with {what} as its id": lambda _, text=text: edit(private_jwk("any"), kid=text)
        for what, text in INJECTIONS.items()
    },
}


@pytest.mark.parametrize("build_key", KEYS.values(), ids=KEYS)
def test_a_key_that_it_wrote_into_its_secret_is_registered_for_nobody_else(attempt, build_key):
    own = attempt.create_ready()["status"]["clientID"]
    written = build_key(attempt.victim)

    attempt.patch_secret({"MASKINPORTEN_CLIENT_JWK": written})

    wait_for(lambda: attempt.read_secret().get("MASKINPORTEN_CLIENT_JWK") != written, PATIENCE, "another key")
    assert attempt.read_secret()["MASKINPORTEN_CLIENT_ID"] == own


def test_a_secret_that_names_the_other_teams_client_as_its_owner_is_no_way_to_it(attempt):
    reference = build_reference(attempt.victim.api, "api", attempt.victim.api["metadata"]["uid"])
    metadata = {"ownerReferences": [reference], "labels": {"app": "api", MANAGED_BY_LABEL: MANAGED_BY}}

    attempt.tenant.create(SECRET, f"{attempt.name}-secret", metadata=metadata)
    attempt.tenant.create_client(attempt.name)

    attempt.wait_for("Synchronized")  # when the garbage collector has taken the Secret


# Names and scopes that could collide

COLLISIONS = {
    "exposing the other team's scope": (exposed("guarded.read", SKATT), "ScopeConflict"),
    "opening it to all": (exposed("guarded.read", accessibleForAll=True), "ScopeConflict"),
    "turning it off": (exposed("guarded.read", enabled=False), "ScopeConflict"),
    "its name after another separator": (exposed("guarded.read", separator="."), "Synchronized"),
    "its name in another product": (exposed("guarded.read", product="arbeid2"), "Synchronized"),
    "its name with more at the end": (exposed("guarded.read.all"), "Synchronized"),
    "its beginning": (exposed("guarded"), "Synchronized"),
    "a scope of an organisation that has none": (exposed("open", accessibleForAll=True), "Synchronized"),
    "a description that would be too long": (exposed("a" * 150, product="p" * 99), "InvalidSpec"),
}


@pytest.mark.parametrize(("scope", "reason"), COLLISIONS.values(), ids=COLLISIONS)
def test_a_scope_is_the_tenants_only_if_nobody_else_has_it(attempt, scope, reason):
    attempt.tenant.create_client(attempt.name, scopes={"exposes": [scope]})

    attempt.wait_for(reason)


def test_the_deletion_for_good_of_what_claims_the_other_teams_scope_takes_only_its_own_client(attempt):
    annotations = {"digdir.nais.io/delete": "true"}
    scopes = {"exposes": [exposed("guarded.read", SKATT)]}
    attempt.tenant.create_client(attempt.name, scopes=scopes, metadata={"annotations": annotations})
    attempt.wait_for("ScopeConflict")

    attempt.tenant.delete(MASKINPORTEN_CLIENT, attempt.name)

    wait_for(lambda: attempt.tenant.find(MASKINPORTEN_CLIENT, attempt.name) is None, PATIENCE, "its end")


NAMES = {
    "the other team's": "api",
    "the other team's with its namespace": "victim.api",
    "with a scope behind it": "api.arbeid",
    "the longest": "a" * 63,
    "the operator's": "maskinporten-operator",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_like_anothers_is_a_client_of_its_own(attempt, name):
    attempt.name = name

    scopes = {"exposes": [exposed(f"of.{name[:9].replace('-', '')}")]}
    client = attempt.create_ready(scopes=scopes, secretName=f"{name}-own")

    assert client["status"]["clientID"] != attempt.victim.client_id


def test_the_other_teams_mark_as_the_name_at_digdir_is_a_name_and_nothing_else(attempt):
    client = attempt.create_ready(clientName="test:victim:api")

    assert client["status"]["clientID"] != attempt.victim.client_id


@pytest.mark.parametrize("kind", [MASKINPORTEN_CLIENT, APPLICATION], ids=lambda kind: kind.name)
def test_a_secret_of_the_other_teams_name_is_one_in_the_tenants_namespace(attempt, kind):
    if kind == APPLICATION:
        attempt.name = "shop"
        attempt.tenant.create_application("shop", maskinporten={"enabled": True})
    else:
        attempt.tenant.create_client(attempt.name, secretName="api-secret")

    attempt.wait_for("Synchronized", kind)


# What the API server refuses before the operator sees it

UNACCEPTABLE = {
    **{f"a Secret's name with {what}": {"secretName": text} for what, text in INJECTIONS.items()},
    **{
        f"a consumed scope with {what}": {"scopes": {"consumes": [{"name": f"nav:{text}"}]}}
        for what, text in INJECTIONS.items()
        if what != "a path"
    },
    **{f"an exposed scope with {what}": {"scopes": {"exposes": [exposed(text)]}} for what, text in INJECTIONS.items()},
    **{
        f"a consumer with {what}": {"scopes": {"exposes": [exposed("new.read", text)]}}
        for what, text in INJECTIONS.items()
    },
    "the other team's scope in capitals": {"scopes": {"exposes": [exposed("Guarded.Read")]}},
    "with a Cyrillic letter": {"scopes": {"exposes": [exposed("gu\u0430rded.read")]}},
    "with a letter and its ring apart": {"scopes": {"exposes": [exposed("gua\u030arded.read")]}},
    "with letters of full width": {"scopes": {"exposes": [exposed("\uff47uarded.read")]}},
    "with its product within the name": {"scopes": {"exposes": [exposed("read", product="arbeid:guarded")]}},
}


@pytest.mark.parametrize("spec", UNACCEPTABLE.values(), ids=UNACCEPTABLE)
def test_the_schema_doesnt_take(refused, spec):
    with pytest.raises(httpx.HTTPStatusError) as refusal:
        refused.tenant.create_client(refused.name, **spec)

    assert refusal.value.response.status_code == httpx.codes.UNPROCESSABLE_ENTITY


# Values in paths, headers, logs and metrics


def test_a_consumed_scope_that_is_a_path_is_a_name_and_nothing_else(attempt):
    attempt.tenant.create_client(attempt.name, scopes={"consumes": [{"name": f"nav:../../clients/{MARKER}"}]})

    attempt.wait_for("ScopesNotGranted")


@pytest.mark.parametrize("field", ["clientURI", "redirectURI", "integrationType", "jwksURI", "clientID", "description"])
def test_a_field_that_there_isnt_reaches_nobody(attempt, field):
    client = attempt.create_ready(**{field: f"https://example.com/{MARKER}%0d%0a"})

    assert MARKER not in json.dumps(attempt.stage.registration(TENANT, client["metadata"]["name"]))


@pytest.mark.parametrize("text", INJECTIONS.values(), ids=INJECTIONS)
def test_a_field_of_an_application_that_nobody_knows_is_named_and_has_no_effect(attempt, text):
    attempt.tenant.create_application(attempt.name, **{text: MARKER})

    conditions = attempt.wait_for("Synchronized", APPLICATION)["status"]["conditions"]

    assert all(one["message"].isprintable() for one in conditions)


# What an Application makes the operator make

FOREIGN_OBJECTS = {
    "a Deployment": (
        DEPLOYMENT,
        {
            "selector": {"matchLabels": {"app": "theirs"}},
            "template": {
                "metadata": {"labels": {"app": "theirs"}},
                "spec": {"containers": [{"name": "theirs", "image": "example/theirs:1"}]},
            },
            "replicas": 0,
        },
    ),
    "a Service": (SERVICE, {"ports": [{"port": 1234}]}),
    "a NetworkPolicy": (NETWORK_POLICY, {"podSelector": {}}),
    "a MaskinportenClient": (MASKINPORTEN_CLIENT, {"secretName": "theirs"}),
}


@pytest.mark.parametrize(("kind", "spec"), FOREIGN_OBJECTS.values(), ids=FOREIGN_OBJECTS)
def test_an_object_that_is_there_already_is_not_taken_over(attempt, kind, spec):
    made = attempt.tenant.create(kind, attempt.name, spec=spec)
    attempt.tenant.create_application(attempt.name, maskinporten={"enabled": True})

    attempt.wait_for("ChildConflict", APPLICATION)

    left = attempt.tenant.find(kind, attempt.name)
    assert (left["metadata"]["uid"], left["spec"]) == (made["metadata"]["uid"], made["spec"])


FOREIGN_SECRETS = {
    "a password": {"stringData": {"password": "hunter2"}},
    "one that can't be changed": {"stringData": {"password": "hunter2"}, "immutable": True},
    "a token of a ServiceAccount": {
        "type": "kubernetes.io/service-account-token",
        "metadata": {"annotations": {"kubernetes.io/service-account.name": "default"}},
    },
    "what has the operator's label": {"metadata": {"labels": {MANAGED_BY_LABEL: MANAGED_BY, "app": "api"}}},
}


@pytest.mark.parametrize("body", FOREIGN_SECRETS.values(), ids=FOREIGN_SECRETS)
def test_a_secret_that_is_there_already_is_not_taken_over(attempt, body):
    attempt.tenant.create(SECRET, f"{attempt.name}-secret", **body)
    attempt.tenant.create_client(attempt.name)

    attempt.wait_for("SecretConflict")

    assert "MASKINPORTEN_CLIENT_ID" not in attempt.read_secret()


PRIVILEGES = {
    "hostNetwork": True,
    "hostPID": True,
    "serviceAccountName": "stronger",
    "automountServiceAccountToken": True,
    "nodeName": "node-0",
    "priorityClassName": "system-cluster-critical",
    "securityContext": {"runAsUser": 0, "runAsNonRoot": False},
    "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
    "initContainers": [{"name": "init", "image": "example/init:1", "securityContext": {"privileged": True}}],
    "runtimeClassName": "unconfined",
}


@pytest.mark.parametrize("field", PRIVILEGES)
def test_pods_have_no_privilege_that_an_application_asks_for(attempt, field):
    attempt.tenant.create_application(attempt.name, **{field: PRIVILEGES[field]})
    attempt.wait_for("Synchronized", APPLICATION)

    template = attempt.tenant.find(DEPLOYMENT, attempt.name)["spec"]["template"]["spec"]

    assert template.get(field) != PRIVILEGES[field]
    assert template["securityContext"]["runAsNonRoot"] is True


def test_pods_are_taken_where_pod_security_is_restricted_whatever_was_asked_for(attempt):
    attempt.tenant.create_application(attempt.name, **PRIVILEGES)

    def is_available():
        status = (attempt.tenant.find(DEPLOYMENT, attempt.name) or {}).get("status", {})
        return status.get("availableReplicas")

    wait_for(is_available, PATIENCE, "pods")


SECRETS_ELSEWHERE = {
    "in a variable": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "victim/api-secret", "key": "a"}}}]},
    "by a path": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "../api-secret", "key": "a"}}}]},
    "in a variable's name of a namespace": {
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "api-secret", "namespace": VICTIM, "key": "a"}}}]
    },
}


@pytest.mark.parametrize("spec", SECRETS_ELSEWHERE.values(), ids=SECRETS_ELSEWHERE)
def test_pods_get_no_secret_of_another_namespace(attempt, spec):
    attempt.tenant.create_application(attempt.name, **spec)

    attempt.wait_for("RefusedByCluster", APPLICATION)


@pytest.mark.parametrize("name", ["victim/api-secret", "../victim/secrets/api-secret", "victim%2Fapi-secret"])
def test_pods_get_no_values_of_a_secret_in_another_namespace(refused, name):
    with pytest.raises(httpx.HTTPStatusError) as refusal:
        refused.tenant.create_application(refused.name, envFrom=[{"secret": name}])

    assert refusal.value.response.status_code == httpx.codes.UNPROCESSABLE_ENTITY


def test_a_way_into_the_other_namespace_is_a_way_out_of_the_tenants_pods_alone(attempt):
    rules = [{"application": "*", "namespace": VICTIM}, {"application": "*", "namespace": "*"}]
    attempt.tenant.create_application(attempt.name, accessPolicy={"outbound": {"rules": rules}})
    attempt.wait_for("Synchronized", APPLICATION)

    policy = attempt.tenant.find(NETWORK_POLICY, attempt.name)["spec"]

    assert policy["podSelector"] == {"matchLabels": {"app": attempt.name}}
    assert policy["policyTypes"] == ["Egress"]


def test_an_application_exposes_no_scope_of_the_other_teams(attempt):
    scopes = {"exposes": [exposed("guarded.read", SKATT)]}
    attempt.tenant.create_application(attempt.name, maskinporten={"enabled": True, "scopes": scopes})

    attempt.wait_for("ScopeConflict", APPLICATION)
