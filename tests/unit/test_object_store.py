"""The store of resources: the newest of watch events and of our own writes' answers, and nothing else."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.application import parse_application
from maskinporten_operator.model.claims import claim_scope, claim_secret
from maskinporten_operator.model.maskinportenclient import FINALIZER, parse
from maskinporten_operator.model.resources import APPLICATION, DEPLOYMENT, MASKINPORTEN_CLIENT, InvalidSpec, parse_meta
from maskinporten_operator.model.resources import SECRET as SECRET_KIND
from maskinporten_operator.plan.children import build_children, check_child
from maskinporten_operator.plan.platform import Platform
from maskinporten_operator.runtime import store as module
from maskinporten_operator.runtime.queue import Key
from maskinporten_operator.runtime.store import VersionStore, WatchedChildren, WatchedResourceStore, key_of, trim
from tests.children import application_body
from tests.specs import exposed
from tests.unit.fakes import NAME, NAMESPACE, SECRET, UID, resource_body

KEY = Key(MASKINPORTEN_CLIENT, NAMESPACE, NAME)
CLAIM = claim_secret(NAMESPACE, SECRET)


class Gone(list):
    def __call__(self, key, uid):
        self.append((key, uid))


@pytest.fixture
def gone():
    return Gone()


@pytest.fixture
def store(gone):
    return WatchedResourceStore(MASKINPORTEN_CLIENT, FINALIZER, itertools.count(1).__next__, gone)


def body(version, *, uid=UID, name=NAME, secret=SECRET, status=None, **metadata):
    return resource_body(
        metadata={"resourceVersion": str(version), "uid": uid, "name": name, **metadata},
        spec={"secretName": secret},
        status=status or {},
    )


def version(store, key=KEY):
    return store.find(key).versions.newest


# Another process's work


def test_at_a_takeover_every_resource_counts_as_touched_from_then_on(store):
    store.offer(body(10))
    assert not store.find(KEY).first_seen.had_finalizer
    seen = store.find(KEY).first_seen.at
    store.assume_finalizers(until=0.0)

    assert store.find(KEY).first_seen.had_finalizer
    assert store.find(KEY).first_seen.at > seen


def test_what_is_first_seen_right_after_a_takeover_counts_as_touched_too(gone):
    now = [100.0]
    store = WatchedResourceStore(MASKINPORTEN_CLIENT, FINALIZER, lambda: now[0], gone)
    store.assume_finalizers(until=110.0)
    store.offer(body(10))
    now[0] = 110.0
    store.offer(body(11, name="later", uid="later"))

    assert store.find(KEY).first_seen.had_finalizer
    assert not store.find(KEY._replace(name="later")).first_seen.had_finalizer


# Events and answers


def test_a_resource_not_seen_before_is_news(store):
    assert store.offer(body(10))
    assert version(store) == 10


def test_a_newer_event_is_news(store):
    store.offer(body(10))

    assert store.offer(body(11, generation=2))
    assert store.find(KEY).body["metadata"]["generation"] == 2


@pytest.mark.parametrize("older", [9, 10])
def test_an_older_event_and_a_repeated_one_are_ignored(store, older):
    store.offer(body(10))

    assert not store.offer(body(older, generation=7))
    assert store.find(KEY).body["metadata"]["generation"] == 1


def test_versions_are_compared_as_numbers(store):
    store.offer(body(99))

    assert store.offer(body(100))


def test_the_answer_to_our_write_replaces_an_older_event(store):
    store.offer(body(10))
    store.record_own_write(body(12, status={"clientID": "client-1"}))

    assert version(store) == 12
    assert store.find(KEY).body["status"] == {"clientID": "client-1"}


def test_the_echo_of_our_write_is_no_news(store):
    store.offer(body(10))
    store.record_own_write(body(12))

    assert not store.offer(body(11))
    assert not store.offer(body(12))


def test_an_answer_older_than_what_the_watch_showed_is_ignored(store):
    store.offer(body(13, generation=3))
    store.record_own_write(body(12))

    assert (version(store), store.find(KEY).body["metadata"]["generation"]) == (13, 3)


def test_an_event_newer_than_our_answer_is_news(store):
    store.offer(body(10))
    store.record_own_write(body(12))

    assert store.offer(body(13))


def test_an_answer_never_brings_back_what_is_gone(store):
    store.offer(body(10))
    store.remove(KEY, UID)
    store.record_own_write(body(12))

    assert store.find(KEY) is None


def test_an_answer_never_replaces_another_resource_of_the_name(store):
    store.offer(body(10, uid="new"))
    store.record_own_write(body(12, uid="old"))

    assert store.find(KEY).uid == "new"


def test_a_new_uid_replaces_the_old_one_which_counts_as_gone(store, gone):
    store.offer(body(10))
    first = store.find(KEY).first_seen

    assert store.offer(body(20, uid="new"))
    assert gone == [(KEY, UID)]
    assert store.find(KEY).uid == "new"
    assert store.find(KEY).first_seen.at > first.at


def test_a_late_event_of_an_earlier_uid_is_ignored(store, gone):
    store.offer(body(20, uid="new"))

    assert not store.offer(body(15, uid="old"))
    assert store.find(KEY).uid == "new"
    assert gone == []


def test_a_late_deletion_of_an_earlier_uid_is_ignored(store, gone):
    store.offer(body(20, uid="new"))
    store.remove(KEY, "old")

    assert store.find(KEY)
    assert gone == []


def test_a_deletion_is_told_with_key_and_uid(store, gone):
    store.offer(body(10))
    store.remove(KEY, UID)
    store.remove(KEY, UID)

    assert gone == [(KEY, UID)]
    assert len(store) == 0


# First seen


@pytest.mark.parametrize(("finalizers", "had_finalizer"), [([FINALIZER], True), (["other"], False), (None, False)])
def test_what_was_first_seen_tells_whether_our_finalizer_was_there(store, finalizers, had_finalizer):
    store.offer(body(10, finalizers=finalizers))

    assert store.find(KEY).first_seen.had_finalizer is had_finalizer


def test_what_was_first_seen_doesnt_change_with_later_versions(store):
    store.offer(body(10))
    first = store.find(KEY).first_seen
    store.offer(body(11, finalizers=[FINALIZER]))
    store.record_own_write(body(12, finalizers=[FINALIZER]))

    assert store.find(KEY).first_seen is first


@pytest.mark.parametrize("take_in", ["offer", "record_own_write"])
def test_a_new_generation_is_sighted_anew_and_the_first_mark_stays(store, take_in):
    store.offer(body(10))
    first = store.find(KEY).first_seen
    getattr(store, take_in)(body(11, generation=2, finalizers=[FINALIZER]))

    first_seen = store.find(KEY).first_seen
    assert first_seen.at > first.at
    assert first_seen.had_finalizer is False


def test_an_older_event_of_another_generation_is_not_first_seen(store):
    store.offer(body(10, generation=2))
    first = store.find(KEY).first_seen
    store.offer(body(9, generation=1))

    assert store.find(KEY).first_seen is first


# Has somebody changed it meanwhile?


def began(store, at=10, **metadata):
    store.offer(body(at, **metadata))
    return store.find(KEY).body


def test_a_resource_that_nobody_touched_hasnt_moved(store):
    assert not store.has_moved(KEY, began(store))


def test_our_own_writes_dont_count(store):
    before = began(store)
    store.record_own_write(body(11, finalizers=[FINALIZER]))
    store.offer(body(11, finalizers=[FINALIZER]))
    store.record_own_write(body(12, status={"clientID": "client-1"}))

    assert not store.has_moved(KEY, before)


def test_an_event_newer_than_all_our_writes_counts(store):
    before = began(store)
    store.record_own_write(body(11))
    store.offer(body(12))

    assert store.has_moved(KEY, before)


@pytest.mark.parametrize(
    "changed",
    [
        {"generation": 2},
        {"deletionTimestamp": "2026-03-02T00:00:00Z"},
        {"annotations": {"digdir.nais.io/rotate": "true"}},
    ],
    ids=["spec", "deletion", "annotation"],
)
def test_an_edit_that_only_our_answer_shows_counts(store, changed):
    before = began(store)
    store.record_own_write(body(12, **changed))

    assert store.has_moved(KEY, before)


def test_annotations_of_others_dont_count(store):
    before = began(store)
    store.record_own_write(body(12, annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}"}))

    assert not store.has_moved(KEY, before)


@pytest.mark.parametrize("name", ["nginx.ingress.kubernetes.io/server-snippet", "haproxy.org/backend-config-snippet"])
def test_what_is_passed_on_to_a_controller_is_kept_as_a_whole_up_to_a_limit(name):
    def kept(value):
        return trim(APPLICATION, body(12, annotations={name: value}))["metadata"]["annotations"][name]

    assert kept("x" * 4000) == "x" * 4000
    assert len(kept("x" * 100_000)) == 4097


def test_a_resource_that_is_gone_hasnt_moved(store):
    before = began(store)
    store.remove(KEY, UID)

    assert not store.has_moved(KEY, before)


def test_another_resource_of_the_name_has_moved(store):
    before = began(store)
    store.offer(body(20, uid="new"))

    assert store.has_moved(KEY, before)


# Rivals


def meta(**changes):
    return parse_meta(MASKINPORTEN_CLIENT, body(50, **changes))


def test_the_older_of_those_that_name_a_secret_is_the_rival(store):
    store.offer(body(10, name="young", uid="u1", creationTimestamp="2026-02-01T00:00:00Z"))
    store.offer(body(11, name="old", uid="u2", creationTimestamp="2025-01-01T00:00:00Z"))
    store.offer(body(12))

    assert store.find_rival(meta(), CLAIM) == (NAMESPACE, "old")


def test_the_oldest_has_no_rival(store):
    store.offer(body(10, name="young", uid="u1", creationTimestamp="2026-02-01T00:00:00Z"))
    store.offer(body(12))

    assert store.find_rival(meta(), CLAIM) is None


def test_of_two_of_one_age_exactly_one_has_a_rival(store):
    store.offer(body(10, name="one", uid="u1"))
    store.offer(body(11, name="two", uid="u2"))

    assert store.find_rival(meta(name="one", uid="u1"), CLAIM) is None
    assert store.find_rival(meta(name="two", uid="u2"), CLAIM) == (NAMESPACE, "one")


@pytest.mark.parametrize(
    "changes",
    [{"namespace": "other-team"}, {"secret": "other-secret"}, {"deletionTimestamp": "2026-03-02T00:00:00Z"}],
    ids=["namespace", "secret", "deletion"],
)
def test_one_elsewhere_or_with_another_secret_or_going_away_is_no_rival(store, changes):
    store.offer(body(10, name="old", uid="u1", creationTimestamp="2025-01-01T00:00:00Z", **changes))
    store.offer(body(12))

    assert store.find_rival(meta(), CLAIM) is None


def test_one_with_an_invalid_spec_is_no_rival_until_it_is_mended(store):
    older = {"name": "old", "uid": "u1", "creationTimestamp": "2025-01-01T00:00:00Z"}
    store.offer(exposing_body(10, exposed(atMaxAge=5), **older))
    store.offer(exposing_body(12, exposed()))
    assert store.find_rival(meta(), CLAIM) is None
    assert store.find_rival(meta(), SUBSCOPE) is None

    store.offer(exposing_body(13, exposed(atMaxAge=60), **older))

    assert store.find_rival(meta(), CLAIM) == store.find_rival(meta(), SUBSCOPE) == (NAMESPACE, "old")


def test_of_older_rivals_the_oldest_that_is_managed_counts(store):
    for number, (namespace, year) in enumerate([("left-alone", 2023), ("other-team", 2024), ("third-team", 2025)]):
        created = f"{year}-01-01T00:00:00Z"
        store.offer(
            exposing_body(10 + number, exposed(), uid=f"u{number}", namespace=namespace, creationTimestamp=created)
        )

    assert store.find_rival(meta(), SUBSCOPE) == ("left-alone", NAME)
    assert store.find_rival(meta(), SUBSCOPE, lambda name: name != "left-alone") == ("other-team", NAME)
    assert store.find_rival(meta(), SUBSCOPE, lambda name: name == NAMESPACE) is None


def test_one_that_names_another_secret_by_now_is_no_rival(store):
    store.offer(body(10, name="old", uid="u1", creationTimestamp="2025-01-01T00:00:00Z"))
    store.offer(body(12))
    store.offer(body(13, name="old", uid="u1", creationTimestamp="2025-01-01T00:00:00Z", secret="other-secret"))

    assert store.find_rival(meta(), CLAIM) is None
    assert store.find_claimants(NAMESPACE, SECRET) == (KEY,)
    assert store.find_claimants(NAMESPACE, "other-secret") == (Key(MASKINPORTEN_CLIENT, NAMESPACE, "old"),)


@pytest.fixture
def released(store):
    woken = []
    store.on_released = lambda keys: woken.append(set(keys))
    return woken


OTHER = Key(MASKINPORTEN_CLIENT, NAMESPACE, "other")


@pytest.mark.parametrize("take_in", ["offer", "record_own_write"])
def test_one_that_names_another_secret_by_now_is_told_to_those_that_name_the_old_one(store, released, take_in):
    store.offer(body(10))
    store.offer(body(11, name="other", uid="u2"))
    getattr(store, take_in)(body(12, secret="other-secret"))

    assert released == [{OTHER}]


def test_one_that_is_gone_is_told_to_those_that_name_its_secret(store, released):
    store.offer(body(10))
    store.offer(body(11, name="other", uid="u2"))
    store.offer(body(12, name="elsewhere", uid="u3", secret="other-secret"))
    store.remove(KEY, UID)

    assert released == [{OTHER}]


def test_a_secret_name_that_nobody_else_waits_for_is_given_up_quietly(store, released):
    store.offer(body(10))
    store.offer(body(11, generation=2))
    store.remove(KEY, UID)

    assert released == []


def test_one_that_is_gone_claims_nothing(store):
    store.offer(body(10))
    store.remove(KEY, UID)

    assert store.find_claimants(NAMESPACE, SECRET) == ()


@pytest.mark.parametrize("secret", [None, 5, ["a"]])
def test_a_secret_name_that_is_none_is_not_claimed(store, secret):
    store.offer(body(10, secret=secret))

    assert store.find(KEY)
    assert not store._by_claim


# Scopes, of which there is one in all namespaces

SUBSCOPE = claim_scope("arbeid:some.scope.read")
OLDER = {"creationTimestamp": "2025-01-01T00:00:00Z"}


def exposing_body(version, *scopes, **changes):
    one = body(version, **changes)
    one["spec"]["scopes"] = {"exposes": list(scopes)}
    return one


def test_the_older_of_those_that_expose_a_scope_is_the_rival_in_whatever_namespace(store):
    store.offer(exposing_body(10, exposed(), namespace="other-team", name="old", uid="u2", **OLDER))
    store.offer(exposing_body(12, exposed()))

    assert store.find_rival(meta(), SUBSCOPE) == ("other-team", "old")


def test_one_that_exposes_it_disabled_is_no_rival(store):
    store.offer(exposing_body(10, exposed(enabled=False), name="old", uid="u2", **OLDER))

    assert store.find_rival(meta(), SUBSCOPE) is None


def test_one_that_stops_exposing_a_scope_is_told_to_those_that_wait_for_it(store, released):
    store.offer(exposing_body(10, exposed()))
    store.offer(exposing_body(11, exposed(), name="other", uid="u2", secret="other-secret"))
    store.offer(exposing_body(12))

    assert released == [{OTHER}]


def test_one_that_still_exposes_a_scope_releases_nothing_by_another_edit(store, released):
    store.offer(exposing_body(10, exposed()))
    store.offer(exposing_body(11, exposed(), name="other", uid="u2", secret="other-secret"))
    store.offer(exposing_body(12, exposed(atMaxAge=60)))

    assert released == []


# Gaps


def test_after_a_gap_only_what_a_complete_list_has_is_kept(store, gone):
    store.offer(body(10))
    store.offer(body(11, name="other", uid="u2"))

    assert store.keep_only({"u2", "u3"}) == [KEY]
    assert gone == [(KEY, UID)]
    assert list(store) == [Key(MASKINPORTEN_CLIENT, NAMESPACE, "other")]


def test_the_client_ids_are_those_of_the_statuses(store):
    store.offer(body(10, status={"clientID": "client-1"}))
    store.offer(body(11, name="b", uid="u2"))
    store.offer(body(12, name="c", uid="u3", status={"clientID": ["junk"]}))

    assert list(map(set, store.known_client_ids())) == [{"client-1"}]


def test_the_client_id_of_one_in_a_namespace_that_isnt_managed_is_not_missed(store):
    store.offer(body(10, status={"clientID": "client-1"}))
    store.offer(body(11, uid="u2", namespace="left-alone", status={"clientID": "client-2"}))

    assert list(map(set, store.known_client_ids(lambda name: name != "left-alone"))) == [{"client-1"}]


def test_the_client_id_of_one_that_is_being_deleted_is_not_missed(store):
    store.offer(body(10, status={"clientID": "client-1"}))
    store.offer(body(11, name="b", uid="u2", status={"clientID": "client-2"}))
    store.offer(body(12, status={"clientID": "client-1"}, deletionTimestamp="2026-03-02T00:00:00Z"))

    assert list(map(set, store.known_client_ids())) == [{"client-2"}]


def test_a_client_that_several_name_is_known_until_none_does(store):
    store.offer(body(10, status={"clientID": "client-1"}))
    store.offer(body(11, name="b", uid="u2", status={"clientID": "client-1"}))
    store.offer(body(12, status={"clientID": "client-2"}))
    assert list(map(set, store.known_client_ids())) == [{"client-1", "client-2"}]

    store.remove(Key(MASKINPORTEN_CLIENT, "some-team", "b"), "u2")
    assert list(map(set, store.known_client_ids())) == [{"client-2"}]

    store.keep_only(())
    assert list(store.known_client_ids()) == []


def test_resources_have_in_common_what_is_the_same_in_them(store):
    condition = {"type": "Ready", "status": "True", "reason": "Synchronized", "message": "Everything is in place"}
    for number in range(2):
        status = {"clientID": f"client-{number}", "conditions": [dict(condition)]}
        store.offer(body(10 + number, name=f"app-{number}", uid=f"u{number}", status=status))
    first, second = (store.find(Key(MASKINPORTEN_CLIENT, NAMESPACE, f"app-{number}")).body for number in range(2))

    assert first["status"]["conditions"][0] is second["status"]["conditions"][0]
    assert first["metadata"]["finalizers"] is second["metadata"]["finalizers"]
    assert first["status"]["conditions"] == [condition]
    assert first["status"]["clientID"] == "client-0"


def test_only_what_decisions_may_depend_on_is_kept():
    metadata = {
        "managedFields": [{}],
        "labels": {"a": "b", "argocd.argoproj.io/instance": "x", "app.kubernetes.io/managed-by": "c"},
        "finalizers": ["others/finalizer", FINALIZER],
        "annotations": {"a": "b", "digdir.nais.io/preserve": "true", "digdir.nais.io/long": "x" * 100_000},
    }
    whole = body(10, **metadata) | {"kind": "MaskinportenClient"}
    whole["spec"] = {**whole["spec"], "foo": {"bar": 1}}
    whole["status"] = {"clientID": "some-id", "foo": {"bar": 1}}

    kept = trim(MASKINPORTEN_CLIENT, whole)

    before = body(10)
    written = {
        "annotations": {"digdir.nais.io/preserve": "true", "digdir.nais.io/long": "x" * 64},
        "labels": {"a": "b", "app.kubernetes.io/managed-by": "c"},
    }
    assert kept == {
        "metadata": {**before["metadata"], "finalizers": [FINALIZER], **written},
        "spec": before["spec"],
        "status": {"clientID": "some-id"},
        "unread": ["spec.foo"],
    }
    assert trim(MASKINPORTEN_CLIENT, kept) == kept


def test_of_an_application_s_maskinportenclient_enough_is_kept_to_see_that_it_is_as_it_should_be():
    consumes = {"consumes": [{"name": "skatt:some.scope"}]}
    application = parse_application(application_body({"maskinporten": {"enabled": True, "scopes": consumes}}))
    children = build_children(application.meta, application.spec, Platform(), None)
    (desired,) = [one for child, one in children.items() if child.kind == MASKINPORTEN_CLIENT]

    assert check_child(desired, trim(MASKINPORTEN_CLIENT, desired)) is None


def test_of_what_isnt_declared_a_bounded_number_of_paths_is_kept():
    whole = application_body({f"f{number}" + "x" * 1000: {} for number in range(100_000)})

    kept = trim(APPLICATION, whole)

    assert kept["spec"] == {}
    assert (len(kept["unread"]), {len(path) for path in kept["unread"]}) == (100, {80})
    assert parse_application(kept).unread == tuple(kept["unread"])


@pytest.mark.parametrize("odd", [None, 7, "text", [1], {"conditions": 7}, {"conditions": [7, None]}])
def test_a_spec_and_a_status_of_any_shape_are_taken_in(store, odd):
    store.offer(body(10) | {"spec": odd, "status": odd})

    assert store.find(KEY)
    assert isinstance(parse(store.find(KEY).body).spec, InvalidSpec)


# Whatever the order


@given(st.permutations(list(range(11, 17))), st.sets(st.integers(11, 16)))
def test_in_whatever_order_events_and_answers_arrive_the_newest_stays(order, ours):
    store = WatchedResourceStore(MASKINPORTEN_CLIENT, FINALIZER, lambda: 0.0, lambda *_: None)
    store.offer(body(10))
    newest = 10
    for number in order:
        if number in ours:
            store.record_own_write(body(number, generation=number))
            news = number > newest
        else:
            news = store.offer(body(number, generation=number))
        assert news == (number > newest)
        newest = max(newest, number)

    assert (version(store), store.find(KEY).body["metadata"]["generation"]) == (16, 16)


# Secrets


OF_SECRET, OF_DEPLOYMENT = (Key(kind, NAMESPACE, SECRET) for kind in (SECRET_KIND, DEPLOYMENT))


def test_the_echo_of_our_own_secret_is_no_news():
    versions = VersionStore()
    versions.record_own_write(OF_SECRET, 12)

    assert not versions.offer(OF_SECRET, 12)
    assert not versions.offer(OF_SECRET, 11)
    assert versions.own(OF_SECRET) == 12
    assert versions.offer(OF_SECRET, 13)


def test_a_secret_that_is_gone_is_news_when_it_comes_again():
    versions = VersionStore()
    versions.record_own_write(OF_SECRET, 12)
    versions.remove(OF_SECRET)

    assert list(versions) == []
    assert versions.own(OF_SECRET) == 0
    assert versions.offer(OF_SECRET, 11)


def test_objects_of_two_kinds_with_one_name_are_told_apart():
    versions = VersionStore()
    versions.record_own_write(OF_SECRET, 12)

    assert versions.offer(OF_DEPLOYMENT, 10)
    assert set(versions) == {OF_SECRET, OF_DEPLOYMENT}
    assert versions.own(OF_DEPLOYMENT) == 0
    versions.remove(OF_SECRET)
    assert OF_DEPLOYMENT in versions
    assert OF_SECRET not in versions


def test_a_store_names_its_resources_with_its_kind(store):
    assert store.key_of(body(10)) == KEY
    assert key_of(MASKINPORTEN_CLIENT, body(10)["metadata"]) == KEY


def test_whether_a_rival_is_valid_is_found_out_once_for_each_version(monkeypatch):
    judged = []
    monkeypatch.setattr(module, "has_valid_spec", lambda body: judged.append(body) or True)
    store = WatchedResourceStore(MASKINPORTEN_CLIENT, FINALIZER, lambda: 0.0, lambda *_: None)
    store.offer(resource_body())
    later = {"name": "later", "uid": "later", "creationTimestamp": "2026-02-01T00:00:00Z"}
    rival = parse_meta(MASKINPORTEN_CLIENT, resource_body(metadata=later))

    assert [store.find_rival(rival, CLAIM) for _ in range(3)] == [(NAMESPACE, NAME)] * 3
    assert len(judged) == 1
    store.offer(resource_body(metadata={"resourceVersion": "11"}))
    assert store.find_rival(rival, CLAIM)
    assert len(judged) == 2


@pytest.mark.parametrize(
    ("reason", "is_rolling_out"),
    [("RollingOut", True), ("RolloutFailed", True), ("MinimumReplicasAvailable", False), ("NoImage", False)],
)
def test_an_application_is_rolling_out_by_what_its_status_says(store, reason, is_rolling_out):
    applications = WatchedResourceStore(APPLICATION, FINALIZER, lambda: 0.0, lambda *_: None)
    application = application_body({})
    application["status"] = {"conditions": [{"type": "Available", "status": "False", "reason": reason}]}
    applications.offer(application)
    key = key_of(APPLICATION, application["metadata"])

    children = WatchedChildren(store, VersionStore(), None, applications)
    assert children.is_rolling_out(key.namespace, key.name) == is_rolling_out
    assert not children.is_rolling_out(key.namespace, "another")
    assert not WatchedChildren(store, VersionStore(), None).is_rolling_out(key.namespace, key.name)
