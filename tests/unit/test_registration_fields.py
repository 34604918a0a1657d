"""Which registration is the resource's, and what it should look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.registrations import Registration
from maskinporten_operator.model.scopes import Granted
from maskinporten_operator.plan.consumed_scopes import choose_scopes, sort_consumed
from maskinporten_operator.plan.registration_fields import (
    NOT_SENT,
    build_fields,
    check_description,
    choose,
    order_scopes,
    plan_update,
)
from maskinporten_operator.plan.registration_settings import RegistrationSettings
from tests.unit.fakes import DESCRIPTION, SCOPE, SETTINGS, registration, registration_fields, resource

OLD = registration(client_id="old", created="2020-01-01T00:00:00Z")
MIDDLE = registration(client_id="middle", created="2021-01-01T00:00:00Z")
NEW = registration(client_id="new", created="2022-01-01T00:00:00Z")
ALL = (NEW, OLD, MIDDLE)


def desired(spec=None, settings=SETTINGS):
    body = resource(spec=spec) if spec else resource()
    consumed = body.spec.consumed_scopes
    granted = Granted(frozenset(consumed))
    choice = choose_scopes(sort_consumed(consumed, granted, ()), consumed, None, settings.default_scope)
    return build_fields(body.spec, body.meta, settings, choice.wanted)


# The choice


def test_the_secrets_id_comes_first():
    assert choose(ALL, "new", "middle") is NEW


def test_the_statuss_id_comes_second():
    assert choose(ALL, None, "middle") is MIDDLE


def test_an_id_that_is_not_among_the_candidates_gives_way_to_the_next():
    assert choose(ALL, "released", "middle") is MIDDLE


def test_the_oldest_comes_third():
    assert choose(ALL, "released", None) is OLD


def test_of_candidates_without_a_date_the_dated_one_is_older():
    assert choose([registration(client_id="a", created=None), NEW]) is NEW


def test_of_candidates_of_one_age_the_choice_is_the_same_each_time():
    twins = [registration(client_id=name, created="2020-01-01T00:00:00Z") for name in "ba"]

    assert choose(twins).client_id == choose(reversed(twins)).client_id == "a"


def test_nothing_is_chosen_from_nothing():
    assert choose([], "some-id", None) is None


# Usable


@pytest.mark.parametrize(
    "changes",
    [{"active": False}, {"active": None}, {"active": "true"}, {"integration_type": "idporten"}],
    ids=str,
)
def test_an_inactive_client_and_one_of_another_type_are_not_usable(changes):
    assert registration().usable
    assert not registration(**changes).usable


def test_a_client_that_doesnt_say_whether_it_is_active_is():
    fields = registration_fields()
    del fields["active"]

    assert Registration("client-1", fields, ()).usable


# Our fields


def test_a_registration_has_the_specs_scopes_and_the_mark_of_its_owner():
    fields = desired({"secretName": "s", "scopes": {"consumes": [{"name": "b:b"}, {"name": "a:a"}]}})

    assert fields["scopes"] == ["b:b", "a:a"]
    assert fields["description"] == DESCRIPTION
    assert fields["client_name"] == "Some Organisation"


def test_the_specs_name_wins_over_the_configured_one():
    assert desired({"secretName": "s", "clientName": "Its own"})["client_name"] == "Its own"


def test_without_consumed_scopes_the_default_one_is_registered_if_there_is_one():
    with_default = RegistrationSettings(cluster="c", client_name="n", default_scope="some:default")

    assert desired({"secretName": "s"}, with_default)["scopes"] == ["some:default"]
    assert desired({"secretName": "s"})["scopes"] == []
    assert desired(settings=with_default)["scopes"] == [SCOPE]


# Drift


def test_a_registration_with_our_fields_hasnt_drifted():
    assert plan_update(registration(), desired()) is None


def test_scopes_are_compared_as_a_set():
    both = desired({"secretName": "s", "scopes": {"consumes": [{"name": "b:b"}, {"name": "a:a"}]}})

    assert plan_update(registration(scopes=["a:a", "b:b"]), both) is None
    assert plan_update(registration(scopes=["a:a"]), both)
    assert plan_update(registration(scopes=["a:a", "b:b", "c:c"]), both)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client_name", "Another"),
        ("access_token_lifetime", 120),
        ("scopes", ["other:scope"]),
        ("scopes", None),
        ("application_type", "native"),
        ("token_endpoint_auth_method", "client_secret_basic"),
        ("grant_types", []),
    ],
)
def test_each_of_our_fields_is_compared_and_named_when_it_differs(field, value):
    update = plan_update(registration(**{field: value}), desired())

    assert update.reason == f"{field} differ"
    assert update.client_id == "client-1"
    assert update.fields[field] == desired()[field]


def test_a_put_is_the_registration_as_read_with_our_fields_replaced():
    read = registration(scopes=["other:scope"], authorization_lifetime=42, some_new_field={"deep": [1]})

    sent = plan_update(read, desired()).fields

    assert sent == {name: value for name, value in read.fields.items() if name not in NOT_SENT} | desired()
    assert sent["some_new_field"] == {"deep": [1]}
    assert sent["authorization_lifetime"] == 42
    assert sent["active"] is True


@pytest.mark.parametrize("name", sorted(NOT_SENT))
def test_what_the_api_alone_sets_is_not_sent(name):
    assert name not in plan_update(registration(**{name: "read", "scopes": []}), desired()).fields


@pytest.mark.parametrize("name", ["authorization_lifetime", "refresh_token_lifetime"])
def test_a_lifetime_that_reads_zero_is_left_out_so_that_the_api_sets_its_default(name):
    assert name not in plan_update(registration(**{name: 0, "scopes": []}), desired()).fields
    assert plan_update(registration(**{name: 1, "scopes": []}), desired()).fields[name] == 1


def test_other_members_that_are_zero_or_empty_go_back_as_they_were_read():
    read = registration(some_number=0, logo_uri="", sso_disabled=False, scopes=[])

    sent = plan_update(read, desired()).fields

    assert (sent["some_number"], sent["logo_uri"], sent["sso_disabled"]) == (0, "", False)


@pytest.mark.parametrize(("length", "fits"), [(255, True), (256, False)])
def test_a_description_that_is_longer_than_digdir_takes_is_told_with_its_length(length, fits):
    error = check_description("c" * length)

    assert (error is None) is fits
    if error:
        assert "256 characters" in error.message


def test_that_nothing_but_the_scopes_differs_is_told_with_what_is_sent_if_they_are_refused():
    scopes_alone = plan_update(registration(scopes=["a:b"]), desired(), [("a:b",), ()])
    more = plan_update(registration(scopes=["a:b"], client_name="Another"), desired(), [("a:b",)])

    assert (scopes_alone.only_scopes, scopes_alone.fallbacks) == (True, (("a:b",), ()))
    assert (more.only_scopes, more.fallbacks) == (False, (("a:b",),))


def test_a_fields_change_by_others_is_no_drift():
    assert plan_update(registration(authorization_lifetime=1, logo_uri="http://logo.test/"), desired()) is None


names = st.lists(st.sampled_from([f"{letter}:{letter}" for letter in "abcdef"]), unique=True)


@given(names, names)
def test_the_written_order_is_kept_and_no_registered_scope_is_lost(registered, written):
    ordered = order_scopes(registered, written)

    assert sorted(ordered) == sorted(registered)
    assert [one for one in ordered if one in written] == [one for one in written if one in registered]


@given(names, names)
def test_the_order_of_scopes_doesnt_depend_on_the_apis(registered, written):
    assert order_scopes(registered, written) == order_scopes(reversed(registered), written)


def test_registered_scopes_that_nobody_wrote_come_last():
    assert order_scopes(["a:a", "z:z", "b:b"], ["z:z"]) == ("z:z", "a:a", "b:b")


def test_a_mark_is_cluster_namespace_and_name():
    assert SETTINGS.build_ownership(resource().meta) == "some-cluster:some-team:some-app"
