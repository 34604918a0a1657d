"""The pass over an Application, from an observed world to a changed one."""

import copy
import logging
from dataclasses import replace

import pytest
import structlog
from structlog.testing import capture_logs

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import (
    ConflictError,
    ForbiddenError,
    RejectedError,
    TransientError,
    WaitingError,
)
from maskinporten_operator.model.resources import (
    APPLICATION,
    CILIUM_POLICY,
    DEPLOYMENT,
    FQDN_POLICY,
    HORIZONTAL_POD_AUTOSCALER,
    INGRESS,
    MASKINPORTEN_CLIENT,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    SERVICE,
)
from maskinporten_operator.plan.application_plan import PATIENCE
from maskinporten_operator.plan.children import HASH_ANNOTATION
from maskinporten_operator.plan.ingress import build_ingress_name
from maskinporten_operator.plan.ingress_classes import parse_controller, parse_ingress_class
from maskinporten_operator.plan.outcomes import REJECTED_RECHECK_SECONDS, Retry
from maskinporten_operator.plan.owner_references import build_owner_reference, is_owned_by
from maskinporten_operator.plan.platform import Platform
from maskinporten_operator.plan.rollout import LOOK_SECONDS, read_trouble
from maskinporten_operator.reconcile.application_pass import reconcile_application
from maskinporten_operator.reconcile.memory import Memory
from maskinporten_operator.reconcile.ports import Known, Ports
from tests.children import (
    CLIENT_ID,
    NAME,
    NAMESPACE,
    UID,
    application_body,
    keep,
    merge,
    set_available,
    set_ready,
    set_rollout,
)
from tests.unit.fakes import SETTINGS, CrashError, FakeAnnouncer, FakeClock, FakeNamespaces, FakeRandomness, Trips, port

PLATFORM = Platform(name="gcp", backend="networkpolicy", cidrs=("139.105.36.164/32",))
SPEC = {"image": "example/app:1", "maskinporten": {"enabled": True}}
READS = {"find", "is"}
CLIENT, POLICIES = (MASKINPORTEN_CLIENT, NAME), (NETWORK_POLICY, NAME)
DEPLOYED, SERVED = (DEPLOYMENT, NAME), (SERVICE, NAME)
BUDGET, AUTOSCALER = (POD_DISRUPTION_BUDGET, NAME), (HORIZONTAL_POD_AUTOSCALER, NAME)


def refuse():
    return RejectedError(Reason.REFUSED_BY_CLUSTER, "the API server says no")


def put_off():
    return WaitingError(Reason.RATE_LIMITED, "the API server says later", 7.0)


class ApplicationCluster:
    """An Application and its namespace's objects; the MaskinportenClient is seen as the watch shows it."""

    def __init__(self, trips, body):
        self.trips = trips
        self.application = body
        self.objects = {}
        self.pods = []
        self.namespace_terminating = False
        self.refusals = {}
        self._version = 100

    @port
    async def find(self, kind, namespace, name):
        assert namespace == NAMESPACE
        return copy.deepcopy(self.application if kind == APPLICATION else self.objects.get((kind, name)))

    @port
    async def is_namespace_terminating(self, namespace):
        return self.namespace_terminating

    @port
    async def find_troubles(self, namespace, app):
        return [read_trouble(pod) for pod in self.pods]

    @port
    async def apply(self, kind, manifest, uid):
        key = (kind, manifest["metadata"]["name"])
        if kind in self.refusals:
            refusal = self.refusals[kind]()
            raise refusal
        before = self.objects.get(key)
        if uid != (before["metadata"]["uid"] if before else None):
            raise ConflictError(Reason.CLUSTER_UNAVAILABLE, "it is another one")
        self.objects[key] = keep(manifest, before)
        return copy.deepcopy(self.objects[key])

    @port
    async def adopt(self, kind, body, owner):
        key = (kind, body["metadata"]["name"])
        if kind in self.refusals:
            refusal = self.refusals[kind]()
            raise refusal
        if body != self.objects.get(key):
            raise ConflictError(Reason.CLUSTER_UNAVAILABLE, "it changed meanwhile")
        metadata = body["metadata"] | {"ownerReferences": [build_owner_reference(owner)]}
        self.objects[key] = copy.deepcopy({**body, "metadata": metadata})
        return copy.deepcopy(self.objects[key])

    @port
    async def apply_replicas(self, manifest):
        self.replicas_applied = manifest
        self.objects[DEPLOYED] = merge(self.objects[DEPLOYED], manifest)
        return copy.deepcopy(self.objects[DEPLOYED])

    @port
    async def delete(self, kind, namespace, name, uid):
        assert self.objects[(kind, name)]["metadata"]["uid"] == uid
        del self.objects[(kind, name)]

    @port
    async def write_status(self, meta, status):
        metadata = self.application["metadata"]
        assert str(meta.resource_version) == metadata["resourceVersion"]
        self._version += 1
        metadata = metadata | {"resourceVersion": str(self._version)}
        self.application = self.application | {"metadata": metadata, "status": copy.deepcopy(status)}
        return self.application


