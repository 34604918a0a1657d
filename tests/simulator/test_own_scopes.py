"""Scopes that the organisation owns: made, read, changed, deleted; and its prefixes."""

import pytest

SKATT = "974761076"
ALTINN = "https://www.altinn.no/"


@pytest.fixture
async def their_token(digdir, jwk):
    """A token of another organisation with the admin scopes."""
    seed = digdir.client_request(
        client_orgno=SKATT,
        scopes=["idporten:scopes.read", "idporten:scopes.write"],
        keys=[digdir.public(jwk)],
    )
    client_id = (await digdir.control("POST", "/clients", seed))["client_id"]
    for scope in seed["scopes"]:
        await digdir.control("POST", "/grants", {"scope": scope, "consumer_orgno": SKATT})
    response = await digdir.ask_token(client_id, jwk, " ".join(seed["scopes"]))
    return response.json()["access_token"]


async def test_a_created_scope_has_its_name_owner_defaults_and_instants(digdir):
    scope = await digdir.create_scope()
    assert scope.pop("created") == scope.pop("last_updated")
    assert scope == {
        "name": "nav:pension",
        "prefix": "nav",
        "subscope": "pension",
        "description": "Pensions",
        "visibility": "PUBLIC",
        "owner_orgno": "889640782",
        "active": True,
        "token_type": "SELF_CONTAINED",
        "allowed_integration_types": [],
        "at_max_age": 0,
        "authorization_max_lifetime": 0,
        "accessible_for_all": False,
        "requires_user_consent": False,
        "requires_user_authentication": False,
        "requires_pseudonymous_tokens": False,
        "protected": False,
        "supports_european_businesses": False,
    }


async def test_every_writable_field_is_shown_as_it_was_sent(digdir):
    fields = {
        "description#nn": "Pensjonar",
        "long_description": "All about pensions",
        "long_description#en": "All about Norwegian pensions",
        "supports_european_businesses": True,
        "visibility": "PRIVATE",
        "token_type": "OPAQUE",
        "allowed_integration_types": ["maskinporten", "api_klient"],
        "at_max_age": 3600,
        "authorization_max_lifetime": 3600,
        "delegation_source": ALTINN,
        "accessible_for_all": True,
        "requires_user_consent": True,
        "requires_user_authentication": True,
        "requires_pseudonymous_tokens": True,
        "enforced_aud_for_access_token": "https://api.test",
    }
    assert fields.items() <= (await digdir.create_scope(**fields)).items()


async def test_a_created_scope_is_read_and_listed_alike(digdir):
    scope = await digdir.create_scope(subscope="a/b:c.d-e_f")
    assert (await digdir.read_scope("nav:a/b:c.d-e_f")).json() == scope
    assert scope in (await digdir.admin("GET", "/scopes")).json()
    assert scope in (await digdir.http.get("/api/v1/scopes/all")).json()


async def test_a_name_with_norwegian_letters_is_found_by_the_query(digdir):
    scope = await digdir.create_scope(subscope="små/ærlige.ønsker")
    assert (await digdir.read_scope("nav:små/ærlige.ønsker")).json() == scope
    assert [
        e["operation"] for e in (await digdir.control("GET", "/ledger?scope=nav:små/ærlige.ønsker"))["entries"]
    ] == [
        "create-scope",
        "read-scope",
    ]


async def test_a_private_scope_is_not_shown_to_others(digdir):
    scope = await digdir.create_scope(visibility="PRIVATE")
    assert scope in (await digdir.admin("GET", "/scopes")).json()
    assert scope not in (await digdir.http.get("/api/v1/scopes/all")).json()


