import pytest


async def names(digdir, path, key="name"):
    response = await digdir.http.get(f"/api/v1{path}")
    assert response.status_code == 200
    return {document[key] for document in response.json()}


async def test_public_scopes_of_all_organisations_are_open_to_anyone(digdir):
    shown = await names(digdir, "/scopes/all")
    assert {"skatt:some.scope", "ks:not.granted", "nav:some/other/scope"} <= shown
    assert "nav:private/scope" not in shown
    assert "idporten:dcr.read" not in shown


async def test_a_scope_has_the_documented_fields(digdir):
    scope = next(
        s for s in (await digdir.http.get("/api/v1/scopes/all")).json() if s["name"] == "skatt:delegated.scope"
    )
    assert scope["prefix"] == "skatt"
    assert scope["subscope"] == "delegated.scope"
    assert scope["owner_orgno"] == "974761076"
    assert scope["delegation_source"] == "https://www.altinn.no/"
    assert scope["allowed_integration_types"] == ["maskinporten"]
    assert scope["active"] is True


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("accessible_for_all=true", {"udir:some.open.scope"}),
        ("prefix=ks", {"ks:not.granted"}),
        ("delegated_sources=true", {"skatt:delegated.scope"}),
        ("delegated_sources=TRUE", {"skatt:delegated.scope"}),
        ("delegated_sources=false&prefix=skatt", {"skatt:some.scope", "skatt:delegated.scope"}),
        ("integration_type=KRR", set()),
        ("prefix=ks&integration_type=MASKINPORTEN", {"ks:not.granted"}),
    ],
)
async def test_scopes_are_filtered_by_the_query(digdir, query, expected):
    assert await names(digdir, f"/scopes/all?{query}") == expected


@pytest.mark.violates
@pytest.mark.parametrize("parameter", ["delegated_sources", "accessible_for_all", "inactive"])
@pytest.mark.parametrize("word", ["https://www.altinn.no/", "1", "yes"])
async def test_a_word_that_is_no_boolean_is_refused(digdir, problems, parameter, word):
    response = await digdir.http.get("/api/v1/scopes/all", params={parameter: word})

    assert problems(response, 400)


async def test_own_scopes_are_listed_with_private_ones(digdir):
    shown = (await digdir.admin("GET", "/scopes")).json()
    assert {scope["name"] for scope in shown} == {"nav:some/other/scope", "nav:private/scope"}


async def test_accesses_given_to_me_are_listed_with_their_owner(digdir):
    accesses = {a["scope"]: a for a in (await digdir.admin("GET", "/scopes/access/all")).json()}
    access = accesses["skatt:some.scope"]
    assert (access["state"], access["consumer_orgno"]) == ("APPROVED", "889640782")
    assert access["owner_organization_name"] == "SKATTEETATEN"
    assert "skatt:delegated.scope" not in accesses
    assert "ks:not.granted" not in accesses


async def test_an_access_taken_back_is_kept_as_denied(digdir, problems):
    await digdir.control("POST", "/grants", {"scope": "skatt:some.scope", "state": "DENIED"})
    shown = (await digdir.admin("GET", "/scopes/access/all")).json()
    assert "skatt:some.scope" not in [a["scope"] for a in shown]
    shown = (await digdir.admin("GET", "/scopes/access/all?inactive=true")).json()
    assert ("skatt:some.scope", "DENIED") in [(a["scope"], a["state"]) for a in shown]
    assert problems(await digdir.admin("POST", "/clients", json=digdir.client_request()), 400)


async def test_a_grant_of_a_new_scope_makes_the_scope(digdir):
    grant = await digdir.control("POST", "/grants", {"scope": "ssb:new.scope", "owner_orgno": "971526920"})
    assert grant == {"scope": "ssb:new.scope", "consumer_orgno": "889640782", "state": "APPROVED"}
    assert (await digdir.create(scopes=["ssb:new.scope"]))["scopes"] == ["ssb:new.scope"]


async def test_delegation_sources_are_open_to_anyone(digdir):
    assert await names(digdir, "/delegationsources", "issuer") == {"https://www.altinn.no/"}