class LabelledObjects:
    """What the watches know: the objects with our label of some kinds, or all, and every MaskinportenClient."""

    def __init__(self, cluster, kinds=None):
        self.cluster, self.kinds = cluster, kinds

    def find_client(self, namespace, name):
        return copy.deepcopy(self.cluster.objects.get((MASKINPORTEN_CLIENT, name)))

    def contains(self, kind, namespace, name):
        labels = self.cluster.objects.get((kind, name), {"metadata": {}})["metadata"].get("labels", {})
        if self.kinds is not None and kind not in self.kinds:
            return False
        return labels.get("app.kubernetes.io/managed-by") == "maskinporten-operator"

    def find_owned(self, kind, meta):
        named = [name for one, name in self.cluster.objects if one == kind and self.contains(kind, NAMESPACE, name)]
        return tuple(name for name in named if is_owned_by(self.cluster.objects[kind, name], meta))


class NoObjects:
    """What the watches know before they have told anything."""

    def find_client(self, namespace, name):
        return None

    def contains(self, kind, namespace, name):
        return False

    def find_owned(self, kind, meta):
        return ()


class World:
    def __init__(self, spec=SPEC, platform=PLATFORM, **metadata):
        self.trips, self.clock, self.announcer = Trips(), FakeClock(), FakeAnnouncer()
        self.cluster = ApplicationCluster(self.trips, application_body(spec, **metadata))
        self.memory, self.platform = Memory(), platform
        self.watches_have_told, self.labels_told = True, None

    async def reconcile(self, body=None):
        """Run one pass; `body` is what it begins with if that is old."""
        self.trips.calls.clear()
        ports = Ports(
            settings=SETTINGS,
            platform=self.platform,
            cluster=self.cluster,
            digdir=None,
            known=Known(
                None,
                None,
                LabelledObjects(self.cluster, self.labels_told) if self.watches_have_told else NoObjects(),
                FakeNamespaces(),
            ),
            key_pool=None,
            announcer=self.announcer,
            clock=self.clock,
            random=FakeRandomness(),
            memory=self.memory,
        )
        return await reconcile_application(body or copy.deepcopy(self.cluster.application), ports)

    async def settle(self):
        await self.reconcile()
        self.answer()
        await self.reconcile()
        self.cluster.objects[DEPLOYED] = set_available(self.cluster.objects[DEPLOYED])
        return await self.reconcile()

    def answer(self, **condition):
        """The MaskinportenClient says how it is."""
        self.cluster.objects[CLIENT] = set_ready(self.cluster.objects[CLIENT], **condition)

    def roll_out(self, **how):
        """The Deployment's controller tells how the rollout goes."""
        self.cluster.objects[DEPLOYED] = set_rollout(self.cluster.objects[DEPLOYED], **how)

    def edit(self, **spec):
        metadata = self.cluster.application["metadata"]
        generation = metadata["generation"] + 1
        self.cluster.application["metadata"] = metadata | {"generation": generation}
        self.cluster.application["spec"] |= spec

    @property
    def writes(self):
        return [call for call in self.trips.calls if call.split("_")[0] not in READS]

    @property
    def ready(self):
        return self.conditions.get("Ready", {})

    @property
    def conditions(self):
        return {one["type"]: one for one in self.cluster.application.get("status", {}).get("conditions", ())}


@pytest.fixture(autouse=True)
def _plain_structlog():
    yield
    structlog.reset_defaults()


@pytest.fixture
def world():
    return World()


@pytest.fixture
async def settled():
    world = World()
    await world.settle()
    return world


# Creation


async def test_an_ingress_is_made_and_goes_with_its_field_or_with_the_class_that_served_it(settled):
    settled.platform = replace(settled.platform, ingress_classes=(parse_ingress_class("*=nginx"),))
    settled.edit(ingresses=["https://app.example.com"])
    await settled.reconcile()
    assert settled.writes == ["apply_ingress", "write_status"]
    settled.edit(ingresses=[])
    await settled.reconcile()
    assert settled.writes == ["delete_ingress", "write_status"]

    settled.edit(ingresses=["https://app.example.com"])
    await settled.reconcile()
    settled.platform = replace(settled.platform, ingress_classes=(parse_ingress_class("*=other"),))
    await settled.reconcile()
    assert settled.writes == ["apply_ingress", "delete_ingress"]


async def test_an_ingress_that_a_controllers_webhook_refuses_keeps_nothing_else_from_being_made(world):
    world.platform = replace(world.platform, ingress_classes=(parse_ingress_class("*=nginx"),))
    world.edit(ingresses=["https://app.example.com"])
    refusal = 'host "app.example.com" and path "/" is already defined'
    world.cluster.refusals = {INGRESS: lambda: RejectedError(Reason.REFUSED_BY_CLUSTER, refusal)}
    await world.settle()
    assert DEPLOYED in world.cluster.objects
    assert (world.ready["status"], world.ready["reason"]) == ("False", "RefusedByCluster")
    assert world.ready["message"].startswith("Ingress app-nginx-")
    assert refusal in world.ready["message"]


