"""What clients and keys in a request are, by the rules that the contract of the API can't say.

Rules from digdir docs: oidc_api_admin_maskinporten and oidc_func_clientreg.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from digdir_contract import Finding, Kind, Operation, check_body, load
from digdir_simulator import jws
from digdir_simulator.errors import ApiError, Problem
from digdir_simulator.state import Client, Key

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""The grant type of RFC 7523."""

MAX_KEYS = load().schemas["Keys"]["keys"].max_items or 0
"""A client has at most this many keys."""

MAX_LIFETIME_SECONDS = 365 * 24 * 3600
"""A key lives for at most a year from when it was last sent."""

MIN_BITS = 2048
"""Least length of a modulus; assumed."""

_OBJECT_NAMES = {"Key": "JsonWebKey", "Keys": "JsonWebKey", None: "Request"}
"""What error bodies call the schemas of the contract, where the name differs."""

_MACHINE_TO_MACHINE = frozenset({"krr", "maskinporten"})
"""Integration types whose clients authenticate by a key, and act for no user."""

_DEFAULTS: dict[str, Any] = {
    "application_type": "web",
    "scopes": [],
    "grant_types": [JWT_BEARER],
    "token_endpoint_auth_method": "private_key_jwt",
    "access_token_lifetime": 120,
    "authorization_lifetime": 7200,
    "refresh_token_lifetime": 600,
    "refresh_token_usage": "ONETIME",
}

_APART = frozenset({"client_id", "client_orgno", "supplier_orgno", "active"})
"""Members of a client that aren't among `Client.fields`."""

CLIENT_FIELDS = tuple(
    name for name, member in load().schemas["Client"].items() if not member.read_only and name not in _APART
)
"""Those that are."""

_SHOWN_MEMBERS = ("kty", "kid", "use", "alg", "n", "e", "x5c")


def find_refused(findings: Iterable[Finding], *, form_limits: bool) -> list[Finding]:
    """Return those for which a request is refused, `form_limits` telling whether the web form's limits hold."""
    return [one for one in findings if one.refused or (form_limits and one.kind is Kind.FORM_LIMIT)]


def refuse(findings: Iterable[Finding], operation: Operation) -> ApiError:
    """Return the refusal of a request for what is wrong with it."""
    name = _OBJECT_NAMES.get(operation.body, operation.body or "")
    problems = []
    for one in findings:
        member = one.name.rpartition(".")[2].removesuffix("[]")
        problems.append(Problem(f"{one.name or 'The request body'} {one.wrong}", member or None, name))
    return ApiError(400, *problems)


def require_form(operation_name: str, document: Any) -> None:
    """Refuse a document that the body of an operation couldn't be.

    Raises:
        ApiError: 400, with one entry for each thing that is wrong.
    """
    operation = load().operations[operation_name]
    refused = find_refused(check_body(operation, document), form_limits=False)
    if refused:
        raise refuse(refused, operation)


def parse_client(document: Mapping[str, Any], *, integration_type: str | None = None) -> dict[str, Any]:
    """Return the writable fields of a request with defaults for those it leaves out.

    Args:
        document: a request that keeps the contract; a member that is null counts as left out.
        integration_type: that of the existing client, which can't change.

    Raises:
        ApiError: 400, with one entry per wrong field.
    """
    given = {name: document[name] for name in CLIENT_FIELDS if document.get(name) is not None}
    problems = [
        Problem(f"{name} must not be empty", name) for name in ("client_name", "description") if not given[name].strip()
    ]
    if problems:
        raise ApiError(400, *problems)
    if integration_type not in {None, given["integration_type"]}:
        raise ApiError(400, Problem("integration_type can not be changed", "integration_type"))
    fields = _DEFAULTS | given
    fields["scopes"] = list(dict.fromkeys(fields["scopes"]))
    if fields["integration_type"] in _MACHINE_TO_MACHINE:
        _require_machine_to_machine(fields)
    return fields


def complete_client(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a client of a seed, which may leave out more than a request may, with what it leaves out.

    Raises:
        ApiError: 400, it is no client.
    """
    completed = {**_DEFAULTS, **document}
    require_form("create-client", completed)
    return completed


def _require_machine_to_machine(fields: Mapping[str, Any]) -> None:
    required = {
        "application_type": "web",
        "grant_types": [JWT_BEARER],
        "token_endpoint_auth_method": "private_key_jwt",
    }
    problems = [
        Problem(f"{name} must be {value} for integration_type {fields['integration_type']}", name)
        for name, value in required.items()
        if fields[name] != value
    ]
    if problems:
        raise ApiError(400, *problems)


def _problem(message: str, field: str) -> ApiError:
    return ApiError(400, Problem(message, field, "JsonWebKey"))


def parse_key(jwk: Mapping[str, Any], client: Client | None, now: float) -> Key:
    """Return the key that a JWK, which keeps the contract, describes, as registered at the instant `now`.

    A key that the client has already, same kid and same modulus, keeps its ``created``. Without
    ``exp`` the key lives for a year; a later ``exp`` is cut to that. A past ``exp`` is taken as it is.

    Raises:
        ApiError: 400, the JWK breaks a rule.
    """
    if jws.PRIVATE_MEMBERS & jwk.keys():
        raise _problem("The key has private members; send the public key only", "keys")
    try:
        bits = jws.public_key(jwk).key_size
    except jws.MalformedJwsError as error:
        raise _problem(f"The key is malformed: {error}", "n") from error
    if bits < MIN_BITS:
        raise _problem(f"The key must have at least {MIN_BITS} bits", "n")
    exp = jwk.get("exp")
    latest = int(now) + MAX_LIFETIME_SECONDS
    members = {name: jwk[name] for name in _SHOWN_MEMBERS if jwk.get(name) is not None}
    members.setdefault("alg", "RS256")
    before = client.key(jwk["kid"]) if client else None
    same = before is not None and (before.jwk["n"], before.jwk["e"]) == (jwk["n"], jwk["e"])
    return Key(
        jwk=members,
        exp=latest if exp is None else min(exp, latest),
        created=before.created if before is not None and same else now,
        last_updated=now,
    )


def parse_keys(jwks: Sequence[Mapping[str, Any]], client: Client | None, now: float) -> tuple[Key, ...]:
    """Return the keys of a JWK set that keeps the contract.

    Raises:
        ApiError: 400 for a wrong key, 409 for duplicates.
    """
    keys = tuple(parse_key(jwk, client, now) for jwk in jwks)
    require_distinct(keys)
    return keys


def require_distinct(keys: Sequence[Key]) -> None:
    """Refuse keys that can't be told apart.

    Raises:
        ApiError: 409, as is published.
    """
    for what, values in (
        ("kid", {key.kid for key in keys}),
        ("modulus", {key.jwk["n"] for key in keys}),
    ):
        if len(values) < len(keys):
            raise ApiError(409, Problem(f"Two keys have the same {what}", "keys", "JsonWebKey"))
