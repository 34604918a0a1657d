"""Maskinporten: the token endpoint, its metadata and its key set, and the check of bearer tokens.

Rules from digdir docs: maskinporten_protocol_jwtgrant, maskinporten_protocol_token and
maskinporten_feilsoking; RFC 7523, RFC 6749, RFC 8414 and RFC 8707. The order of the checks is assumed.
"""

import hashlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from digdir_contract import load
from digdir_simulator import jws
from digdir_simulator.calls import Answer, Call, Digdir, may_use
from digdir_simulator.certificates import Chain, MalformedChainError
from digdir_simulator.config import Settings
from digdir_simulator.errors import TokenError, to_json
from digdir_simulator.requests import JWT_BEARER
from digdir_simulator.state import Client, Delegation, Key, Scope

DEFAULT_TOKEN_SECONDS = 120
"""Lifetime of an access token when the client has none."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_instant(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME


def _is_texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(map(_is_text, value)))


_CLAIMS: dict[str, Callable[[Any], bool]] = {
    "aud": _is_texts,
    "iss": _is_text,
    "iat": _is_instant,
    "exp": _is_instant,
    # Not documented, but production clients send it unharmed
    "nbf": _is_instant,
    "jti": _is_text,
    "scope": lambda value: _is_text(value) and bool(value.split()),
    "resource": _is_texts,
    "consumer_org": _is_text,
    "iss_onbehalfof": _is_text,
    "pid": _is_text,
}
"""The claims of an assertion and what they must be; undocumented claims are refused."""

_REQUIRED_CLAIMS = frozenset({"iat", "exp", "scope"})
_END_OF_TIME = 2**53


def metadata(public_url: str) -> bytes:
    """Return the authorization server metadata (RFC 8414, RFC 9396); DigDir's live document wasn't at hand."""
    return to_json(
        {
            "issuer": public_url + "/",
            "token_endpoint": public_url + "/token",
            "jwks_uri": public_url + "/jwk",
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": list(jws.HASHES),
            "grant_types_supported": [JWT_BEARER],
            "authorization_details_types_supported": list(load().authorization_details_types.values),
        }
    )


def _invalid_assertion(detail: str) -> TokenError:
    return TokenError("invalid_request", f"Invalid assertion. Invalid parameter value {detail}", code="MP-011")


def _invalid_grant(detail: str, code: str | None = None) -> TokenError:
    return TokenError("invalid_grant", f"Invalid assertion. Client authentication failed. {detail}", code=code)


def token(digdir: Digdir, call: Call) -> Answer:
    """POST /token: exchange a signed assertion for an access token (RFC 7523 section 2.1).

    Raises:
        TokenError: the assertion, or what it asks for, is refused.
    """
    assertion = _assertion(call)
    try:
        header, claims = jws.parse(assertion)
    except jws.MalformedJwsError as error:
        raise _invalid_assertion(f"assertion: {error}") from error
    client_id = claims.get("iss")
    call.client_id = client_id if isinstance(client_id, str) else None
    # Maskinporten sees what was registered a while ago
    seen = call.now - digdir.settings.propagation_delay_seconds
    client = digdir.state.client(client_id, seen) if isinstance(client_id, str) else None
    if client is None or not client.active:
        raise _invalid_grant("Unknown client.", "MP-100")
    _authenticate(digdir, assertion, header, client, call.now)
    _verify_claims(claims, digdir.issuer.identifier, digdir.settings, call.now)
    identifier = claims.get("jti") or hashlib.sha256(assertion.encode()).hexdigest()
    if not digdir.used_grants.use(
        client.client_id, identifier, claims["exp"] + digdir.settings.assertion_skew_seconds, call.now
    ):
        raise _invalid_grant("The grant has been used before", "MP-012")
    if JWT_BEARER not in client.fields["grant_types"]:
        raise TokenError("unauthorized_client", "The client may not use this grant type")
    names = claims["scope"].split()
    scopes = _registered_scopes(digdir, client, names, seen)
    consumer = claims.get("consumer_org")
    _require_access(digdir, client, scopes, consumer, seen)
    return _issue(digdir, client, scopes, claims, call.now)


def _assertion(call: Call) -> str:
    media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise TokenError("invalid_request", "The request must be a form")
    try:
        form = parse_qs(call.body.decode("ascii"), strict_parsing=True)
    except ValueError as error:
        raise TokenError("invalid_request", "The form is malformed") from error
    if form.get("grant_type") != [JWT_BEARER]:
        raise TokenError("unsupported_grant_type", f"grant_type must be {JWT_BEARER}")
    assertion = form.get("assertion", [])
    if len(assertion) != 1:
        raise TokenError("invalid_request", "The parameter assertion is required once")
    return assertion[0]


def _authenticate(digdir: Digdir, assertion: str, header: Mapping[str, Any], client: Client, now: float) -> None:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in jws.HASHES:
        raise _invalid_assertion("alg")
    if "x5c" in header:
        _verify_certificate(digdir, assertion, header, client, now)
    elif "kid" in header:
        _verify_key(assertion, header, client, now)
    else:
        raise _invalid_assertion("header: kid or x5c is required")


def _verify_certificate(digdir: Digdir, assertion: str, header: Mapping[str, Any], client: Client, now: float) -> None:
    if "kid" in header:
        raise _invalid_x5c("Only one of kid and x5c may be given")
    if client.keys:
        raise _invalid_x5c("The client requires a pre-registered JWK")
    try:
        chain = Chain(header["x5c"])
    except MalformedChainError as error:
        raise _invalid_x5c(str(error)) from error
    if not chain.leads_to(digdir.trusted) or not chain.is_valid(now):
        raise _invalid_grant("The certificate is not valid or not trusted", "MP-120")
    if chain.orgno != client.client_orgno:
        raise _invalid_grant("The certificate's organization number is not that of the client", "MP-122")
    if not jws.verifies(assertion, chain.public_key, header["alg"]):
        raise _invalid_grant("Invalid signature", "MP-124")


def _invalid_x5c(detail: str) -> TokenError:
    return _invalid_grant(f"Invalid header x5c. {detail}", "MP-123")


def _verify_key(assertion: str, header: Mapping[str, Any], client: Client, now: float) -> None:
    key: Key | None = client.key(header["kid"])
    if key is None:
        raise _invalid_grant("Unknown key identifier (kid) for client.")
    if not jws.verifies(assertion, key.public_key, header["alg"]):
        raise _invalid_grant("Invalid signature", "MP-124")
    if key.exp <= now:
        raise _invalid_grant("Expired key", "MP-121")


def _verify_claims(claims: Mapping[str, Any], issuer: str, settings: Settings, now: float) -> None:
    if claims.get("aud") not in (issuer, [issuer]):
        raise _invalid_grant("Invalid JWT claim aud", "MP-110")
    _verify_forms(claims)
    skew = settings.assertion_skew_seconds
    if claims["iat"] > now + skew:
        raise _invalid_grant("Issue time is after now")
    if claims.get("nbf", 0) > now + skew:
        raise _invalid_assertion("nbf")
    if claims["exp"] + skew <= now:
        raise _invalid_grant("JWT has expired", "MP-130")
    if claims["exp"] - claims["iat"] > settings.assertion_max_seconds:
        raise _invalid_grant("JWT has too long lifetime")
    resources = claims.get("resource", [])
    if any("#" in resource for resource in ([resources] if isinstance(resources, str) else resources)):
        raise TokenError("invalid_target", "The resource must not have a fragment")  # RFC 8707 section 2


def _verify_forms(claims: Mapping[str, Any]) -> None:
    """Refuse claims that are unknown, missing, or of a wrong type."""
    if "authorization_details" in claims:
        raise TokenError("invalid_authorization_details", "Unknown type of authorization_details", code="MP-301")
    unknown = claims.keys() - _CLAIMS.keys()
    if unknown:
        raise _invalid_assertion(f"claim {', '.join(sorted(unknown))}")
    for name, has_form in _CLAIMS.items():
        if not has_form(claims[name]) if name in claims else name in _REQUIRED_CLAIMS:
            raise _invalid_assertion(name)


def _registered_scopes(digdir: Digdir, client: Client, names: list[str], seen: float) -> list[Scope]:
    scopes = []
    for name in dict.fromkeys(names):
        scope = digdir.state.scope(name, seen)
        if name not in client.scopes or scope is None:
            raise TokenError(
                "invalid_scope", f"Token request contains invalid scopes for client, {name}", code="MP-200"
            )
        if not scope.active or not scope.allows(client.integration_type):
            raise TokenError(
                "invalid_scope",
                f"The scope {name} is not allowed for integration type {client.integration_type}",
                code="MP-201",
            )
        scopes.append(scope)
    return scopes


def _require_access(digdir: Digdir, client: Client, scopes: list[Scope], consumer_org: str | None, seen: float) -> None:
    supplier = client.client_orgno
    if consumer_org == supplier:
        raise TokenError("invalid_request", "consumer_org must not be the client's own organization")
    consumer = consumer_org or supplier
    for scope in scopes:
        if not may_use(digdir, consumer, scope, seen):
            raise TokenError(
                "forbidden",
                f"Consumer {consumer} has not been granted access to the scope {scope.name}",
                code="MP-250",
                status=403,
            )
        if consumer_org is None:
            continue
        delegated = Delegation(scope.name, consumer, supplier) in digdir.state.delegations
        if scope.delegation_source is None or not delegated:
            raise TokenError(
                "forbidden",
                f"Consumer {consumer} has not delegated access to the scope {scope.name} to supplier {supplier}",
                code="MP-251",
                status=403,
            )


def _organisation(orgno: str) -> dict[str, str]:
    """Return an organisation number as tokens have it; 0192 stands for Norway's register (ISO 6523)."""
    return {"authority": "iso6523-actorid-upis", "ID": f"0192:{orgno}"}