async def test_a_new_application_gets_its_client_first_and_its_pods_when_there_are_credentials(world):
    await world.reconcile()
    assert world.writes == ["apply_maskinportenclient", "apply_networkpolicy", "apply_service"]
    world.answer()
    await world.reconcile()
    assert world.writes == ["apply_deployment", "apply_replicas", "apply_poddisruptionbudget", "write_status"]
    assert world.conditions["Synchronized"]["status"] == "True"
    assert (world.ready["status"], world.ready["reason"]) == ("Unknown", "RollingOut")
    assert world.cluster.application["status"]["clientID"] == CLIENT_ID
    assert world.cluster.objects[DEPLOYED]["spec"]["replicas"] == 2


async def test_a_new_applications_children_are_not_looked_for(world):
    await world.reconcile()
    assert not [call for call in world.trips.calls if call.split("_")[0] in READS]


async def test_a_client_that_has_yet_to_answer_is_not_reported_on_within_patience(world):
    first = await world.reconcile()
    assert first.retry.delay == pytest.approx(PATIENCE, abs=0.1)
    assert not first.retry.failed
    world.clock.advance(PATIENCE / 2)
    second = await world.reconcile()
    assert second.retry.delay == pytest.approx(PATIENCE / 2, abs=0.1)
    assert world.writes == []
    assert world.conditions == {}


async def test_a_client_that_does_not_answer_is_reported_on_when_patience_ends(world):
    await world.reconcile()
    world.clock.advance(PATIENCE)
    outcome = await world.reconcile()
    assert world.writes == ["write_status"]
    assert (world.ready["status"], world.ready["reason"]) == ("Unknown", "AwaitingClient")
    assert world.conditions["Available"]["reason"] == "WaitingForCredentials"
    assert outcome.retry is None
    await world.reconcile()
    assert world.writes == []


async def test_patience_begins_anew_with_the_next_question(settled):
    settled.clock.advance(1000.0)
    settled.edit(maskinporten={"enabled": True, "scopes": {"consumes": [{"name": "a:b"}]}})
    outcome = await settled.reconcile()
    assert settled.writes == ["apply_maskinportenclient"]
    assert outcome.retry.delay == pytest.approx(PATIENCE, abs=0.1)
    assert settled.ready["observedGeneration"] == 1


async def test_a_refusal_of_the_client_is_reported_at_once(world):
    await world.reconcile()
    world.answer(secret=False, status="False", reason="RefusedByDigDir", message="no such scope")
    await world.reconcile()
    assert world.writes == ["write_status"]
    assert (world.ready["status"], world.ready["reason"]) == ("False", "RefusedByDigDir")
    assert world.announcer.announced[-1][:2] == ("Warning", "RefusedByDigDir")


@pytest.mark.parametrize("is_new", [True, False])
async def test_credentials_that_come_while_a_pass_goes_on_make_nothing_ready_before_the_pods_have_them(is_new):
    world = World()
    if not is_new:
        await world.settle()
        world.edit(maskinporten={"enabled": True, "scopes": {"consumes": [{"name": "a:b"}]}})
    apply = world.cluster.apply

    async def apply_slowly(kind, manifest, uid):
        answer = await apply(kind, manifest, uid)
        if kind == MASKINPORTEN_CLIENT:
            world.answer()
            world.cluster.objects[CLIENT]["status"]["synchronizationHash"] = "the next"
        return answer

    world.cluster.apply = apply_slowly
    await world.reconcile()
    assert world.ready.get("observedGeneration", 0) < world.cluster.application["metadata"]["generation"]

    await world.reconcile()

    assert (world.ready["status"], world.ready["reason"]) == ("Unknown", "RollingOut")


# The rollout


async def test_a_rollout_that_takes_a_while_has_the_pods_asked_why_and_the_status_written_once(world):
    await world.reconcile()
    world.answer()
    await world.reconcile()
    world.roll_out(available=False)
    status = {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}]}
    world.cluster.pods = [{"metadata": {"name": "app-1"}, "status": status}]
    early = await world.reconcile()
    assert "find_troubles" not in world.trips.calls
    world.clock.advance(early.retry.delay)

    late = await world.reconcile()

    assert world.ready["reason"] == world.conditions["Available"]["reason"] == "RolloutBlocked"
    assert "no node takes a pod (Unschedulable): full" in world.conditions["Available"]["message"]
    assert late.retry == Retry(LOOK_SECONDS, failed=False)
    world.clock.advance(LOOK_SECONDS)
    with capture_logs() as logs:
        await world.reconcile()
        assert world.writes == []
        assert logs == []
        world.cluster.pods = []
        await world.reconcile()
    assert [one["reason"] for one in logs] == ["RollingOut"]


