"""The operations on a client's keys, ``/clients/{client_id}/jwks`` and ``…/key`` of v2.

Rules from digdir docs: oidc_api_admin_maskinporten and oidc_func_clientreg.
"""

import base64
import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from digdir_simulator import jws
from digdir_simulator.calls import Answer, Call, Digdir, Handler, deleted_answer
from digdir_simulator.clients import find_client, find_writable_client
from digdir_simulator.errors import ApiError, Problem, to_json
from digdir_simulator.requests import MAX_KEYS, parse_key, parse_keys, require_distinct, require_form
from digdir_simulator.state import Client, Key

_PEM_LABEL = re.compile(r"-----BEGIN ([A-Z ]+)-----")


def _problem(message: str, field: str, status: int = 400) -> ApiError:
    return ApiError(status, Problem(message, field, "JsonWebKey"))


def list_keys(digdir: Digdir, call: Call) -> Answer:
    """GET …/jwks: the key set; what is answered without keys is a setting."""
    client = find_client(digdir, call)
    if client.keys:
        return Answer.of(client.jwks_document)
    match digdir.settings.empty_jwks:
        case "not-found":
            raise ApiError(404, Problem(f"Client {client.client_id} has no keys", object_name="JsonWebKey"))
        case "empty-object":
            return Answer(200, b"{}")
        case "keys":
            return Answer.of(client.jwks_document)


def _store(digdir: Digdir, call: Call, client: Client, keys: tuple[Key, ...]) -> Client:
    client = replace(client, keys=keys)
    digdir.state.put_client(client, call.now)
    return client


def _require_unexpired(digdir: Digdir, keys: Iterable[Key], now: float) -> None:
    if not digdir.settings.expired_keys_accepted:
        problems = [Problem(f"Key {key.kid} has expired", "exp", "JsonWebKey") for key in keys if key.exp <= now]
        if problems:
            raise ApiError(400, *problems)


def replace_keys(digdir: Digdir, call: Call) -> Answer:
    """POST …/jwks: replace the whole set; a key to be kept must be sent again."""
    client = find_writable_client(digdir, call)
    keys = parse_keys(call.document["keys"], client, call.now)
    _require_unexpired(digdir, keys, call.now)
    return Answer.of(_store(digdir, call, client, keys).jwks_document)


def delete_keys(digdir: Digdir, call: Call) -> Answer:
    """DELETE …/jwks: remove every key, the only way to remove the last of them; without any, as is set."""
    client = find_writable_client(digdir, call)
    status = digdir.settings.missing_keys_deletion_status
    if not client.keys and status != 200:
        raise ApiError(status, Problem(f"Client {client.client_id} has no keys", object_name="JsonWebKey"))
    _store(digdir, call, client, ())
    return deleted_answer(digdir)


def _find_key(client: Client, call: Call) -> Key:
    key = client.key(call.params["kid"])
    if key is None:
        raise ApiError(404, Problem(f"Key {call.params['kid']} was not found", object_name="JsonWebKey"))
    return key


def read_key(digdir: Digdir, call: Call) -> Answer:
    """GET …/jwks/{kid}."""
    return Answer(200, to_json(_find_key(find_client(digdir, call), call).document))


def put_key(digdir: Digdir, call: Call) -> Answer:
    """PUT …/jwks/{kid}: add the key, or replace the one with this kid; other keys stay.

    That another kid in the body, or a sixth key, is refused with a 400 is assumed.
    """
    client = find_writable_client(digdir, call)
    kid = call.params["kid"]
    if call.document["kid"] != kid:
        raise _problem("kid must be that of the path", "kid")
    return _put(digdir, call, client, parse_key(call.document, client, call.now))


def _put(digdir: Digdir, call: Call, client: Client, key: Key) -> Answer:
    _require_unexpired(digdir, [key], call.now)
    others = tuple(other for other in client.keys if other.kid != key.kid)
    if len(others) >= MAX_KEYS:
        raise _problem(f"A client can have at most {MAX_KEYS} keys", "keys")
    require_distinct((*others, key))
    _store(digdir, call, client, (*others, key))
    return Answer(200, to_json(key.document))


def delete_key(digdir: Digdir, call: Call) -> Answer:
    """DELETE …/jwks/{kid}: remove one key."""
    client = find_writable_client(digdir, call)
    gone = _find_key(client, call)
    _store(digdir, call, client, tuple(key for key in client.keys if key is not gone))
    return deleted_answer(digdir)


def add_key(digdir: Digdir, call: Call) -> Answer:
    """POST /api/v2/…/key: add a key from a JWK, a public key in PEM or a certificate in PEM; other keys stay.

    That one without a kid gets a UUID, and one whose kid is there already is refused with a 409, is assumed.
    """
    client = find_writable_client(digdir, call)
    jwk = {"kid": str(uuid.uuid4()), "use": "sig"} | _parse_text(call.body)
    require_form("put-key", jwk)
    if client.key(jwk["kid"]) is not None:
        raise _problem("The client has a key with this kid already", "kid", 409)
    return _put(digdir, call, client, parse_key(jwk, client, call.now))


def _parse_text(body: bytes) -> dict[str, Any]:
    """Return the JWK that a text is or describes.

    Raises:
        ApiError: 400, it is neither a JWK nor PEM with a public RSA key or a certificate with one.
    """
    try:
        text = body.decode("ascii").strip()
        label = _PEM_LABEL.match(text)
        if label is None:
            return _require_object(json.loads(text))
        if label[1] != "CERTIFICATE":
            return _as_jwk(load_pem_public_key(body))
        certificate = x509.load_pem_x509_certificate(body)
        der = certificate.public_bytes(Encoding.DER)
        return _as_jwk(certificate.public_key()) | {"x5c": [base64.b64encode(der).decode()]}
    except (ValueError, RecursionError, UnsupportedAlgorithm) as error:
        raise _problem("The body is no JWK, public RSA key or certificate", "key") from error


def _require_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - one refusal for all that is no key
    return value


def _as_jwk(key: object) -> dict[str, Any]:
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("no RSA key")  # noqa: TRY004 - as above
    return {name: value for name, value in jws.as_public_jwk(key, "").items() if name != "kid"}


HANDLERS: dict[str, Handler] = {
    "list-keys": list_keys,
    "replace-keys": replace_keys,
    "delete-keys": delete_keys,
    "read-key": read_key,
    "put-key": put_key,
    "delete-key": delete_key,
    "add-key": add_key,
}
"""By the operation's name in the contract."""