@pytest.mark.violates
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prefix", None),
        ("prefix", 7),
        ("subscope", None),
        ("subscope", ""),
        ("subscope", "with space"),
        ("subscope", "a?b"),
        ("subscope", "é"),
        ("subscope", "a\n"),
        ("subscope", 7),
        ("description", None),
        ("description", " "),
        ("description", "x" * 256),
        ("description#nn", "x" * 256),
        ("long_description", "x" * 1024),
        ("visibility", "public"),
        ("token_type", "JWT"),
        ("allowed_integration_types", "maskinporten"),
        ("allowed_integration_types", ["MASKINPORTEN"]),
        ("allowed_integration_types", [None]),
        ("at_max_age", -1),
        ("at_max_age", 1.5),
        ("at_max_age", True),
        ("at_max_age", "30"),
        ("authorization_max_lifetime", -1),
        ("delegation_source", ""),
        ("delegation_source", "https://elsewhere.test/"),
        ("delegation_source", []),
        ("accessible_for_all", "true"),
        ("requires_user_consent", 1),
        ("requires_user_authentication", "no"),
        ("requires_pseudonymous_tokens", []),
        ("enforced_aud_for_access_token", 7),
        ("active", "yes"),
    ],
)
async def test_a_wrong_field_of_a_scope_is_refused_and_named(digdir, problems, field, value):
    response = await digdir.admin("POST", "/scopes", json=digdir.scope_request(**{field: value}))
    assert problems(response, 400)
    error = response.json()["errors"][0]
    assert (error["fieldIdentifier"], error["isFieldError"], error["objectName"]) == (field, True, "Scope")
    assert (await digdir.read_scope()).status_code == 404


@pytest.mark.violates
async def test_each_wrong_field_of_a_scope_is_named(digdir, problems):
    request = digdir.scope_request(description=None, visibility="x", at_max_age=-1)
    assert len(problems(await digdir.admin("POST", "/scopes", json=request), 400)) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"description": "æ" * 255},
        {"long_description": "ø" * 1023},
        {"at_max_age": 0},
        {"at_max_age": 1_000_000},
        {"subscope": "Små/Æbler:og_Åer-1.0"},
        {"allowed_integration_types": []},
        {"allowed_integration_types": ["ansattporten"]},
    ],
)
async def test_values_at_the_bounds_are_taken(digdir, fields):
    assert fields.items() <= (await digdir.create_scope(**fields)).items()


async def test_a_null_member_counts_as_left_out_and_is_not_shown(digdir):
    response = await digdir.admin(
        "POST", "/scopes", json=digdir.scope_request() | {"delegation_source": None, "token_type": None}
    )
    assert response.status_code == 201
    assert "delegation_source" not in response.json()
    assert response.json()["token_type"] == "SELF_CONTAINED"


@pytest.mark.violates
async def test_a_contradictory_name_and_unknown_members_are_ignored_on_creation(digdir):
    scope = await digdir.create_scope(name="other:name", owner_orgno="889640782", created="1999", unknown=1)
    assert (scope["name"], scope["owner_orgno"]) == ("nav:pension", "889640782")
    assert scope["created"] > "2"
    assert "unknown" not in scope


async def test_a_prefix_of_another_organisation_is_refused(digdir, problems):
    for prefix in ("skatt", "nobodys"):
        response = await digdir.admin("POST", "/scopes", json=digdir.scope_request(prefix=prefix))
        assert prefix in problems(response, 403)[0]


async def test_another_organisation_owns_what_it_makes_under_its_own_prefix(digdir, their_token, problems):
    response = await digdir.admin("POST", "/scopes", their_token, json=digdir.scope_request(prefix="skatt"))
    assert (response.status_code, response.json()["owner_orgno"]) == (201, SKATT)
    response = await digdir.admin("POST", "/scopes", their_token, json=digdir.scope_request())
    assert problems(response, 403)


async def test_a_name_is_taken_once_even_after_deletion(digdir, problems):
    await digdir.create_scope()
    assert problems(await digdir.admin("POST", "/scopes", json=digdir.scope_request()), 409)
    await digdir.delete_scope()
    assert problems(await digdir.admin("POST", "/scopes", json=digdir.scope_request()), 409)
    assert (await digdir.read_scope()).json()["active"] is False