async def test_a_rollout_that_failed_is_told_by_an_event_and_ends_with_the_next_version(settled):
    settled.edit(image="example/app:2")
    await settled.reconcile()
    settled.roll_out(progressing="ProgressDeadlineExceeded", message="timed out")
    outcome = await settled.reconcile()
    assert settled.announcer.announced[-1][:2] == ("Warning", "RolloutFailed")
    assert outcome.retry is None
    settled.edit(image="example/app:3")
    await settled.reconcile()
    assert settled.ready["reason"] == "RollingOut"
    settled.roll_out(progressing="NewReplicaSetAvailable")
    await settled.reconcile()
    assert settled.ready["status"] == "True"


async def test_an_application_stays_ready_when_somebody_scales_it_or_pods_are_lost(settled):
    settled.cluster.objects[DEPLOYED]["spec"]["replicas"] = 8
    settled.cluster.objects[DEPLOYED]["metadata"]["generation"] += 1
    await settled.reconcile()
    assert settled.writes == []
    settled.roll_out(progressing="NewReplicaSetAvailable", available=False)
    await settled.reconcile()
    assert settled.ready["status"] == "True"
    assert settled.conditions["Available"]["status"] == "False"


async def test_what_the_crd_gives_a_resource_without_a_status_is_no_status(world):
    world.cluster.application["status"] = {"observedGeneration": -1}
    await world.reconcile()
    assert not [call for call in world.trips.calls if call.split("_")[0] in READS]


# What NAIS's deployment tool waits for


def deploy(world, number):
    metadata = world.cluster.application["metadata"]
    world.cluster.application["metadata"] = metadata | {
        "annotations": {"nais.io/deploymentCorrelationID": f"deployment-{number}"}
    }


def find_ends(world):
    return [one[:2] for one in world.announcer.announced if one[1] in {"RolloutComplete", "FailedSynchronization"}]


async def test_of_a_deployment_its_end_is_told_once_also_by_the_next_process(world):
    deploy(world, 1)
    await world.reconcile()
    world.answer()
    await world.reconcile()
    assert find_ends(world) == []
    world.roll_out(progressing="NewReplicaSetAvailable")

    await world.reconcile()

    assert find_ends(world) == [("Normal", "RolloutComplete")]
    assert world.cluster.application["status"]["correlationID"] == "deployment-1"
    world.memory = Memory()
    await world.reconcile()
    assert world.writes == []
    assert len(find_ends(world)) == 1


async def test_a_deployment_that_changes_nothing_has_an_end_too(settled):
    for number in (1, 2):
        deploy(settled, number)
        await settled.reconcile()
        assert settled.writes == ["write_status"]
        await settled.reconcile()
        assert settled.writes == []
    assert find_ends(settled) == [("Normal", "RolloutComplete")] * 2


async def test_a_deployment_that_failed_is_told_and_that_its_pods_came_up_after_all(settled):
    deploy(settled, 1)
    settled.edit(image="example/app:2")
    await settled.reconcile()
    settled.roll_out(progressing="ProgressDeadlineExceeded", message="timed out")
    await settled.reconcile()
    settled.roll_out(progressing="NewReplicaSetAvailable")
    await settled.reconcile()
    assert find_ends(settled) == [("Warning", "FailedSynchronization"), ("Normal", "RolloutComplete")]


async def test_the_end_of_a_deployment_is_told_when_the_status_says_so_and_not_before(settled):
    async def conflict(*_):
        raise ConflictError(Reason.CLUSTER_UNAVAILABLE, "it changed meanwhile")

    write_status, settled.cluster.write_status = settled.cluster.write_status, conflict
    deploy(settled, 1)
    await settled.reconcile()
    assert find_ends(settled) == []

    settled.cluster.write_status = write_status
    await settled.reconcile()

    assert find_ends(settled) == [("Normal", "RolloutComplete")]


async def test_without_a_deployment_none_is_told_of(settled):
    assert find_ends(settled) == []
    assert settled.cluster.application["status"]["correlationID"] != "deployment-1"


# Nothing to do


async def test_a_pass_without_news_writes_nothing(settled):
    earlier = list(settled.announcer.announced)
    outcome = await settled.reconcile()
    assert settled.writes == []
    assert (outcome.retry, outcome.level) == (None, logging.INFO)
    assert settled.announcer.announced == earlier


async def test_a_pass_without_news_writes_nothing_for_a_process_that_remembers_nothing(settled):
    settled.memory = Memory()
    await settled.reconcile()
    assert settled.writes == []


async def test_after_a_start_children_that_no_watch_has_told_of_yet_are_looked_for_and_nothing_is_written(settled):
    settled.memory, settled.watches_have_told = Memory(), False
    outcome = await settled.reconcile()
    assert settled.writes == []
    assert outcome.verdicts[0].status == "True"


async def test_an_application_that_is_being_deleted_is_left_to_the_garbage_collector():
    world = World(deletionTimestamp="2026-01-02T00:00:00Z")
    assert (await world.reconcile()).retry is None
    assert world.trips.calls == []


