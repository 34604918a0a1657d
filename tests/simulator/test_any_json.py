"""Whatever JSON arrives, the simulator refuses it in the documented form or takes it; it never breaks."""

import contextlib
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from digdir_contract import load
from digdir_simulator import Settings, jws, scopes
from digdir_simulator.errors import ApiError, TokenError, to_json
from digdir_simulator.requests import complete_client, parse_client, parse_key, parse_keys, require_form
from digdir_simulator.tokens import _CLAIMS, _verify_claims

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # shared processors
SCOPE = {"prefix": "nav", "subscope": "s", "description": "d", "visibility": "PUBLIC"}
SCHEMAS = load().schemas
KEY = {"kty": "RSA", "kid": "k", "use": "sig", "alg": "RS256", "n": "AQAB", "e": "AQAB"}


def with_members(document, names):
    members = st.dictionaries(st.sampled_from(sorted(names)), ANY, max_size=4)
    return members.map(lambda changes: document | changes)


@patiently
@given(with_members({"client_name": "n", "description": "d", "integration_type": "maskinporten"}, SCHEMAS["Client"]))
def test_any_client_is_taken_or_refused(document):
    with contextlib.suppress(ApiError):
        json.loads(to_json(parse_client(complete_client(document))))


@patiently
@given(with_members(SCOPE, SCHEMAS["Scope"]))
def test_any_scope_is_taken_or_refused(document):
    with contextlib.suppress(ApiError):
        require_form("create-scope", document)
        json.loads(to_json(scopes.parse_fields(document, {"https://source.test/"})))


@patiently
@given(with_members(KEY, SCHEMAS["Key"]))
def test_any_key_is_taken_or_refused(jwk):
    with contextlib.suppress(ApiError):
        require_form("put-key", jwk)
        parse_key(jwk, None, 0)


@patiently
@given(ANY)
def test_any_set_of_keys_is_taken_or_refused(jwks):
    with contextlib.suppress(ApiError):
        require_form("replace-keys", {"keys": jwks})
        parse_keys(jwks, None, 0)


@patiently
@given(with_members({"aud": "i", "iss": "c", "iat": 0, "exp": 9, "scope": "a:b"}, _CLAIMS))
def test_any_claims_are_taken_or_refused(claims):
    with contextlib.suppress(TokenError):
        _verify_claims(claims, "i", Settings(), 1)


@patiently
@given(st.text() | st.lists(st.binary().map(jws.encode), max_size=4).map(".".join))
def test_any_text_is_a_token_or_malformed(text):
    with contextlib.suppress(jws.MalformedJwsError):
        jws.parse(text)
