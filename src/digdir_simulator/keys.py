"""The operations on a client's keys, ``/clients/{client_id}/jwks``.

Rules from digdir docs: oidc_api_admin_maskinporten and oidc_func_clientreg.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from digdir_simulator import jws
from digdir_simulator.calls import DCR_MODIFY, DCR_READ, DCR_WRITE, Answer, Call, Operation
from digdir_simulator.clients import find_client, find_writable_client
from digdir_simulator.errors import ApiError, Problem, to_json
from digdir_simulator.state import Client, Key

if TYPE_CHECKING:
    from digdir_simulator.simulator import Simulator

MAX_KEYS = 5
"""A client has at most this many keys."""

MAX_LIFETIME_SECONDS = 365 * 24 * 3600
"""A key lives for at most a year from when it was last sent."""

MIN_BITS = 2048
"""Least length of a modulus; assumed."""

_KID = re.compile(r"[A-Za-z0-9._-]{1,255}")
_SHOWN_MEMBERS = ("kty", "kid", "use", "alg", "n", "e", "x5c")


def _problem(message: str, field: str) -> ApiError:
    return ApiError(400, Problem(message, field, "JsonWebKey"))


def parse_key(jwk: object, client: Client | None, now: float) -> Key:
    """Return the key that a JWK describes, as registered at the instant `now`.

    A key that the client has already, same kid and same modulus, keeps its ``created``. Without
    ``exp`` the key lives for a year; a later ``exp`` is cut to that. A past ``exp`` is taken as it is.

    Raises:
        ApiError: 400, the JWK breaks a rule.
    """
    if not isinstance(jwk, dict):
        raise _problem("A key must be a JSON object", "keys")
    _require_members(jwk)
    exp = jwk.get("exp")
    if exp is not None and (not isinstance(exp, int) or isinstance(exp, bool) or exp <= 0):
        raise _problem("exp must be a positive number of seconds since 1970", "exp")
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


def _require_members(jwk: Mapping[str, Any]) -> None:
    if jws.PRIVATE_MEMBERS & jwk.keys():
        raise _problem("The key has private members; send the public key only", "keys")
    if jwk.get("kty") != "RSA":
        raise _problem("kty must be RSA", "kty")
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise _problem("kid must be given, with only letters, digits and . _ -", "kid")
    if jwk.get("use") != "sig":
        raise _problem("use must be sig", "use")
    alg = jwk.get("alg")
    if alg is not None and not (isinstance(alg, str) and alg in jws.HASHES):
        raise _problem(f"alg must be one of {', '.join(jws.HASHES)}", "alg")
    x5c = jwk.get("x5c")
    if x5c is not None and not (isinstance(x5c, list) and all(isinstance(item, str) for item in x5c)):
        raise _problem("x5c must be a list of strings", "x5c")
    try:
        bits = jws.public_key(jwk).key_size
    except jws.MalformedJwsError as error:
        raise _problem(f"The key is malformed: {error}", "n") from error
    if bits < MIN_BITS:
        raise _problem(f"The key must have at least {MIN_BITS} bits", "n")


def parse_keys(jwks: object, client: Client | None, now: float) -> tuple[Key, ...]:
    """Return the keys of a JWK set.

    Raises:
        ApiError: 400 for an empty or too large set or a wrong key, 409 for duplicates.
    """
    if not isinstance(jwks, list) or not jwks:
        raise _problem("keys must have at least one key", "keys")
    if len(jwks) > MAX_KEYS:
        raise _problem(f"A client can have at most {MAX_KEYS} keys", "keys")
    keys = tuple(parse_key(jwk, client, now) for jwk in jwks)
    _require_distinct(keys)
    return keys


def _require_distinct(keys: Sequence[Key]) -> None:
    for what, values in (
        ("kid", {key.kid for key in keys}),
        ("modulus", {key.jwk["n"] for key in keys}),
    ):
        if len(values) < len(keys):
            raise ApiError(409, Problem(f"Two keys have the same {what}", "keys", "JsonWebKey"))


def list_keys(simulator: "Simulator", call: Call) -> Answer:
    """GET …/jwks: the key set; what is answered without keys is a setting, since it isn't documented."""
    client = find_client(simulator, call)
    if client.keys:
        return Answer.of(client.jwks_document)
    match simulator.settings.empty_jwks:
        case "not-found":
            raise ApiError(404, Problem(f"Client {client.client_id} has no keys", object_name="JsonWebKey"))
        case "empty-object":
            return Answer(200, b"{}")
        case "keys":
            return Answer.of(client.jwks_document)


def _store(simulator: "Simulator", call: Call, client: Client, keys: tuple[Key, ...]) -> Client:
    client = replace(client, keys=keys)
    simulator.state.put_client(client, call.now)
    return client


def replace_keys(simulator: "Simulator", call: Call) -> Answer:
    """POST …/jwks: replace the whole set; a key to be kept must be sent again."""
    document = call.document()
    client = find_writable_client(simulator, call)
    keys = parse_keys(document.get("keys"), client, call.now)
    return Answer.of(_store(simulator, call, client, keys).jwks_document)


def delete_keys(simulator: "Simulator", call: Call) -> Answer:
    """DELETE …/jwks: remove every key, the only way to remove the last of them."""
    _store(simulator, call, find_writable_client(simulator, call), ())
    return Answer(simulator.settings.deleted_status)


def _find_key(client: Client, call: Call) -> Key:
    key = client.key(call.params["kid"])
    if key is None:
        raise ApiError(404, Problem(f"Key {call.params['kid']} was not found", object_name="JsonWebKey"))
    return key


def read_key(simulator: "Simulator", call: Call) -> Answer:
    """GET …/jwks/{kid}."""
    return Answer(200, to_json(_find_key(find_client(simulator, call), call).document))


def put_key(simulator: "Simulator", call: Call) -> Answer:
    """PUT …/jwks/{kid}: add the key, or replace the one with this kid; other keys stay."""
    document = call.document()
    client = find_writable_client(simulator, call)
    kid = call.params["kid"]
    if document.setdefault("kid", kid) != kid:
        raise _problem("kid must be that of the path", "kid")
    key = parse_key(document, client, call.now)
    others = tuple(other for other in client.keys if other.kid != kid)
    if len(others) >= MAX_KEYS:
        raise _problem(f"A client can have at most {MAX_KEYS} keys", "keys")
    _require_distinct((*others, key))
    _store(simulator, call, client, (*others, key))
    return Answer(200, to_json(key.document))


def delete_key(simulator: "Simulator", call: Call) -> Answer:
    """DELETE …/jwks/{kid}: remove one key."""
    client = find_writable_client(simulator, call)
    gone = _find_key(client, call)
    _store(simulator, call, client, tuple(key for key in client.keys if key is not gone))
    return Answer(simulator.settings.deleted_status)


_READ = frozenset({DCR_READ})
_CHANGE = frozenset({DCR_WRITE, DCR_MODIFY})
_SET = "/clients/{client_id}/jwks"
_ONE = _SET + "/{kid}"

OPERATIONS = (
    Operation("list-keys", "GET", _SET, list_keys, _READ),
    Operation("replace-keys", "POST", _SET, replace_keys, _CHANGE),
    Operation("delete-keys", "DELETE", _SET, delete_keys, _CHANGE),
    Operation("read-key", "GET", _ONE, read_key, _READ),
    Operation("put-key", "PUT", _ONE, put_key, _CHANGE),
    Operation("delete-key", "DELETE", _ONE, delete_key, _CHANGE),
)
