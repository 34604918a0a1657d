"""Scopes that a client consumes: granted, granted later, never, and no longer."""

import httpx
import pytest

from tests.e2e.stage import DEFAULT_SCOPE, NUMBERS, SCOPE, exposed

pytestmark = pytest.mark.e2e

SETTINGS = {"grant_max_age": "2s", "resync_interval": "1h"}
KS = "971032146"
GRANTED = "krr:global/kontaktinformasjon.read"
OPEN, DELEGATED = "udir:some.open.scope", "skatt:delegated.scope"


@pytest.fixture
def foreign_scope(stage):
    """A scope of another organisation that nobody granted, of this test alone."""
    name = f"ks:scope{next(NUMBERS)}.read"
    stage.simulator.control("POST", "scopes", {"name": name, "owner_orgno": KS})
    return name


def grant(stage, scope, state="APPROVED"):
    stage.simulator.control("POST", "grants", {"scope": scope, "state": state, "owner_orgno": KS})


def test_granted_open_delegated_and_own_scopes_are_registered_in_the_order_written(stage, namespace):
    scopes = [OPEN, SCOPE, DELEGATED, DEFAULT_SCOPE, GRANTED]

    client = stage.create_ready(namespace, "app", *scopes)

    assert sorted(stage.registration(namespace)["scopes"]) == sorted(scopes)
    assert stage.read_secret(namespace)["MASKINPORTEN_SCOPES"] == " ".join(scopes)
    assert client["status"]["registeredScopes"] == scopes
    assert stage.find_condition(namespace, "app", "ScopesGranted")["status"] == "True"


def test_access_that_is_granted_later_is_noticed_without_an_edit(stage, namespace, foreign_scope):
    stage.create(namespace, "app", SCOPE, foreign_scope)
    stage.wait_for_reason(namespace, "app", "ScopesNotGranted")
    kids = stage.kids(namespace)

    grant(stage, foreign_scope)
    stage.wait_ready(namespace)

    assert sorted(stage.registration(namespace)["scopes"]) == sorted([SCOPE, foreign_scope])
    assert stage.read_secret(namespace)["MASKINPORTEN_SCOPES"] == f"{SCOPE} {foreign_scope}"
    assert stage.kids(namespace) == kids


def test_the_lists_are_read_for_all_together_and_not_for_each(stage, namespace, foreign_scope):
    since = stage.sequence
    names = [f"app-{number}" for number in range(10)]
    for name in names:
        stage.create(namespace, name, SCOPE, foreign_scope)
    for name in names:
        stage.wait_for_reason(namespace, name, "ScopesNotGranted")

    assert len(stage.calls("list-accesses-given-to-me", since)) <= 3


def test_an_own_scope_may_be_consumed_as_soon_as_it_is_exposed(stage, namespace):
    name = f"own{next(NUMBERS)}.read"
    stage.create(namespace, "app", SCOPE, f"nav:arbeid:{name}")
    stage.wait_for_reason(namespace, "app", "ScopesNotGranted")

    stage.expose_ready(namespace, "api", exposed(name))
    stage.wait_ready(namespace, "app")

    assert sorted(stage.registration(namespace)["scopes"]) == sorted([SCOPE, f"nav:arbeid:{name}"])


@pytest.mark.parametrize("evil", ["a:b/..%2f", "x" * 300 + ":y", "a b:c", "a:b?c", "a:b#c"], ids=lambda one: one[:12])
def test_a_name_that_is_none_is_refused_before_any_call(stage, namespace, evil):
    since = stage.sequence

    with pytest.raises(httpx.HTTPStatusError, match=r"spec\.scopes\.consumes"):
        stage.create(namespace, "app", SCOPE, evil)

    assert stage.sequence == since


def test_a_name_like_a_path_reaches_no_path_and_no_query(stage, namespace):
    evil, since = "a:../../scopes", stage.sequence

    stage.create(namespace, "app", SCOPE, evil)
    stage.wait_for_reason(namespace, "app", "ScopesNotGranted")

    calls = stage.simulator.control("GET", f"ledger?since={since}")["entries"]
    assert not [call for call in calls if ".." in call["path"] or ".." in call["query"]]
    assert stage.registration(namespace)["scopes"] == [SCOPE]
