"""What in the organisation belongs to which resource."""

from dataclasses import replace

import pytest

from maskinporten_operator.model.maskinportenclient import parse
from maskinporten_operator.model.registrations import Registration
from maskinporten_operator.model.scopes import RegisteredScope
from maskinporten_operator.plan.classification import classify, find_stale_consumers
from tests.specs import exposed
from tests.unit.fakes import SETTINGS, registration_fields, resource_body

SCOPE = "nav:arbeid:some.scope.read"


def resource(name="api", namespace="team", status=None, *scopes):
    metadata = {"namespace": namespace, "name": name, "uid": f"{namespace}-{name}"}
    spec = {"secretName": "some-secret", "scopes": {"exposes": list(scopes)}}
    return parse(resource_body(metadata=metadata, spec=spec, status=status or {}))


def client(client_id, description, **fields):
    return Registration(client_id, registration_fields(client_id=client_id, description=description, **fields), ())


def scope(name=SCOPE, description="by hand", *, active=True):
    subscope = name.partition(":")[2]
    return RegisteredScope(name, {"subscope": subscope, "description": description, "active": active})


def take(resources=(), clients=(), scopes=(), namespaces=()):
    found = classify(list(resources), list(clients), list(scopes), SETTINGS, namespaces)
    return [(str(one.state), one.kind, one.name, one.resource) for one in found.items]


def test_a_client_that_the_status_names_is_managed():
    client_1 = client("client-1", "some-cluster:team:api")

    assert take([resource(status={"clientID": "client-1"})], [client_1]) == [
        ("Managed", "client", "client-1", "team/api")
    ]


def test_a_client_described_as_a_resources_is_adoptable_and_the_older_is_chosen():
    clients = [
        client("younger", "some-cluster:team:api", created="2026-02-01T00:00:00Z"),
        client("older", "some-cluster:team:api", created="2026-01-01T00:00:00Z"),
    ]

    assert take([resource()], clients) == [
        ("Adoptable", "client", "older", "team/api"),
        ("Duplicate", "client", "younger", "team/api"),
    ]


def test_a_resource_without_a_client_and_a_scope_that_isnt_there_are_missing():
    assert take([resource("api", "team", None, exposed())]) == [
        ("Missing", "client", "", "team/api"),
        ("Missing", "scope", SCOPE, "team/api"),
    ]


def test_of_a_scope_that_is_written_twice_the_last_is_taken():
    twice = resource("api", "team", None, exposed(enabled=False), exposed(separator=":"))

    assert take([twice]).count(("Missing", "scope", SCOPE, "team/api")) == 1


def test_a_disabled_scope_that_isnt_there_isnt_missing():
    assert ("Missing", "scope", SCOPE, "team/api") not in take([resource("api", "team", None, exposed(enabled=False))])


def test_what_is_described_as_of_this_cluster_without_a_resource_is_orphaned():
    found = take(
        [],
        [client("client-1", "some-cluster:team:gone")],
        [scope(description="some-cluster:team:gone.arbeid:some.scope.read")],
    )

    assert found == [("Orphaned", "client", "client-1", ""), ("Orphaned", "scope", SCOPE, "")]


@pytest.mark.parametrize(
    "one",
    [
        client("client-1", "some-cluster:team:gone", active=False),
        client("client-1", "some-cluster:team:gone", integration_type="idporten"),
        client("client-1", "other-cluster:team:gone"),
        client("client-1", "some-cluster:team"),
        client("client-1", "some-cluster:team:gone:more"),
        client("client-1", "by hand"),
    ],
    ids=["inactive", "of another type", "of another cluster", "of two parts", "of four parts", "by hand"],
)
def test_another_client_is_nobodys_here(one):
    assert take([], [one]) == []


@pytest.mark.parametrize("form", ["some-cluster:team:api.arbeid:some.scope.read", "arbeid - some-cluster:team:api"])
def test_a_scope_described_as_a_resources_is_adoptable_by_either_scheme(form):
    assert ("Adoptable", "scope", SCOPE, "team/api") in take(
        [resource("api", "team", None, exposed())], [], [scope(description=form)]
    )