async def test_an_invalid_spec_touches_no_child(settled):
    settled.edit(port=0)
    outcome = await settled.reconcile()
    assert settled.writes == ["write_status"]
    assert (settled.ready["status"], settled.ready["reason"]) == ("False", "InvalidSpec")
    assert outcome.retry == Retry(REJECTED_RECHECK_SECONDS, failed=True)


async def test_a_child_that_cant_be_read_is_named_and_not_written_again_and_again(settled):
    child = settled.cluster.objects[SERVED]
    settled.cluster.objects[SERVED] = {"metadata": child["metadata"], "unreadable": "spec is larger than 256 KiB"}
    settled.edit(command=["other"])
    await settled.reconcile()

    assert settled.ready["reason"] == "ChildConflict"
    assert f"Service {NAME} can't be read (spec is larger than 256 KiB)" in settled.ready["message"]
    assert settled.cluster.objects[SERVED]["metadata"] == child["metadata"]


@pytest.mark.parametrize(
    ("odd", "delay"), [({"unreadable": "spec is too large"}, REJECTED_RECHECK_SECONDS), ({}, None)]
)
async def test_a_status_that_cant_be_written_is_tried_again_soon_unless_the_resource_cant_be_read(settled, odd, delay):
    async def write_status(*_):
        raise TransientError(Reason.CLUSTER_UNAVAILABLE, "no answer")

    settled.edit(port=0)
    settled.cluster.application |= odd
    settled.cluster.write_status = write_status

    assert (await settled.reconcile()).retry == Retry(delay, failed=True)


@pytest.mark.parametrize(
    ("refusal", "delay"),
    [
        (refuse(), REJECTED_RECHECK_SECONDS),
        (ForbiddenError(Reason.REFUSED_BY_CLUSTER, "not allowed", 60.0), 60.0),
    ],
    ids=["refused", "forbidden"],
)
async def test_a_status_that_is_refused_is_told_by_an_event(settled, refusal, delay):
    async def write_status(*_):
        raise refusal

    settled.edit(port=0)
    settled.cluster.write_status = write_status
    assert (await settled.reconcile()).retry.delay == delay
    kind, reason, message = settled.announcer.announced[-1]
    assert (kind, reason) == ("Warning", "RefusedByCluster")
    assert message == f"The status can't be written: {refusal}"


# Ingresses

INTERNAL, EXTERNAL = "https://app.intern.example.com", "https://app.example.com"
CLASSES = {
    "guards_inbound": True,
    "ingress_classes": tuple(map(parse_ingress_class, ("intern.example.com=internal", "example.com=external"))),
    "ingress_controllers": tuple(map(parse_controller, ("internal=ns-internal", "external=ns-external"))),
}


def find_let_in(world):
    """The namespaces from where the application may be called."""
    policy = world.cluster.objects[NETWORK_POLICY, f"{NAME}.inbound"]
    peers = [peer for rule in policy["spec"]["ingress"] for peer in rule["from"]]
    return {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in peers}


@pytest.mark.parametrize(
    "refusal",
    [RejectedError(Reason.REFUSED_BY_CLUSTER, "the host is taken"), TransientError(Reason.CLUSTER_UNAVAILABLE, "down")],
    ids=["refused", "unavailable"],
)
async def test_while_an_ingress_cant_take_anothers_place_the_others_controller_is_let_in(refusal):
    def refuse_ingress():
        raise refusal

    world = World(platform=replace(PLATFORM, **CLASSES))
    world.edit(ingresses=[INTERNAL])
    await world.settle()
    assert find_let_in(world) == {"ns-internal"}

    world.cluster.refusals = {INGRESS: refuse_ingress}
    world.edit(ingresses=[EXTERNAL])
    await world.reconcile()
    await world.reconcile()
    assert find_let_in(world) == {"ns-internal", "ns-external"}
    assert (INGRESS, build_ingress_name(NAME, "internal")) in world.cluster.objects

    world.cluster.refusals = {}
    await world.settle()
    assert find_let_in(world) == {"ns-external"}
    assert [name for kind, name in world.cluster.objects if kind == INGRESS] == [build_ingress_name(NAME, "external")]


async def move_to_external():
    world = World(platform=replace(PLATFORM, **CLASSES))
    world.edit(ingresses=[INTERNAL])
    await world.settle()
    world.edit(ingresses=[EXTERNAL])
    world.trips.calls.clear()
    return world


