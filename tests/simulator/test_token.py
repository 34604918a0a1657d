import httpx
import pytest
from jose import jwt

URL = "http://digdir.test"


@pytest.fixture
async def client_id(digdir, jwk):
    return await digdir.register(jwk, scopes=["skatt:some.scope", "nav:private/scope"], access_token_lifetime=300)


def refused(response, status, error, code, text):
    assert response.status_code == status, response.text
    body = response.json()
    assert body["error"] == error
    assert text in body["error_description"]
    assert " (trace_id: " in body["error_description"]
    assert body.get("error_uri") == (f"{URL}/errors/{code}" if code else None)
    return True


async def test_metadata_and_key_set_are_published(digdir):
    metadata = (await digdir.http.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["issuer"] == f"{URL}/"
    assert metadata["token_endpoint"] == f"{URL}/token"
    assert metadata["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    keys = (await digdir.http.get(metadata["jwks_uri"])).json()["keys"]
    assert keys[0]["kty"] == "RSA"
    assert "d" not in keys[0]


async def test_a_token_is_signed_by_a_published_key_and_has_the_documented_claims(digdir, client_id, clock, jwk):
    response = await digdir.ask_token(client_id, jwk, "skatt:some.scope")
    body = response.json()
    keys = (await digdir.http.get("/jwk")).json()
    claims = jwt.decode(body["access_token"], keys, algorithms=["RS256"], options={"verify_exp": False})
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 300, "skatt:some.scope")
    assert claims.pop("jti")
    assert claims == {
        "iss": f"{URL}/",
        "client_id": client_id,
        "client_amr": "private_key_jwt",
        "consumer": {"authority": "iso6523-actorid-upis", "ID": "0192:889640782"},
        "scope": "skatt:some.scope",
        "token_type": "Bearer",
        "iat": int(clock.now),
        "exp": int(clock.now) + 300,
    }


async def test_the_lowest_max_age_of_the_scopes_caps_the_lifetime(digdir, client_id, jwk):
    response = await digdir.ask_token(client_id, jwk, "skatt:some.scope nav:private/scope")
    assert response.json()["expires_in"] == 60


@pytest.mark.parametrize("resource", ["https://api.test", ["https://api.test", "https://other.test"]])
async def test_the_resource_becomes_the_audience(digdir, client_id, jwk, resource):
    response = await digdir.ask_token(client_id, jwk, "skatt:some.scope", resource=resource)
    assert jwt.get_unverified_claims(response.json()["access_token"])["aud"] == resource


async def test_the_issuer_may_stand_in_a_list_of_one(digdir, client_id, jwk):
    response = await digdir.ask_token(client_id, jwk, "skatt:some.scope", aud=[f"{URL}/"])
    assert response.status_code == 200


@pytest.mark.parametrize("aud", [URL, f"{URL}/token", [f"{URL}/", "https://other.test"], [], None])
async def test_any_other_audience_is_refused(digdir, client_id, jwk, aud):
    response = await digdir.ask_token(client_id, jwk, "skatt:some.scope", aud=aud)
    assert refused(response, 400, "invalid_grant", "MP-110", "Invalid JWT claim aud")


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ({"iat": 11}, ("invalid_grant", None, "Issue time is after now")),
        ({"iat": 0, "exp": 121}, ("invalid_grant", None, "too long lifetime")),
        ({"iat": -130, "exp": -10}, ("invalid_grant", "MP-130", "expired")),
    ],
)
async def test_instants_out_of_bounds_are_refused(digdir, client_id, jwk, offsets, expected):
    instants = {name: int(digdir.clock.now) + offset for name, offset in offsets.items()}
    response = await digdir.ask_token(client_id, jwk, "skatt:some.scope", **instants)
    assert refused(response, 400, *expected)


@pytest.mark.parametrize("instants", [{"iat": 10, "exp": 130}, {"iat": -129, "exp": -9}])
async def test_ten_seconds_of_skew_are_forgiven_or_none_if_so_set(digdir, client_id, clock, jwk, instants):
    instants = {name: int(clock.now) + offset for name, offset in instants.items()}
    assert (await digdir.ask_token(client_id, jwk, "skatt:some.scope", **instants)).status_code == 200
    await digdir.set(assertion_skew_seconds=0)
    assert (await digdir.ask_token(client_id, jwk, "skatt:some.scope", **instants)).status_code == 400