def test_a_scope_that_the_status_names_is_managed():
    status = {"clientID": "client-1", "exposedScopes": [{"name": SCOPE}]}
    owned = scope(description="some-cluster:team:api.arbeid:some.scope.read")

    assert ("Managed", "scope", SCOPE, "team/api") in take([resource("api", "team", status, exposed())], [], [owned])


def test_a_scope_that_is_somebody_elses_is_a_conflict_of_each_that_wants_it():
    resources = [resource("api", "team", None, exposed()), resource("owner", "other", None, exposed())]
    owned = scope(description="some-cluster:other:owner.arbeid:some.scope.read")

    found = take(resources, [], [owned])

    assert ("Conflict", "scope", SCOPE, "team/api") in found
    assert ("Adoptable", "scope", SCOPE, "other/owner") in found


@pytest.mark.parametrize(("active", "is_shown"), [(True, True), (False, False)])
def test_a_scope_that_left_the_spec_is_withdrawn_while_it_is_active(active, is_shown):
    owned = scope(description="some-cluster:team:api.arbeid:some.scope.read", active=active)

    assert (("Withdrawn", "scope", SCOPE, "team/api") in take([resource()], [], [owned])) == is_shown


def test_conflicts_come_first_and_what_is_as_it_should_be_last():
    resources = [
        resource("fine", "team", {"clientID": "client-1"}),
        resource("late", "team", None, exposed()),
    ]
    states = [one[0] for one in take(resources, [client("client-1", "some-cluster:team:fine")], [scope()])]

    assert states == ["Conflict", "Missing", "Managed"]


def test_what_concerns_nobody_here_is_counted():
    clients = [client("ours", "some-cluster:team:api"), client("theirs", "by hand"), client("gone", "x", active=False)]
    scopes = [
        scope("nav:one"),
        scope("nav:two", active=False),
        scope(description="some-cluster:team:gone.arbeid:some.scope.read"),
    ]

    found = classify([resource()], clients, scopes, SETTINGS)

    assert (found.foreign_clients, found.foreign_scopes) == (1, 1)


def test_a_scope_in_conflict_is_counted_neither_as_foreign_nor_twice():
    resources = [resource("api", "team", None, exposed()), resource("owner", "other", None, exposed())]
    scopes = [scope("nav:one"), scope(description="by hand")]

    assert classify(resources, [], scopes, SETTINGS).foreign_scopes == 1


def test_a_scope_that_is_missing_or_inactive_takes_nothing_from_the_foreign_ones():
    resources = [resource("api", "team", None, exposed(), exposed("not.there"))]
    inactive = scope(description="some-cluster:team:api.arbeid:some.scope.read", active=False)

    found = classify(resources, [], [inactive, scope("nav:one"), scope("nav:two")], SETTINGS)

    assert found.foreign_scopes == 2


def test_where_some_namespaces_are_managed_what_belongs_to_others_is_nobodys():
    clients = [client("client-1", "some-cluster:team:gone"), client("client-2", "some-cluster:other:gone")]

    assert take([], clients, (), ("team",)) == [("Orphaned", "client", "client-1", "")]


def test_a_resource_with_an_invalid_spec_still_has_its_client():
    invalid = replace(resource(status={"clientID": "client-1"}), spec=parse(resource_body(spec={})).spec)

    assert take([invalid], [client("client-1", "some-cluster:team:api")]) == [
        ("Managed", "client", "client-1", "team/api")
    ]


@pytest.mark.parametrize(
    ("fields", "stale"),
    [({"consumers": [{"orgno": "974761076"}]}, ("970018131",)), ({"enabled": False}, ())],
    ids=["enabled", "disabled"],
)
def test_the_consumers_that_an_adoption_would_take_access_from_are_told(fields, stale):
    resources = [resource("api", "team", None, exposed(**fields))]
    owned = scope(description="arbeid - some-cluster:team:api")
    (item,) = (one for one in classify(resources, [], [owned], SETTINGS).items if one.kind == "scope")

    assert find_stale_consumers(item, ["974761076", "970018131"], resources, SETTINGS) == stale
