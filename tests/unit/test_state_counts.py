"""What the metrics count: never more states than a few, whatever a user writes."""

from datetime import timedelta

import pytest

from maskinporten_operator.model.maskinportenclient import FINALIZER
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from maskinporten_operator.runtime.metrics import Metrics
from maskinporten_operator.runtime.state_counts import (
    count_keys,
    count_states,
    find_first_expiry,
)
from maskinporten_operator.runtime.store import WatchedResourceStore
from tests.unit.fakes import NOW, private_jwk, registered, registration, resource_body


@pytest.fixture
def store():
    return WatchedResourceStore(MASKINPORTEN_CLIENT, FINALIZER, lambda: 0.0, lambda *_: None)


def see(store, *statuses):
    for number, status in enumerate(statuses):
        store.offer(resource_body(metadata={"name": f"app-{number}", "uid": f"u{number}"}, status=status))


def ready(status, reason):
    return {"conditions": [{"type": "Ready", "status": status, "reason": reason}]}


def test_resources_are_counted_by_ready_and_reason(store):
    see(store, {}, ready("True", "Synchronized"), ready("True", "Synchronized"), ready("False", "InvalidSpec"))

    assert count_states([store]).resources == {
        ("MaskinportenClient", "Unknown", "New"): 1,
        ("MaskinportenClient", "True", "Synchronized"): 2,
        ("MaskinportenClient", "False", "InvalidSpec"): 1,
    }


def test_what_somebody_writes_into_a_status_makes_no_new_state(store):
    see(store, *(ready(f"x{number}", f"y{number}") for number in range(50)))

    assert count_states([store]).resources == {("MaskinportenClient", "Unknown", "Other"): 50}


def condition(name, status, reason):
    return {"type": name, "status": status, "reason": reason}


def test_conditions_beside_ready_that_are_false_are_counted_by_reason(store):
    said = [
        condition("Ready", "False", "InvalidSpec"),
        condition("Verified", "False", "ScopeRefused"),
        condition("Rotated", "False", "KeysInUse"),
        condition("ScopesGranted", "True", "Synchronized"),
        condition("Available", "Unknown", "WorkloadElsewhere"),
    ]
    see(store, {"conditions": said}, {"conditions": said[:2]}, {})

    assert count_states([store]).false_conditions == {
        ("MaskinportenClient", "Verified", "ScopeRefused"): 2,
        ("MaskinportenClient", "Rotated", "KeysInUse"): 1,
    }


def test_what_somebody_writes_into_a_condition_makes_no_new_state(store):
    made_up = [condition(f"x{number}", "False", "KeysInUse") for number in range(9)]
    see(store, *({"conditions": [condition("Verified", "False", f"y{number}"), *made_up]} for number in range(50)))

    assert count_states([store]).false_conditions == {("MaskinportenClient", "Verified", "Other"): 50}


def test_scopes_are_counted_by_the_state_that_is_told(store):
    scopes = [{"name": "nav:a", "state": "Active"}, {"name": "nav:b", "state": "Absent"}, {"state": "made up"}, "none"]
    see(store, {"exposedScopes": scopes}, {"exposedScopes": "none"}, {})

    assert count_states([store]).scopes == {("Active",): 1, ("Absent",): 1, ("Other",): 2}


def in_use(client_id="client-1", key=None):
    return {"clientID": client_id, "key": {"id": key.kid if key else "none"}}


def test_our_keys_are_counted_by_age_and_others_arent(store):
    ages = [timedelta(hours=1), timedelta(days=29), timedelta(days=30), timedelta(days=200), timedelta(days=340)]
    keys = [registered(private_jwk(number), NOW - age) for number, age in enumerate(ages)]
    foreign = registered(private_jwk(9, kid="somebodys"), NOW)
    undated = registered(private_jwk(10), None)
    see(store, in_use())

    assert count_keys([registration(*keys, foreign, undated)], count_states([store]).held, NOW) == {
        ("1d",): 1,
        ("30d",): 1,
        ("180d",): 1,
        ("335d",): 1,
        ("older",): 1,
        ("unknown",): 1,
    }


def test_keys_of_a_client_that_was_kept_when_its_resource_was_deleted_dont_count(store):
    key = registered(private_jwk(0), NOW, lives=timedelta(days=9))
    see(store, in_use("another", key))
    store.offer(
        resource_body(metadata={"name": "going", "uid": "u9", "deletionTimestamp": "t"}, status=in_use(key=key))
    )

    assert count_keys([registration(key)], count_states([store]).held, NOW) == {}
    assert find_first_expiry([registration(key)], count_states([store]).held) is None


def test_they_are_shown_with_their_labels(store):
    metrics = Metrics()
    metrics.gauges("scopes", "Scopes.", ("state",), lambda: count_states([store]).scopes)
    see(store, {"exposedScopes": [{"name": "nav:a", "state": "Active"}]})

    assert 'maskinporten_operator_scopes{state="Active"} 1.0' in metrics.render().decode()


def test_the_first_key_in_a_secret_to_expire_is_found(store):
    soon, later = (registered(private_jwk(number), NOW, lives=timedelta(days=9 + number)) for number in range(2))
    see(store, in_use("one", later), in_use("another", soon))

    one, another = registration(later, client_id="one"), registration(soon, client_id="another")
    assert find_first_expiry([one, another, registration()], count_states([store]).held) == soon.expires


def test_the_end_of_a_key_that_another_one_replaced_or_that_isnt_ours_doesnt_count(store):
    replaced, held = (registered(private_jwk(number), NOW, lives=timedelta(days=9 + number)) for number in range(2))
    foreign = registered(private_jwk(9, kid="somebodys"), NOW, lives=timedelta(days=1))
    see(store, in_use(key=held))

    assert find_first_expiry([registration(replaced, held, foreign)], count_states([store]).held) == held.expires
    assert (
        find_first_expiry(
            [registration(replaced, foreign, registered(private_jwk(1), None))], count_states([store]).held
        )
        is None
    )
