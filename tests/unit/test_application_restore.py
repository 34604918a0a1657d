"""Children that lost their Application, by a restore or an orphaning deletion: taken back if they are as it asks."""

import copy

import pytest

from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT, NETWORK_POLICY, SERVICE
from maskinporten_operator.plan.children import HASH_ANNOTATION
from maskinporten_operator.reconcile.memory import Memory
from tests.children import NAME
from tests.unit.fakes import CrashError
from tests.unit.test_application_pass import BUDGET, CLIENT, DEPLOYED, POLICIES, SERVED, SPEC, World, refuse

EARLIER = {"apiVersion": "nais.io/v1alpha1", "kind": "Application", "name": NAME, "uid": "earlier", "controller": True}
OTHER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "other", "uid": "other", "controller": True}
ALL = (CLIENT, POLICIES, SERVED, DEPLOYED)
LOST = {"orphaned": [], "of an earlier application": [EARLIER]}
lost = pytest.mark.parametrize("references", LOST.values(), ids=LOST)
children = pytest.mark.parametrize("child", ALL, ids=lambda child: child[0].name)


async def restore(references=(), *, watches_have_told=True):
    """An Application that was made anew beside its children of before, in a process that has just begun."""
    world = World()
    await world.settle()
    for body in world.cluster.objects.values():
        body["metadata"]["ownerReferences"] = list(references)
    world.cluster.application["metadata"] |= {"uid": "anew"}
    world.cluster.application.pop("status")
    world.memory, world.watches_have_told = Memory(), watches_have_told
    return world


async def settle(world, most=4):
    """Run passes until one writes nothing."""
    for _ in range(most):
        await world.reconcile()
        if not world.writes:
            return
    raise AssertionError(f"not settled after {most} passes: {world.writes}")


def find_owners(body):
    return [one["uid"] for one in body["metadata"]["ownerReferences"]]


@lost
@pytest.mark.parametrize("watched", [True, False], ids=["that the watch told of", "that no watch told of yet"])
async def test_all_children_are_taken_back_and_no_pod_is_replaced(references, watched):
    world = await restore(references, watches_have_told=watched)
    before = copy.deepcopy(world.cluster.objects)

    await settle(world)

    assert world.ready["status"] == "True"
    owners = {child: find_owners(one) for child, one in world.cluster.objects.items()}
    assert owners == {key: ["anew"] for key in (*ALL, BUDGET)}
    for child, one in world.cluster.objects.items():
        assert one["spec"] == before[child]["spec"], child
        assert one["metadata"]["uid"] == before[child]["metadata"]["uid"], child
        assert one["metadata"]["generation"] == before[child]["metadata"]["generation"], child


@pytest.mark.parametrize(("label", "replaced"), [("velero.io/restore-name", False), ("restored-by", True)])
async def test_a_label_that_a_tool_puts_on_what_it_restores_is_no_conflict(label, replaced):
    world = await restore([EARLIER])
    before = copy.deepcopy(world.cluster.objects[DEPLOYED]["spec"])
    for body in (world.cluster.application, *world.cluster.objects.values()):
        body["metadata"].setdefault("labels", {})[label] = "r1"

    await settle(world)

    owners = {child: find_owners(one) for child, one in world.cluster.objects.items()}
    assert owners == {key: ["anew"] for key in (*ALL, BUDGET)}
    assert (world.cluster.objects[DEPLOYED]["spec"] != before) == replaced


async def test_a_deployment_is_taken_back_while_the_credentials_are_waited_for():
    world = await restore([EARLIER])
    world.cluster.objects[CLIENT].pop("status")

    await world.reconcile()

    assert find_owners(world.cluster.objects[DEPLOYED]) == ["anew"]
    assert world.cluster.objects[DEPLOYED]["spec"]


async def test_a_child_that_no_watch_told_of_yet_is_no_conflict():
    world = await restore(watches_have_told=False)

    await world.reconcile()
    await world.reconcile()

    assert "ChildConflict" not in [reason for _, reason, _ in world.announcer.announced]


@pytest.mark.parametrize("watched", [True, False], ids=["that the watch told of", "that no watch told of yet"])
async def test_pods_are_replaced_if_the_secret_was_lost_and_has_a_new_key(watched):
    world = await restore(watches_have_told=watched)
    world.cluster.objects[CLIENT]["status"]["synchronizationHash"] = "another"

    await settle(world)

    assert find_owners(world.cluster.objects[DEPLOYED]) == ["anew"]
    assert world.cluster.objects[DEPLOYED]["spec"]["template"]["metadata"]["annotations"] == {
        "digdir.nais.io/credentials": "another"
    }


async def assert_not_taken(world, child):
    """The object stays as it is, and all others are taken back; give the message."""
    before = copy.deepcopy(world.cluster.objects[child])
    for _ in range(3):
        await world.reconcile()
    assert world.cluster.objects[child] == before
    others = [one for one in ALL if one not in {child, DEPLOYED}]
    assert [find_owners(world.cluster.objects[one]) for one in others] == [["anew"]] * len(others)
    assert world.ready["reason"] == "ChildConflict"
    return world.ready["message"]