async def test_the_status_of_creating_a_scope_can_be_set(digdir):
    await digdir.set(created_status=200)
    response = await digdir.admin("POST", "/scopes", json=digdir.scope_request())
    assert response.status_code == 200


async def test_a_scope_may_be_created_inactive(digdir):
    assert (await digdir.create_scope(active=False))["active"] is False


async def test_put_replaces_every_writable_field_of_a_scope(digdir, clock):
    before = await digdir.create_scope(at_max_age=60, long_description="long", accessible_for_all=True)
    clock.advance(5)
    response = await digdir.put_scope(description="New", active=True, token_type="OPAQUE")
    after = response.json()
    assert response.status_code == 200
    assert (after["description"], after["token_type"]) == ("New", "OPAQUE")
    assert (after["at_max_age"], after["accessible_for_all"]) == (0, False)
    assert "long_description" not in after
    assert (after["created"], after["owner_orgno"]) == (before["created"], before["owner_orgno"])
    assert after["last_updated"] > before["last_updated"]
    assert (await digdir.read_scope()).json() == after


async def test_put_without_active_makes_a_scope_inactive(digdir):
    await digdir.create_scope()
    assert (await digdir.put_scope()).json()["active"] is False
    assert (await digdir.put_scope(active=True)).json()["active"] is True
    assert (await digdir.put_scope(active=False)).json()["active"] is False


async def test_put_makes_a_deleted_scope_active_again(digdir):
    await digdir.create_scope()
    await digdir.delete_scope()
    assert (await digdir.put_scope(active=True)).json()["active"] is True
    assert "nav:pension" in [scope["name"] for scope in (await digdir.admin("GET", "/scopes")).json()]


@pytest.mark.parametrize(
    "change", [{"prefix": "other"}, {"subscope": "other"}, {"name": "nav:other"}, {"name": ""}, {"name": "nav:pension"}]
)
async def test_put_passes_over_another_name(digdir, change):
    before = await digdir.create_scope()
    response = await digdir.put_scope(active=True, **change)
    assert response.status_code == 200
    assert {name: response.json()[name] for name in ("name", "prefix", "subscope")} == {
        name: before[name] for name in ("name", "prefix", "subscope")
    }


async def test_a_scope_for_which_no_visibility_was_asked_is_public(digdir):
    assert (await digdir.create_scope(visibility=None))["visibility"] == "PUBLIC"


async def test_put_replaces_every_description_and_what_digdir_added_in_2025(digdir):
    await digdir.create_scope(**{"long_description#nn": "Pensjonar", "supports_european_businesses": True})
    after = (await digdir.put_scope(active=True)).json()
    assert "long_description#nn" not in after
    assert after["supports_european_businesses"] is False


async def test_a_scope_of_digdirs_own_visibility_is_not_listed_for_all(digdir):
    scope = await digdir.create_scope(visibility="INTERNAL")
    assert scope not in (await digdir.http.get("/api/v1/scopes/all")).json()


async def test_whether_a_scope_is_protected_only_digdir_decides(digdir):
    await digdir.control("POST", "/scopes", {"name": "nav:pension", "more": {"protected": True}})
    assert (await digdir.put_scope(active=True, protected=False)).json()["protected"] is True


@pytest.mark.violates
async def test_put_follows_the_rules_of_fields_too(digdir, problems):
    await digdir.create_scope()
    assert problems(await digdir.put_scope(visibility="SECRET"), 400)
    assert problems(await digdir.put_scope(description=None), 400)


async def test_a_deleted_scope_is_shown_inactive_and_not_erased(digdir, clock):
    before = await digdir.create_scope()
    clock.advance(5)
    response = await digdir.delete_scope()
    after = response.json()
    assert response.status_code == 200
    assert after["last_updated"] > before["last_updated"]
    assert after == before | {"active": False, "last_updated": after["last_updated"]}
    assert (await digdir.read_scope()).json() == after
    assert after not in (await digdir.admin("GET", "/scopes")).json()
    assert after in (await digdir.admin("GET", "/scopes?inactive=true")).json()
    assert after not in (await digdir.http.get("/api/v1/scopes/all")).json()
    assert after in (await digdir.http.get("/api/v1/scopes/all?inactive=true")).json()


