"""An application that knows nothing but its environment and files: it gets tokens, and tells where it can go.

It serves, on port 8080:

    /token          the claims of a new token, verified with the issuer's keys, or what Maskinporten answered;
                    ?from=files: with the credentials in the files, not those in the environment
    /credentials    the client id, and the key ids in the environment and in the files
    /dial?to=H:P    whether a connection to that address is open, refused, or doesn't come about
    /resolve?name=  the addresses of a name
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FILES = Path("/var/run/secrets/nais.io/maskinporten")
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SECONDS = 10


def get_token(values: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Get a token with these credentials, verify it, and give its claims."""
    key = jwt.PyJWK(json.loads(values["MASKINPORTEN_CLIENT_JWK"]))
    now = int(time.time())
    claims = {
        "iss": values["MASKINPORTEN_CLIENT_ID"],
        "aud": values["MASKINPORTEN_ISSUER"],
        "scope": values["MASKINPORTEN_SCOPES"],
        "iat": now,
        "exp": now + 60,
        "jti": str(uuid.uuid4()),
    }
    assertion = jwt.encode(claims, key.key, algorithm="RS256", headers={"kid": key.key_id})
    form = urllib.parse.urlencode({"grant_type": GRANT, "assertion": assertion}).encode()
    try:
        with urllib.request.urlopen(values["MASKINPORTEN_TOKEN_ENDPOINT"], form, timeout=SECONDS) as answer:  # noqa: S310
            token = json.load(answer)["access_token"]
    except urllib.error.HTTPError as error:
        return {"status": error.code, **json.load(error)}
    except OSError as error:
        return {"error": str(error)}
    keys = jwt.PyJWKClient(values["MASKINPORTEN_JWKS_URI"])
    issued = jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token).key,
        algorithms=["RS256"],
        issuer=values["MASKINPORTEN_ISSUER"],
        options={"verify_aud": False},
    )
    return {"status": 200, "claims": issued}


def read_files() -> dict[str, str]:
    """Read the credentials' files."""
    return {path.name: path.read_text() for path in FILES.glob("MASKINPORTEN_*")} if FILES.exists() else {}


def find_credentials() -> dict[str, Any]:
    """Give what tells credentials apart, and nothing secret."""
    found = {}
    for where, values in (("environment", os.environ), ("files", read_files())):
        jwk = values.get("MASKINPORTEN_CLIENT_JWK")
        found[where] = {
            "names": sorted(name for name in values if name.startswith("MASKINPORTEN_")),
            "client_id": values.get("MASKINPORTEN_CLIENT_ID"),
            "kid": json.loads(jwk)["kid"] if jwk else None,
        }
    return found


def dial(address: str) -> dict[str, Any]:
    """Try a connection."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            return {"open": True}
    except OSError as error:
        return {"open": False, "error": str(error)}


def resolve(name: str) -> dict[str, Any]:
    """Look a name up."""
    try:
        found = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
    except OSError as error:
        return {"error": str(error)}
    return {"addresses": sorted({str(address[0]) for *_, address in found})}


class Handler(BaseHTTPRequestHandler):
    """Answers in JSON."""

    def do_GET(self) -> None:
        """Answer."""
        path = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(path.query))
        answers: dict[str, Callable[[], dict[str, Any]]] = {
            "/": lambda: {"is": "here"},
            "/token": lambda: get_token(read_files() if query.get("from") == "files" else os.environ),
            "/credentials": find_credentials,
            "/dial": lambda: dial(query["to"]),
            "/resolve": lambda: resolve(query["name"]),
        }
        known = path.path in answers
        body = json.dumps(answers[path.path]() if known else {"error": "no such path"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep the log for what matters."""


def print_claims() -> None:
    """Print the claims of a token as soon as there is one."""
    while "claims" not in (answer := get_token()):
        print(json.dumps(answer), flush=True)
        time.sleep(1)
    print(json.dumps(answer["claims"]), flush=True)


if __name__ == "__main__":
    if "MASKINPORTEN_CLIENT_JWK" in os.environ:
        threading.Thread(target=print_claims, daemon=True).start()
    ThreadingHTTPServer(("", 8080), Handler).serve_forever()
