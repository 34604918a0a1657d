"""What is not found when something is written: another object by now, a namespace that went, or a kind not served.

And with which preconditions an object gets a new owner.
"""

import json

import pytest

from maskinporten_operator.adapters.cluster.kubernetes_cluster import KubernetesCluster
from maskinporten_operator.adapters.cluster.status_errors import AbsentError, translate_response
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import ConflictError, ForbiddenError, RejectedError, TerminatingError
from maskinporten_operator.model.resources import (
    APPLICATION,
    CILIUM_POLICY,
    MASKINPORTEN_CLIENT,
    SECRET,
    parse_meta,
)
from maskinporten_operator.plan.owner_references import build_owner_reference
from tests.children import application_body
from tests.unit.fakes import owner_reference, resource_body

MANIFEST = {"metadata": {"name": "app", "namespace": "some-team"}}


class Api:
    """An API server that finds nothing but, perhaps, a namespace."""

    def __init__(self, namespace=None):
        self.namespace = namespace

    async def request(self, method, path, *_):
        if method == "GET" and path == "/api/v1/namespaces/some-team" and self.namespace:
            return self.namespace
        raise AbsentError("404 page not found")


async def apply(uid, namespace=None):
    await KubernetesCluster(Api(namespace), lambda *_: None).apply(CILIUM_POLICY, MANIFEST, uid)


async def test_a_kind_that_isnt_served_is_for_a_cluster_admin_to_mend():
    with pytest.raises(RejectedError, match=r"ciliumnetworkpolicies\.cilium\.io: a cluster admin must install it"):
        await apply(None, {"metadata": {}})


@pytest.mark.parametrize(
    "namespace", [None, {"metadata": {"deletionTimestamp": "2026-03-01T12:00:00Z"}}], ids=["gone", "going"]
)
async def test_a_namespace_that_went_ends_the_pass_quietly(namespace):
    with pytest.raises(TerminatingError):
        await apply(None, namespace)


async def test_an_object_that_went_since_it_was_read_is_looked_at_again():
    with pytest.raises(ConflictError):
        await apply("some-uid", {"metadata": {}})


async def test_a_secret_that_cant_be_read_is_no_secret_without_a_key():
    class Huge:
        async def request(self, *_):
            return {"metadata": {"name": "some-secret"}, "unreadable": "data is larger than 256 KiB as JSON"}

    with pytest.raises(RejectedError, match=r"Secret some-secret can't be read \(data is larger than 256 KiB"):
        await KubernetesCluster(Huge(), lambda *_: None).find_secret("some-team", "some-secret")


async def test_an_adoption_replaces_all_owners_of_what_was_read_and_of_nothing_else():
    calls = []

    class Recording:
        async def request(self, method, path, query, body, content_type):
            calls.append((method, path, body, content_type))
            return {"metadata": {}}

    metadata = {"name": "some-secret", "namespace": "some-team", "uid": "there", "resourceVersion": "7"}
    metadata |= {"creationTimestamp": "2026-03-01T12:00:00Z", "ownerReferences": [owner_reference(uid="earlier")]}
    owner = parse_meta(MASKINPORTEN_CLIENT, resource_body())

    await KubernetesCluster(Recording(), lambda *_: None).adopt(SECRET, {"metadata": metadata}, owner)

    patch = {"uid": "there", "resourceVersion": "7", "ownerReferences": [build_owner_reference(owner)]}
    path = "/api/v1/namespaces/some-team/secrets/some-secret"
    assert calls == [("PATCH", path, {"metadata": patch}, "application/merge-patch+json")]


class StatusApi:
    """An API server that checks the status as a CRD does whose `synchronizationTime` is of a type."""

    def __init__(self, served):
        self.served, self.stored, self.requests = served, None, 0

    async def request(self, method, path, query, body, content_type):
        self.requests += 1
        if not isinstance(body["status"]["synchronizationTime"], self.served):
            raise RejectedError(Reason.REFUSED_BY_CLUSTER, "status.synchronizationTime: Invalid value")
        self.stored = body["status"]
        return {"metadata": {"resourceVersion": "2"}}


STATUS = {"synchronizationTime": "2026-03-01T12:00:00Z", "correlationID": "some-id"}