def _issue(digdir: Digdir, client: Client, scopes: list[Scope], request: Mapping[str, Any], now: float) -> Answer:
    lifetimes = [client.fields.get("access_token_lifetime") or DEFAULT_TOKEN_SECONDS]
    lifetimes += [scope.at_max_age for scope in scopes if scope.at_max_age]
    expires_in = min(lifetimes)
    names = " ".join(scope.name for scope in scopes)
    claims: dict[str, Any] = {
        "iss": digdir.issuer.identifier,
        "client_id": client.client_id,
        "client_amr": "private_key_jwt" if client.keys else "virksomhetssertifikat",
        "consumer": _organisation(request.get("consumer_org") or client.client_orgno),
        "scope": names,
        "token_type": "Bearer",
        "iat": int(now),
        "exp": int(now) + expires_in,
        "jti": str(uuid.uuid4()),
    }
    if request.get("resource"):
        claims["aud"] = request["resource"]
    if request.get("consumer_org"):
        claims["supplier"] = _organisation(client.client_orgno)
        claims["delegation_source"] = scopes[0].delegation_source
    if request.get("pid"):
        claims["pid"] = request["pid"]
    return Answer(
        200,
        to_json(
            {
                "access_token": digdir.issuer.sign(claims),
                "token_type": "Bearer",
                "expires_in": expires_in,
                "scope": names,
            }
        ),
        headers=(("cache-control", "no-store"),),
    )