async def test_a_scope_may_be_deleted_twice(digdir):
    await digdir.create_scope()
    await digdir.delete_scope()
    assert (await digdir.delete_scope()).json()["active"] is False


async def test_the_status_of_deleting_a_scope_can_be_set(digdir):
    await digdir.create_scope()
    await digdir.set(deleted_status=204)
    response = await digdir.delete_scope()
    assert (response.status_code, response.content) == (204, b"")


async def test_an_unknown_scope_is_not_found(digdir, problems):
    for response in (await digdir.read_scope(), await digdir.put_scope(), await digdir.delete_scope()):
        assert problems(response, 404) == ["Scope nav:pension was not found"]


async def test_a_scope_of_another_organisation_can_not_be_read_or_changed(digdir, problems):
    name = "skatt:some.scope"
    for response in (await digdir.read_scope(name), await digdir.put_scope(name), await digdir.delete_scope(name)):
        assert problems(response, 403)


@pytest.mark.violates
@pytest.mark.parametrize(("method", "path"), [("GET", "/scopes/scope"), ("PUT", "/scopes"), ("DELETE", "/scopes")])
async def test_a_call_that_names_no_scope_is_refused(digdir, problems, method, path):
    assert problems(await digdir.admin(method, path, json=digdir.scope_request()), 400)
    assert problems(await digdir.admin(method, f"{path}?scope=", json=digdir.scope_request()), 400)


async def test_own_prefixes_are_listed_with_their_owner(digdir):
    prefixes = (await digdir.admin("GET", "/prefix")).json()
    assert [(p["prefix"], p["owner_orgno"], p["organization_name"], p["active"]) for p in prefixes] == [
        ("nav", "889640782", "ARBEIDS- OG VELFERDSETATEN", True)
    ]
    assert prefixes[0]["created"] == prefixes[0]["last_updated"]


async def test_an_organisation_sees_its_own_prefixes_only(digdir, their_token):
    prefixes = (await digdir.admin("GET", "/prefix", their_token)).json()
    assert [p["prefix"] for p in prefixes] == ["skatt"]


@pytest.mark.parametrize("query", ["", "?inactive=true"])
async def test_all_prefixes_are_open_to_anyone(digdir, query):
    prefixes = (await digdir.http.get(f"/api/v1/prefix/all{query}")).json()
    assert {p["prefix"]: p["owner_orgno"] for p in prefixes} == {
        "nav": "889640782",
        "skatt": SKATT,
        "krr": "991825827",
        "udir": "970018131",
        "ks": "971032146",
        "idporten": "991825827",
    }


async def test_the_ledger_names_the_scope_that_a_call_concerns(digdir):
    await digdir.create_scope()
    await digdir.create_scope(subscope="other")
    await digdir.read_scope()
    await digdir.put_scope()
    await digdir.delete_scope()
    await digdir.admin("POST", "/scopes", json=digdir.scope_request())
    ledger = await digdir.control("GET", "/ledger?scope=nav:pension")
    assert [(e["operation"], e["status"]) for e in ledger["entries"]] == [
        ("create-scope", 201),
        ("read-scope", 200),
        ("update-scope", 200),
        ("delete-scope", 200),
        ("create-scope", 409),
    ]
    summary = await digdir.control("GET", "/ledger/summary?scope=nav:other")
    assert summary["operations"] == {"create-scope": {"201": 1}}


async def test_the_ledger_names_the_scope_of_a_creation_whose_answer_was_an_error(digdir):
    await digdir.fault(kind="status", when="after", path="/scopes$")
    await digdir.admin("POST", "/scopes", json=digdir.scope_request())
    entries = (await digdir.control("GET", "/ledger?scope=nav:pension"))["entries"]
    assert [(e["operation"], e["status"]) for e in entries] == [("create-scope", 503)]
    assert (await digdir.read_scope()).status_code == 200