async def test_a_status_has_its_time_in_the_form_that_the_served_crd_wants():
    api, meta = StatusApi(int), parse_meta(APPLICATION, application_body({}))
    cluster = KubernetesCluster(api, lambda *_: None)
    await cluster.write_status(meta, STATUS)
    assert api.stored == {"synchronizationTime": 1_772_366_400 * 10**9, "correlationID": "some-id"}

    api.requests = 0
    await cluster.write_status(meta, STATUS)
    assert api.requests == 1  # it is known by then

    api.served = str  # somebody installed the operator's own CRD
    await cluster.write_status(meta, STATUS)
    assert api.stored == STATUS


async def test_of_the_other_kind_nothing_is_concluded():
    api = StatusApi(int)
    cluster = KubernetesCluster(api, lambda *_: None)
    await cluster.write_status(parse_meta(APPLICATION, application_body({})), STATUS)
    api.served, api.requests = str, 0
    await cluster.write_status(parse_meta(MASKINPORTEN_CLIENT, application_body({})), STATUS)
    assert api.requests == 1


async def test_a_status_that_is_refused_in_every_form_is_counted():
    counted = []
    cluster = KubernetesCluster(StatusApi(list), lambda *_: None, count_refused_status=counted.append)
    with pytest.raises(RejectedError):
        await cluster.write_status(parse_meta(APPLICATION, application_body({})), STATUS)
    assert counted == [APPLICATION]


class Pods:
    """An API server that lists pods, a few at a time, or refuses to."""

    def __init__(self, *pods, refusal=None, may_list=True):
        self.pods, self.refusal, self.may_list, self.asked = pods, refusal, may_list, []

    async def request(self, method, path, *, body):
        """Answer a question about rights, as the API server answers everybody."""
        assert (method, path) == ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        asked = {"namespace": "some-team", "verb": "list", "resource": "pods"}
        assert body["spec"]["resourceAttributes"] == asked
        return {**body, "status": {"allowed": self.may_list}}

    async def request_page(self, path, query, *_):
        if self.refusal:
            raise self.refusal
        query = dict(query)
        begin, end = int(query.get("continue", 0)), int(query.get("continue", 0)) + 2
        self.asked.append(path)
        metadata = {"resourceVersion": "9"} | ({"continue": str(end)} if end < len(self.pods) else {})
        return json.dumps({"metadata": metadata, "items": self.pods[begin:end]}).encode()


def pod(name, secret="some-secret"):
    container = {"name": "app", "envFrom": [{"secretRef": {"name": secret}}]}
    running = {"name": "app", "state": {"running": {"startedAt": "2026-03-01T12:00:00Z"}}}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [container]},
        "status": {"containerStatuses": [running]},
    }


async def test_pods_are_listed_in_pages_and_only_what_uses_the_secret_is_kept():
    api = Pods(pod("a"), pod("b", "other"), pod("c"), {"metadata": {"name": "d"}, "spec": {"a": "x" * 300_000}})

    uses = await KubernetesCluster(api, lambda *_: None).find_uses("some-team", ["some-secret", "old"])

    assert [(use.pod, use.started is None) for use in uses["some-secret"]] == [("a", False), ("c", False), ("d", True)]
    assert api.asked == ["/api/v1/namespaces/some-team/pods"] * 2


PODS_FORBIDDEN = translate_response(403, b'{"message": "pods is forbidden"}', {})


async def test_without_the_right_to_list_pods_none_is_known():
    cluster = KubernetesCluster(Pods(refusal=PODS_FORBIDDEN, may_list=False), lambda *_: None)

    assert await cluster.find_uses("some-team", ["some-secret"]) == {}
    assert await cluster.find_troubles("some-team", "app") == []


async def test_a_refusal_in_spite_of_the_right_to_list_pods_is_waited_for():
    cluster = KubernetesCluster(Pods(refusal=PODS_FORBIDDEN, may_list=True), lambda *_: None)

    with pytest.raises(ForbiddenError):
        await cluster.find_uses("some-team", ["some-secret"])
    with pytest.raises(ForbiddenError):
        await cluster.find_troubles("some-team", "app")