async def test_an_assertion_may_live_for_three_minutes_if_so_set(digdir, client_id, clock, jwk):
    await digdir.set(assertion_max_seconds=180)
    exp = int(clock.now) + 180
    assert (await digdir.ask_token(client_id, jwk, "skatt:some.scope", exp=exp)).status_code == 200
    assert (await digdir.ask_token(client_id, jwk, "skatt:some.scope", exp=exp + 1)).status_code == 400


@pytest.mark.parametrize("resource", ["https://api.test/#part", ["https://api.test/", "https://api.test/a#b"]])
async def test_a_resource_with_a_fragment_is_refused(digdir, client_id, jwk, resource):
    response = await digdir.ask_token(client_id, jwk, "skatt:some.scope", resource=resource)
    assert refused(response, 400, "invalid_target", None, "fragment")


async def test_the_metadata_have_the_types_of_authorization_details(digdir):
    metadata = (await digdir.http.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["authorization_details_types_supported"] == ["urn:altinn:systemuser", "urn:altinn:consent"]


@pytest.mark.parametrize(
    "changes",
    [{"iat": None}, {"exp": None}, {"scope": None}, {"scope": " "}, {"jti": 7}, {"sub": "x"}, {"iat": True}],
)
async def test_missing_wrong_and_undocumented_claims_are_refused(digdir, client_id, jwk, changes):
    claims = digdir.claims(client_id, "skatt:some.scope") | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    response = await digdir.exchange(digdir.sign(claims, jwk))
    assert refused(response, 400, "invalid_request", "MP-011", "Invalid assertion. Invalid parameter value")


async def test_not_before_is_tolerated(digdir, client_id, clock, jwk):
    response = await digdir.ask_token(client_id, jwk, "skatt:some.scope", nbf=int(clock.now))
    assert response.status_code == 200


async def test_an_assertion_serves_once_with_or_without_jti(digdir, client_id, jwk):
    for changes in ({}, {"jti": None}):
        assertion = digdir.sign(digdir.claims(client_id, "skatt:some.scope", **changes), jwk)
        assert (await digdir.exchange(assertion)).status_code == 200
        assert refused(await digdir.exchange(assertion), 400, "invalid_grant", "MP-012", "used before")


async def test_used_assertions_are_forgotten_when_they_have_expired(digdir, client_id, clock, jwk):
    for _ in range(3):
        await digdir.ask_token(client_id, jwk, "skatt:some.scope")
    assert len(digdir.simulator.used_grants) == 4
    clock.advance(129)
    await digdir.ask_token(client_id, jwk, "skatt:some.scope")
    assert len(digdir.simulator.used_grants) == 5
    clock.advance(131)
    await digdir.ask_token(client_id, jwk, "skatt:some.scope")
    assert len(digdir.simulator.used_grants) == 1


async def test_an_unknown_client_is_refused(digdir, jwk):
    response = await digdir.ask_token("unknown", jwk, "skatt:some.scope")
    assert refused(response, 400, "invalid_grant", "MP-100", "Client authentication failed")


async def test_a_deleted_client_is_refused(digdir, client_id, jwk):
    await digdir.admin("DELETE", f"/clients/{client_id}")
    response = await digdir.ask_token(client_id, jwk, "skatt:some.scope")
    assert refused(response, 400, "invalid_grant", "MP-100", "Client authentication failed")


async def test_an_unknown_kid_is_refused(digdir, client_id, other_jwk):
    response = await digdir.ask_token(client_id, other_jwk, "skatt:some.scope")
    assert refused(response, 400, "invalid_grant", None, "Unknown key identifier (kid) for client.")


async def test_a_signature_by_another_key_is_refused(digdir, client_id, jwk, other_jwk):
    assertion = digdir.sign(digdir.claims(client_id, "skatt:some.scope"), other_jwk, kid=jwk["kid"])
    assert refused(await digdir.exchange(assertion), 400, "invalid_grant", "MP-124", "signature")


async def test_a_key_past_its_exp_is_refused(digdir, client_id, clock, jwk):
    key = digdir.public(jwk, exp=int(clock.now) + 60)
    await digdir.admin("POST", f"/clients/{client_id}/jwks", json={"keys": [key]})
    assert (await digdir.ask_token(client_id, jwk, "skatt:some.scope")).status_code == 200
    clock.advance(60)
    response = await digdir.ask_token(client_id, jwk, "skatt:some.scope")
    assert refused(response, 400, "invalid_grant", "MP-121", "Expired key")


async def test_a_certificate_is_refused_for_a_client_with_keys(digdir, client_id, jwk):
    claims = digdir.claims(client_id, "skatt:some.scope")
    assertion = jwt.encode(claims, jwk, algorithm="RS256", headers={"x5c": ["MII="]})
    assert refused(await digdir.exchange(assertion), 400, "invalid_grant", "MP-123", "pre-registered JWK")


async def test_an_unsigned_assertion_is_refused(digdir, client_id, jwk):
    _, payload, _ = digdir.sign(digdir.claims(client_id, "skatt:some.scope"), jwk).split(".")
    response = await digdir.exchange(f"eyJhbGciOiJub25lIn0.{payload}.")
    assert refused(response, 400, "invalid_request", "MP-011", "alg")


async def test_a_scope_that_is_not_on_the_client_is_refused(digdir, client_id, jwk):
    response = await digdir.ask_token(client_id, jwk, "skatt:some.scope udir:some.open.scope")
    text = "Token request contains invalid scopes for client, udir:some.open.scope"
    assert refused(response, 400, "invalid_scope", "MP-200", text)


async def test_a_scope_of_another_integration_type_is_refused(digdir, jwk):
    await digdir.control("POST", "/scopes", {"name": "nav:for.users", "allowed_integration_types": ["idporten"]})
    scopes = ["nav:for.users"]
    await digdir.control(
        "POST", "/clients", digdir.client_request(client_id="c", scopes=scopes, keys=[digdir.public(jwk)])
    )
    response = await digdir.ask_token("c", jwk, "nav:for.users")
    assert refused(response, 400, "invalid_scope", "MP-201", "integration type maskinporten")


async def test_a_scope_whose_access_was_taken_back_is_refused(digdir, client_id, jwk):
    await digdir.control("POST", "/grants", {"scope": "skatt:some.scope", "state": "DENIED"})
    response = await digdir.ask_token(client_id, jwk, "skatt:some.scope")
    assert refused(response, 403, "forbidden", "MP-250", "has not been granted access to the scope skatt:some.scope")


async def test_a_consumer_must_have_delegated_the_scope(digdir, jwk):
    client_id = await digdir.register(jwk, scopes=["skatt:delegated.scope", "udir:some.open.scope"])
    response = await digdir.ask_token(client_id, jwk, "udir:some.open.scope", consumer_org="910753614")
    assert refused(response, 403, "forbidden", "MP-251", "has not delegated access")
    response = await digdir.ask_token(client_id, jwk, "udir:some.open.scope", consumer_org="889640782")
    assert refused(response, 400, "invalid_request", None, "own organization")
    response = await digdir.ask_token(client_id, jwk, "skatt:delegated.scope", consumer_org="910753614")
    claims = jwt.get_unverified_claims(response.json()["access_token"])
    assert claims["consumer"]["ID"] == "0192:910753614"
    assert claims["supplier"]["ID"] == "0192:889640782"
    assert claims["delegation_source"] == "https://www.altinn.no/"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "client_credentials", "assertion": "x"}, "unsupported_grant_type"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}, "invalid_request"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "x"}, "invalid_request"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "e30.e30.x"}, "invalid_grant"),
    ],
)
async def test_a_malformed_request_is_refused(digdir, form, error):
    response = await digdir.http.post("/token", data=form)
    assert response.status_code == 400
    assert response.json()["error"] == error


async def test_a_request_that_is_no_form_is_refused(digdir):
    response = await digdir.http.post("/token", json={"assertion": "x"})
    assert isinstance(response, httpx.Response)
    assert refused(response, 400, "invalid_request", None, "must be a form")