async def calls_of_moving():
    world = await move_to_external()
    await world.reconcile()
    return list(world.trips.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_change_of_controllers_that_crashes_at_any_call_ends_as_one_that_doesnt(after):
    whole = await move_to_external()
    await whole.settle()
    for number, name in enumerate(await calls_of_moving()):
        world = await move_to_external()
        world.trips.trip(number, CrashError, after=after)
        with pytest.raises(CrashError):
            await world.reconcile()

        world.memory = Memory()
        await world.settle()

        assert find_let_in(world) == {"ns-external"}, name
        assert world.cluster.objects.keys() == whole.cluster.objects.keys(), name


# Foreign children


async def test_a_foreign_child_without_our_label_is_a_conflict_at_once(world):
    foreign = {"kind": "Service", "metadata": {"name": NAME, "namespace": NAMESPACE, "uid": "foreign"}, "spec": {}}
    world.cluster.objects[SERVED] = copy.deepcopy(foreign)
    outcome = await world.reconcile()
    assert world.cluster.objects[SERVED] == foreign
    assert (world.ready["status"], world.ready["reason"]) == ("False", "ChildConflict")
    assert f"Service {NAME} exists" in world.ready["message"]
    assert outcome.retry == Retry(REJECTED_RECHECK_SECONDS, failed=True)
    assert {CLIENT, POLICIES} <= world.cluster.objects.keys()


async def test_a_child_of_its_own_that_no_watch_has_told_of_is_applied_to_and_not_made_anew(world):
    owner = {"apiVersion": APPLICATION.api_version, "kind": "Application", "name": NAME, "uid": UID}
    metadata = {"name": NAME, "namespace": NAMESPACE, "uid": "there", "resourceVersion": "1", "generation": 1}
    metadata |= {"ownerReferences": [owner]}
    world.cluster.objects[SERVED] = {"kind": "Service", "metadata": metadata, "spec": {}}
    await world.reconcile()
    assert world.cluster.objects[SERVED]["metadata"]["uid"] == "there"
    assert world.cluster.objects[SERVED]["spec"]["selector"] == {"app": NAME}


async def test_in_its_second_pass_a_new_application_is_read_again_before_a_child_is_made(world):
    await world.reconcile()
    del world.cluster.objects[SERVED]
    world.cluster.application["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    begun = application_body(SPEC)
    await world.reconcile(begun)
    assert world.writes == []


async def test_nothing_is_pruned_while_what_takes_its_place_is_refused(settled):
    settled.platform = Platform(name="gcp", backend="cilium", hosts=("maskinporten.no",))
    settled.cluster.refusals[CILIUM_POLICY] = refuse
    await settled.reconcile()
    assert POLICIES in settled.cluster.objects

    settled.cluster.refusals.clear()
    await settled.reconcile()
    assert POLICIES not in settled.cluster.objects


HOSTS = SPEC | {"accessPolicy": {"outbound": {"external": [{"host": "a.example"}]}}}
BY_NAME = Platform(name="gcp", backend="fqdn-gke", hosts=("maskinporten.no",))
NAMED = (FQDN_POLICY, f"{NAME}-fqdn")


async def test_a_policy_by_addresses_stays_as_it_is_while_that_by_names_is_refused():
    world = World(HOSTS)
    await world.settle()
    before = world.cluster.objects[POLICIES]
    world.platform, world.cluster.refusals[FQDN_POLICY] = BY_NAME, refuse
    await world.reconcile()
    assert world.cluster.objects[POLICIES] == before
    assert world.ready["message"] == f"FQDNNetworkPolicy {NAME}-fqdn: {refuse()}"

    world.cluster.refusals.clear()
    await world.reconcile()
    assert NAMED in world.cluster.objects
    assert world.cluster.objects[POLICIES] != before


async def test_pods_that_no_policy_held_for_are_left_so_while_a_policy_is_refused():
    world = World(HOSTS, Platform(name="gcp", backend="none"))
    await world.settle()
    world.platform, world.cluster.refusals[FQDN_POLICY] = BY_NAME, refuse
    await world.reconcile()
    assert not {POLICIES, NAMED} & world.cluster.objects.keys()

    world.cluster.refusals.clear()
    await world.reconcile()
    assert {POLICIES, NAMED} <= world.cluster.objects.keys()


async def test_no_pods_are_begun_whose_policies_are_refused():
    world = World(HOSTS, BY_NAME)
    world.cluster.refusals[NETWORK_POLICY] = refuse
    await world.reconcile()
    world.answer()
    await world.reconcile()
    assert DEPLOYED not in world.cluster.objects

    world.cluster.refusals.clear()
    await world.reconcile()
    assert DEPLOYED in world.cluster.objects


async def test_of_policies_that_go_one_that_no_watch_has_told_of_yet_is_looked_for():
    world = World(HOSTS, BY_NAME)
    await world.settle()
    world.platform = replace(BY_NAME, backend="none")
    world.labels_told = {NETWORK_POLICY}
    await world.reconcile()
    assert not {POLICIES, NAMED} & world.cluster.objects.keys()


async def test_a_child_of_an_earlier_application_that_the_watch_missed_is_waited_for(world):
    owner = {"apiVersion": APPLICATION.api_version, "kind": "Application", "name": NAME, "uid": "earlier"}
    metadata = {"name": NAME, "namespace": NAMESPACE, "uid": "old", "ownerReferences": [owner]}
    world.cluster.objects[SERVED] = {"kind": "Service", "metadata": metadata, "spec": {}}
    outcome = await world.reconcile()
    assert world.ready["reason"] == "AwaitingChildRemoval"
    assert outcome.retry.delay
    assert not outcome.retry.failed


# Refusals


@pytest.mark.parametrize("error", [refuse, put_off])
async def test_a_refused_child_does_not_keep_others_from_being_applied_and_is_named(world, error):
    world.cluster.refusals[NETWORK_POLICY] = error
    await world.reconcile()
    assert world.cluster.objects.keys() == {CLIENT, SERVED}
    assert world.ready["reason"] == error().reason
    assert world.ready["message"] == f"NetworkPolicy {NAME}: {error()}"


async def test_a_child_that_conflicts_in_every_pass_is_told_and_keeps_no_other_from_being_applied(world):
    world.cluster.refusals[NETWORK_POLICY] = lambda: ConflictError(Reason.REFUSED_BY_CLUSTER, "denied")
    for _ in range(4):
        await world.reconcile()
    assert world.cluster.objects.keys() == {CLIENT, SERVED}
    assert world.ready == {}
    outcome = await world.reconcile()
    assert outcome.retry == Retry(None, failed=True)
    assert (world.ready["status"], world.ready["reason"]) == ("Unknown", "RefusedByCluster")
    assert world.ready["message"] == f"NetworkPolicy {NAME}: denied"
    assert world.conditions.keys() > {"Ready", "MaskinportenReady"}


async def test_the_first_of_several_refusals_is_told(world):
    world.cluster.refusals = {NETWORK_POLICY: refuse, SERVICE: refuse}
    await world.reconcile()
    assert world.ready["message"].startswith(f"NetworkPolicy {NAME}: ")
    assert world.cluster.objects.keys() == {CLIENT}


async def test_an_outage_is_waited_for_once_and_not_by_each_child(world):
    world.cluster.refusals[NETWORK_POLICY] = lambda: TransientError(Reason.CLUSTER_UNAVAILABLE, "no answer")
    await world.reconcile()
    assert world.cluster.objects.keys() == {CLIENT}


async def test_replicas_are_not_set_on_a_deployment_that_was_refused():
    world = World({"image": "example/app:1"})
    world.cluster.refusals[DEPLOYMENT] = refuse
    await world.reconcile()
    assert "apply_replicas" not in world.writes
    assert world.ready["message"] == f"Deployment {NAME}: {refuse()}"


async def test_nothing_scales_a_deployment_that_is_somebody_elses():
    world = World({"image": "example/app:1", "replicas": {"max": 4}})
    world.cluster.objects[DEPLOYED] = {"kind": "Deployment", "metadata": {"name": NAME, "uid": "theirs"}, "spec": {}}
    for _ in range(2):  # in the first pass nobody has looked for it
        await world.reconcile()
        assert not {AUTOSCALER, BUDGET} & world.cluster.objects.keys()
    assert world.ready["reason"] == "ChildConflict"


async def test_somebody_elses_budget_for_disruptions_does_as_well():
    world = World({"image": "example/app:1"})
    theirs = {"kind": "PodDisruptionBudget", "metadata": {"name": NAME, "uid": "theirs"}, "spec": {"minAvailable": 1}}
    world.cluster.objects[BUDGET] = copy.deepcopy(theirs)
    for _ in range(2):  # in the first pass nobody has looked for it
        await world.reconcile()
        assert world.conditions["Synchronized"]["status"] == "True"
    assert world.cluster.objects[BUDGET] == theirs


async def test_an_upgrade_applies_each_child_once_and_leaves_the_number_of_pods():
    world = World(SPEC | {"replicas": {"max": 6}}, PLATFORM)
    await world.settle()
    objects = world.cluster.objects
    del objects[BUDGET], objects[AUTOSCALER]  # as an earlier version left it
    for body in objects.values():
        body["metadata"]["annotations"][HASH_ANNOTATION] = "of an earlier version"
        del body["metadata"]["labels"]["team"]
    del objects[DEPLOYED]["spec"]["template"]["spec"]["containers"][0]["lifecycle"]
    objects[DEPLOYED]["spec"]["replicas"] = 5

    world.platform = replace(PLATFORM, has_nais_defaults=True, guards_inbound=True)
    world.memory = Memory()
    generation = objects[DEPLOYED]["metadata"]["generation"]
    writes = []
    for _ in range(4):
        await world.reconcile()
        writes += [one for one in world.writes if one != "write_status"]
        world.answer()

    kinds = ["maskinportenclient", "networkpolicy", "networkpolicy", "service", "deployment"]
    scaling = ["poddisruptionbudget", "horizontalpodautoscaler"]
    assert writes == [f"apply_{kind}" for kind in (*kinds, *scaling)]
    assert objects[DEPLOYED]["spec"]["replicas"] == 5
    assert objects[DEPLOYED]["metadata"]["generation"] == generation + 1


async def test_what_a_scaler_set_is_kept_only_if_nobody_sets_another_number_meanwhile(settled):
    settled.cluster.objects[DEPLOYED]["spec"]["replicas"] = 8
    settled.cluster.application["spec"]["replicas"] = {"min": 3}
    await settled.reconcile()
    assert settled.cluster.objects[DEPLOYED]["spec"]["replicas"] == 8
    assert settled.cluster.replicas_applied["metadata"]["resourceVersion"] == "1"

    settled.cluster.application["spec"]["replicas"] = {"min": 9}
    await settled.reconcile()
    assert settled.cluster.objects[DEPLOYED]["spec"]["replicas"] == 9
    assert "resourceVersion" not in settled.cluster.replicas_applied["metadata"]


async def test_a_fault_of_the_cluster_ends_the_pass_and_leaves_a_ready_application_ready(settled):
    settled.cluster.objects[DEPLOYED]["spec"]["strategy"] = {"type": "Recreate"}
    settled.trips.trip("apply_deployment", lambda: TransientError(Reason.CLUSTER_UNAVAILABLE, "no answer"))
    outcome = await settled.reconcile()
    assert outcome.retry == Retry(None, failed=True)
    assert settled.ready["status"] == "True"


# Repairs


async def test_a_vanished_child_is_made_again_after_a_look_at_its_owner_and_namespace(settled):
    before = settled.cluster.objects.pop(SERVED)
    await settled.reconcile()
    calls = settled.trips.calls
    looks = [calls.index("find_application"), calls.index("is_namespace_terminating")]
    assert looks == sorted(looks)
    assert looks[-1] < calls.index("apply_service")
    assert settled.cluster.objects[SERVED]["spec"] == before["spec"]


def go(world):
    world.cluster.application["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"


def vanish(world):
    world.cluster.application = None


def be_replaced(world):
    world.cluster.application["metadata"]["uid"] = "another"


def lose_namespace(world):
    world.cluster.namespace_terminating = True


@pytest.mark.parametrize("what_happens", [go, vanish, be_replaced, lose_namespace])
async def test_a_child_that_vanished_with_its_owner_is_not_made_again(settled, what_happens):
    body = copy.deepcopy(settled.cluster.application)
    for key in (SERVED, CLIENT, DEPLOYED):
        settled.cluster.objects.pop(key)
    what_happens(settled)
    outcome = await settled.reconcile(body)
    assert settled.writes == []
    assert (outcome.verdicts, outcome.retry) == ((), None)


async def test_a_vanished_child_makes_an_application_unready_that_cannot_get_it_back(settled):
    del settled.cluster.objects[SERVED]
    settled.trips.trip("apply_service", lambda: TransientError(Reason.CLUSTER_UNAVAILABLE, "no answer"))
    await settled.reconcile()
    assert (settled.ready["status"], settled.ready["reason"]) == ("Unknown", "ClusterUnavailable")


async def test_what_somebody_changed_is_changed_back_and_told(settled):
    settled.cluster.objects[SERVED]["spec"]["selector"] = {"app": "another"}
    await settled.reconcile()
    assert settled.writes == ["apply_service"]
    assert settled.announcer.announced[-1][2] == f"Applied Service {NAME} (spec.selector.app was changed)"


# Turning off


async def test_maskinporten_turned_off_deletes_the_client_when_the_pods_do_without_it(settled):
    settled.edit(maskinporten={"enabled": False})
    await settled.reconcile()
    assert settled.writes == [
        "apply_deployment", "delete_maskinportenclient", "delete_networkpolicy", "write_status",
    ]  # fmt: skip
    assert "MaskinportenReady" not in settled.conditions
    assert settled.cluster.application["status"]["clientID"] is None


async def test_children_known_only_to_the_watch_are_pruned(settled):
    settled.platform = Platform(name="gcp", backend="none")
    await settled.reconcile()
    assert "delete_networkpolicy" in settled.writes
    assert POLICIES not in settled.cluster.objects


# Admission


def mutate(world, image="mirror.example.com/app:1"):
    """An admission policy writes another image at each write of a Deployment."""
    apply = world.cluster.apply

    async def apply_and_mutate(kind, manifest, uid):
        answer = await apply(kind, manifest, uid)
        if kind == DEPLOYMENT:
            for one in (answer, world.cluster.objects[DEPLOYED]):
                one["spec"]["template"]["spec"]["containers"][0]["image"] = image
        return answer

    world.cluster.apply = apply_and_mutate


async def test_what_admission_makes_of_a_child_is_neither_applied_again_nor_told(world):
    mutate(world)
    await world.settle()
    announced = list(world.announcer.announced)
    await world.reconcile()
    assert world.writes == []
    assert world.announcer.announced == announced


async def test_beside_what_admission_makes_of_a_child_a_change_is_still_undone_and_an_edit_applied(world):
    mutate(world)
    await world.settle()
    world.cluster.objects[DEPLOYED]["spec"]["template"]["spec"]["containers"][0]["image"] = "evil/app:1"
    await world.reconcile()
    assert world.writes[0] == "apply_deployment"
    world.edit(image="example/app:2")
    await world.reconcile()
    assert world.writes[0] == "apply_deployment"


async def test_what_admission_made_of_a_child_is_forgotten_with_the_application(world):
    mutate(world)
    await world.settle()
    assert world.memory.mutations(UID)
    world.memory.forget(UID)
    assert not world.memory.mutations(UID)
