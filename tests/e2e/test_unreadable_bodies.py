"""What is nested too deep, or too large, costs only its own resource: in watches, in lists, and at a start."""

import json
from itertools import count
from pathlib import Path

import httpx
import pytest

from maskinporten_operator.adapters.cluster.bodies import read_object
from maskinporten_operator.model.resources import APPLICATION
from tests.e2e.applications import IMAGE, MERGE_PATCH
from tests.e2e.stage import NUMBERS, PATIENCE
from tools.install import VALUES, install
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"applications": "true", "platform": "gcp", "egress": "networkpolicy", "key_pool_size": "32"}
MAX_GROWTH = 40 * 1024
"""KiB of resident memory."""
HUGE = "x" * 200_000


def nest(levels):
    return '{"foo":' * levels + "1" + "}" * levels


def widen(size):
    """Build a list of empty members, which take the most memory for their size."""
    return "[" + ",".join(["{}"] * (size // 3)) + "]"


TOO_DEEP = "spec is nested more than 32 levels deep"
TOO_LARGE = "spec is larger than 256 KiB"
ODD = {
    "deeper than Python's decoder takes": (nest(1100), TOO_DEEP),
    # With about a hundred levels more the API server stores what it can't read itself any more.
    "as deep as the API server takes": (nest(9900), TOO_DEEP),
    "many empty members": (widen(600_000), TOO_LARGE),
    "a long text": (json.dumps("x" * 1_200_000), TOO_LARGE),
}


class Odd:
    """The Applications of a namespace whose specs have a field that nobody declared."""

    def __init__(self, stage, namespace):
        self.kube = stage.kube
        self.namespace = namespace

    def create(self, name, foo):
        self.kube.send(
            "POST",
            APPLICATION.path(self.namespace),
            f'{{"apiVersion":"{APPLICATION.api_version}","kind":"{APPLICATION.name}",'
            f'"metadata":{{"name":"{name}"}},"spec":{{"image":"{IMAGE}","foo":{foo}}}}}',
        )

    def fix(self, name):
        self.kube.send("PATCH", APPLICATION.path(self.namespace, name), '{"spec":{"foo":null}}', MERGE_PATCH)

    def delete(self, *name):
        self.kube.send("DELETE", APPLICATION.path(self.namespace, *name))

    def find_refusal(self, name, foo):
        """Try to create one; give what the API server says against it."""
        try:
            self.create(name, foo)
        except httpx.HTTPStatusError as error:
            return str(error)
        return None

    def annotate(self, name):
        self.kube.send(
            "PATCH", APPLICATION.path(self.namespace, name), '{"metadata":{"annotations":{"a":"b"}}}', MERGE_PATCH
        )

    def wait_for_reason(self, name, reason):
        """Wait until an Application's Ready has a reason; give the condition's message."""
        path = APPLICATION.path(self.namespace, name)
        # The whole of it is read once only: to read it all the time would leave the API server no time to write
        wait_for(lambda: self.kube.read_columns(path)["Reason"] == reason, PATIENCE, f"{reason} of {name}")
        conditions = read_object(self.kube.send("GET", path))["status"]["conditions"]
        return next(one for one in conditions if one["type"] == "Ready")["message"]


@pytest.fixture
def odd(stage, namespace):
    odd = Odd(stage, namespace)
    yield odd
    odd.delete()


def check_bystander(stage):
    """Somebody else's new client gets Ready, by an operator that is well."""
    namespace = f"bystander-{next(NUMBERS)}"
    stage.kube.create_namespace(namespace)
    stage.create_ready(namespace)
    assert stage.operator.running
    assert stage.operator.is_ready()
    assert stage.operator.is_alive()
    stage.sweep(namespace)


def test_a_spec_that_cant_be_read_is_named_on_its_resource_and_stops_nobody_else(stage, odd):
    names = {f"odd-{number}": what for number, what in enumerate(ODD.values())}
    for name, (foo, _) in names.items():
        odd.create(name, foo)
        check_bystander(stage)
    for name, (_, words) in names.items():
        assert words in odd.wait_for_reason(name, "InvalidSpec")

    stage.restart()
    check_bystander(stage)

    odd.fix("odd-0")
    odd.wait_for_reason("odd-0", "Synchronized")


def test_of_large_specs_hardly_anything_is_kept(stage, odd):
    stage.restart()
    before = read_resident(stage)

    for number in range(4):
        odd.create(f"wide-{number}", widen(600_000))
    known = "maskinporten_operator_resources"
    wait_for(lambda: stage.operator.metric(known) >= 4, PATIENCE, "four known resources")
    at_work = read_peak(stage) - before
    stage.restart()
    at_a_start = read_peak(stage) - before

    assert (at_work <= MAX_GROWTH, at_a_start <= MAX_GROWTH) == (True, True), (at_work, at_a_start)


def test_nothing_is_read_from_annotations_in_which_others_keep_what_they_know(stage, namespace):
    broken = {"kopf.zalando.org/last-handled-configuration": '{"spec":', "kopf.zalando.org/on-event": "{"}
    stage.create_ready(namespace, annotations=broken)
    stage.restart()
    check_bystander(stage)

    stage.delete(namespace)


def test_huge_annotations_stop_no_watch(stage, namespace):
    stage.create_ready(namespace, annotations={"example/note": HUGE})
    before = stage.patch_secret(namespace, {"metadata": {"annotations": {"example/note": HUGE}}})
    stage.restart()
    stage.delete_secret(namespace)
    stage.wait_for_secret(namespace, unlike=before)
    stage.patch_secret(namespace, {"metadata": {"annotations": {"example/note": HUGE}}, "data": None})
    wait_for(lambda: stage.find_secret(namespace).get("data"), PATIENCE, "the Secret's values")

    assert "watch failed" not in stage.operator.output()


@pytest.fixture
def size_policy(cluster):
    """The chart's policy, which the API server may apply a moment later."""

    def enable():
        install(cluster, {**VALUES, "sizePolicy": {"enabled": True}})

    yield enable
    install(cluster)


def test_with_the_policy_the_api_server_takes_nothing_that_the_operator_wouldnt_read(stage, odd, size_policy):
    odd.create("earlier", nest(1100))
    size_policy()
    names = map("one-{}".format, count())
    wait_for(lambda: odd.find_refusal(next(names), nest(32)), PATIENCE, "the policy")

    assert TOO_DEEP in odd.find_refusal("deep", nest(1100))
    assert TOO_LARGE in odd.find_refusal("long", json.dumps("x" * 1_200_000))
    assert "objects and lists" in odd.find_refusal("wide", widen(60_000))
    # The API server would store it, and couldn't list its kind any more.
    assert odd.find_refusal("deeper-than-what-can-be-listed", nest(9_997))
    assert odd.find_refusal("as-deep-as-may-be", nest(31)) is None
    assert odd.find_refusal("as-large-as-may-be", json.dumps("x" * 262_000)) is None
    odd.annotate("earlier")
    odd.delete("earlier")


def read_resident(stage):
    return _read_kib(stage, "VmRSS:")


def read_peak(stage):
    return _read_kib(stage, "VmHWM:")


def _read_kib(stage, field):
    lines = Path(f"/proc/{stage.operator.popen.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))
