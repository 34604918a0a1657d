"""Which pods may have which key, by what they refer to and when their containers were started."""

from datetime import timedelta

import pytest

from maskinporten_operator.model.resources import UNREADABLE
from maskinporten_operator.plan.secret_uses import (
    KUBELET_LAG,
    SecretUse,
    add_delivery,
    find_holders,
    find_uses,
    parse_deliveries,
)
from maskinporten_operator.plan.verification import MAX_WAIT
from tests.unit.fakes import NOW, SECRET, private_jwk, registered

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
STARTED = NOW - DAY
BY_ENV_FROM = {"envFrom": [{"configMapRef": {"name": "other"}}, {"secretRef": {"name": SECRET}}]}
BY_VALUE = {"env": [{"name": "A", "value": "b"}, {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": SECRET}}}]}
MOUNTED = {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "credentials", "mountPath": "/secrets"}]}
WHOLE = {"name": "credentials", "secret": {"secretName": SECRET}}
PROJECTED = {
    "name": "credentials",
    "projected": {"sources": [{"configMap": {"name": "a"}}, {"secret": {"name": SECRET}}]},
}
CONTAINER_LISTS = {
    "containers": "containerStatuses",
    "initContainers": "initContainerStatuses",
    "ephemeralContainers": "ephemeralContainerStatuses",
}


def pod(container, *volumes, name="pod", of="containers", started=STARTED, state="running"):
    """A pod with one container that has something to do with the Secret, and one that hasn't."""
    at = {"startedAt": f"{started:%Y-%m-%dT%H:%M:%SZ}"}
    statuses = [{"name": one, "state": {state: at}} for one in ("app", "sidecar")]
    return {
        "metadata": {"name": name},
        "spec": {
            "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
            of: [{"name": "sidecar"}, {"name": "app", **container}],
        },
        "status": {CONTAINER_LISTS[of]: statuses},
    }


@pytest.mark.parametrize("of", CONTAINER_LISTS)
@pytest.mark.parametrize("container", [BY_ENV_FROM, BY_VALUE], ids=["envFrom", "env"])
def test_variables_stay_as_they_were_when_the_container_was_started(container, of):
    assert find_uses(pod(container, of=of), SECRET) == [SecretUse("pod", STARTED)]


@pytest.mark.parametrize("volume", [WHOLE, PROJECTED], ids=["secret", "projected"])
def test_mounted_files_follow(volume):
    assert find_uses(pod(MOUNTED, volume), SECRET) == [SecretUse("pod", STARTED, follows=True)]


@pytest.mark.parametrize("path", ["subPath", "subPathExpr"])
def test_a_file_mounted_by_itself_stays_as_it_was(path):
    mounts = [{"name": "credentials", "mountPath": "/key", path: "MASKINPORTEN_CLIENT_JWK"}]

    assert find_uses(pod({"volumeMounts": mounts}, WHOLE), SECRET) == [SecretUse("pod", STARTED)]


def test_a_container_with_files_and_variables_counts_by_the_variables():
    assert find_uses(pod(MOUNTED | BY_VALUE, WHOLE), SECRET) == [SecretUse("pod", STARTED)]


@pytest.mark.parametrize(
    "other",
    [
        pod({}),
        pod({}, WHOLE),
        pod(MOUNTED, {"name": "credentials", "secret": {"secretName": "other"}}),
        pod({"envFrom": [{"configMapRef": {"name": SECRET}}]}),
        pod(BY_VALUE, state="waiting"),
        pod(BY_VALUE, state="terminated"),
        {"metadata": {"name": "pod"}, "spec": {"containers": [{"name": "app", **BY_VALUE}]}},
    ],
    ids=["nothing", "not mounted", "another Secret", "a ConfigMap", "waiting", "ended", "not begun"],
)
def test_what_doesnt_run_or_refers_to_something_else_uses_nothing(other):
    assert find_uses(other, SECRET) == []


def test_a_pod_that_cant_be_read_may_have_any_key():
    unreadable = {"metadata": {"name": "pod"}, UNREADABLE: "spec is larger than 256 KiB as JSON"}
    keys = [registered(private_jwk(number), NOW - number * DAY) for number in (2, 1)]

    (use,) = find_uses(unreadable, SECRET)
    assert set(find_holders([use], keys, {}, NOW)) == {key.kid for key in keys}


OLD, NEXT, NEWEST = (
    registered(private_jwk(number), NOW - age) for number, age in ((1, 9 * DAY), (2, 5 * DAY), (3, DAY))
)
KEYS = [OLD, NEXT, NEWEST]
DELIVERED = {OLD.kid: OLD.created + MINUTE, NEXT.kid: NEXT.created + MINUTE, NEWEST.kid: NEWEST.created + MINUTE}


def holds(started, *, follows=False, deliveries=DELIVERED, now=NOW):
    held = find_holders([SecretUse("pod", started, follows)], KEYS, deliveries, now)
    return [key for key in KEYS if key.kid in held]


def test_a_container_has_the_key_that_was_in_the_secret_when_it_was_started():
    assert holds(NEXT.created) == [OLD]
    assert holds(NEXT.created + 2 * MINUTE) == [NEXT]
    assert holds(NEWEST.created + 2 * MINUTE) == [NEWEST]


def test_within_the_second_of_a_delivery_it_may_have_either():
    assert holds(NEXT.created + MINUTE) == [OLD, NEXT]


def test_where_nothing_tells_of_a_delivery_it_was_at_the_latest_when_a_wait_ends():
    latest = timedelta(seconds=MAX_WAIT)

    assert OLD in holds(NEXT.created + latest, deliveries={})
    assert OLD not in holds(NEXT.created + latest + MINUTE, deliveries={})
    assert NEXT in holds(NEXT.created, deliveries={})


def test_mounted_files_lag_for_two_minutes_whenever_the_container_was_started():
    delivered = DELIVERED[NEWEST.kid]

    assert NEXT in holds(OLD.created, follows=True, now=delivered + KUBELET_LAG)
    assert NEXT not in holds(OLD.created, follows=True, now=delivered + KUBELET_LAG + MINUTE)


def test_pods_are_named_each_once():
    uses = [SecretUse(name, OLD.created + 2 * MINUTE) for name in ("b", "a", "b")]

    assert find_holders(uses, KEYS, DELIVERED, NOW) == {OLD.kid: ("a", "b")}


def test_deliveries_are_written_down_for_keys_that_are_registered():
    first = add_delivery(None, "one", NOW - DAY, ["one"])
    second = add_delivery(first, "two", NOW, ["one", "two"])

    assert parse_deliveries(second) == {"one": NOW - DAY, "two": NOW}
    assert parse_deliveries(add_delivery(second, "three", NOW, ["two"])) == {"two": NOW, "three": NOW}
    assert parse_deliveries(add_delivery(second, "one", NOW, ["one", "two"])) == {"two": NOW, "one": NOW}


@pytest.mark.parametrize("text", [None, "", "=", "kid", "kid=yesterday", "kid=2026-01-01T00:00:00"])
def test_what_cant_be_read_of_deliveries_is_left_out(text):
    assert parse_deliveries(text) == {}


def test_nobody_holds_a_key_where_there_is_none():
    assert find_holders([SecretUse("pod", STARTED)], [], {}, NOW) == {}