FORGED = {
    CLIENT: {"secretName": "another"},
    POLICIES: {"egress": []},
    SERVED: {"selector": {"app": "another"}},
    DEPLOYED: {"template": {"spec": {"containers": [{"name": NAME, "image": "forged"}]}}},
}


@children
async def test_a_forged_child_with_label_and_hash_is_not_taken(child):
    world = await restore()
    spec = FORGED[child]
    world.cluster.objects[child]["spec"] |= spec

    message = await assert_not_taken(world, child)

    assert f"{child[0].name} {NAME} exists and wasn't made for this Application" in message
    assert f"as it lacks what the spec asks for in spec.{next(iter(spec))}" in message


@children
async def test_a_child_without_the_hash_is_not_taken(child):
    world = await restore()
    del world.cluster.objects[child]["metadata"]["annotations"][HASH_ANNOTATION]

    assert f"it lacks the annotation {HASH_ANNOTATION}" in await assert_not_taken(world, child)


@pytest.mark.parametrize("label", ["app", "app.kubernetes.io/managed-by"])
@children
async def test_a_child_without_a_label_is_not_taken(child, label):
    world = await restore()
    del world.cluster.objects[child]["metadata"]["labels"][label]

    assert "it lacks the labels" in await assert_not_taken(world, child)


@children
async def test_another_owner_always_wins(child):
    world = await restore()
    world.cluster.objects[child]["metadata"]["ownerReferences"] = [OTHER]

    assert "belongs to ReplicaSet other" in await assert_not_taken(world, child)


@lost
@children
async def test_a_child_that_is_being_deleted_is_waited_for(child, references):
    world = await restore(references)
    world.cluster.objects[child]["metadata"]["deletionTimestamp"] = "2026-03-02T00:00:00Z"

    for _ in range(3):
        await world.reconcile()

    assert find_owners(world.cluster.objects[child]) == [one["uid"] for one in references]
    assert world.ready["reason"] == "AwaitingChildRemoval"


async def test_a_forged_child_that_had_an_owner_is_left_to_the_garbage_collector():
    world = await restore([EARLIER])
    world.cluster.objects[SERVED]["spec"]["selector"] = {"app": "another"}

    await world.reconcile()

    assert world.ready["reason"] == "AwaitingChildRemoval"
    assert find_owners(world.cluster.objects[SERVED]) == ["earlier"]


async def test_children_that_lose_their_owner_as_the_application_goes_are_left_alone():
    """The garbage collector takes the references away before an orphaning deletion ends."""
    world = await restore()
    begun = copy.deepcopy(world.cluster.application)
    world.cluster.application["metadata"]["deletionTimestamp"] = "2026-03-02T00:00:00Z"
    before = copy.deepcopy(world.cluster.objects)

    await world.reconcile(begun)

    assert world.cluster.objects == before


async def test_a_child_that_changed_since_it_was_read_is_looked_at_anew():
    world = await restore()

    async def edit_and_find(kind, namespace, name, find=world.cluster.find):
        body = await find(kind, namespace, name)
        if kind == SERVICE:
            world.cluster.objects[SERVED]["spec"]["selector"] = {"app": "another"}
        return body

    world.cluster.find = edit_and_find

    await world.reconcile()
    assert find_owners(world.cluster.objects[SERVED]) == []

    await assert_not_taken(world, SERVED)


async def test_a_child_that_cant_be_taken_back_keeps_no_other_from_it():
    world = await restore()
    world.cluster.refusals[NETWORK_POLICY] = refuse

    await world.reconcile()

    assert world.ready["message"] == f"NetworkPolicy {NAME}: {refuse()}"
    assert find_owners(world.cluster.objects[POLICIES]) == []
    assert find_owners(world.cluster.objects[DEPLOYED]) == ["anew"]


async def test_what_the_spec_does_not_ask_for_is_nobodys():
    world = await restore()
    world.cluster.application["spec"] = {"image": SPEC["image"]}

    await settle(world)

    assert find_owners(world.cluster.objects[CLIENT]) == []
    assert MASKINPORTEN_CLIENT.name not in world.ready["message"]


async def calls_of_taking_back():
    world = await restore()
    await world.reconcile()
    return list(world.trips.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@lost
async def test_a_take_back_that_crashes_at_any_call_ends_as_one_that_doesnt(references, after):
    whole = await restore(references)
    await settle(whole)
    for number, name in enumerate(await calls_of_taking_back()):
        world = await restore(references)
        world.trips.calls.clear()
        world.trips.trip(number, CrashError, after=after)
        with pytest.raises(CrashError):
            await world.reconcile()

        world.memory = Memory()
        await settle(world)

        assert world.cluster.objects == whole.cluster.objects, name
        assert world.ready["status"] == "True", name
