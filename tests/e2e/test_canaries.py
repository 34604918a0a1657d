"""The search for secrets in what these tests leave behind finds them, wherever and however they are told."""

import base64
import json

import httpx
import pytest

from maskinporten_operator.adapters.minting import mint_key
from maskinporten_operator.model.jwk import PrivateJwk
from tests.e2e.canaries import PRIVATE_MEMBERS, Canaries
from tests.e2e.stage import Stage

MEMBERS = json.loads(PrivateJwk("mpo-planted", mint_key()).serialize())


def encode(content):
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


HEADER, CLAIMS = encode(b'{"alg":"RS256"}'), encode(json.dumps({"iss": "some-client", "exp": 1_800_000_000}).encode())
SIGNATURE = encode(bytes(range(100, 200)))
TOKEN = f"{HEADER}.{CLAIMS}.{SIGNATURE}"


def as_base64(text, before=b""):
    return base64.b64encode(before + text.encode()).decode()


WAYS = {
    "as it is": lambda value: value,
    "its beginning": lambda value: value[:39],
    "its middle": lambda value: value[60:99],
    "among other characters": lambda value: f"key=prefix/{value}-suffix",
    "in JSON within JSON": lambda value: json.dumps(json.dumps({"x": value})),
    "in base64": as_base64,
    "in base64 after a character": lambda value: as_base64(value, b"x"),
    "in base64 of JSON": lambda value: as_base64(json.dumps({"xy": value})),
    "in base64 as DER has it": lambda value: base64.b64encode(b"x" + base64.urlsafe_b64decode(value + "==")).decode(),
}


@pytest.mark.parametrize("member", PRIVATE_MEMBERS)
@pytest.mark.parametrize("write", WAYS.values(), ids=WAYS)
def test_a_private_member_is_found_by_its_value_however_it_is_written(member, write):
    canaries = Canaries()
    canaries.add_jwk(MEMBERS)

    found = canaries.find(f"first line\nsecond {write(MEMBERS[member])} line", by_shape=False)

    assert found == [(2, f"{member} of key mpo-planted")]


@pytest.mark.parametrize("part", [CLAIMS, SIGNATURE], ids=["claims", "signature"])
def test_a_part_of_a_token_is_found_by_its_value(part):
    canaries = Canaries()
    canaries.add_token("access token 7", TOKEN)

    assert canaries.find(f"nothing\n{part}\n", by_shape=False) == [(2, "access token 7")]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"Bearer {TOKEN}", "what looks like a JWT"),
        (json.dumps(MEMBERS), "what looks like a private member of a JWK"),
        (json.dumps(json.dumps(MEMBERS)), "what looks like a private member of a JWK"),
        (str(MEMBERS), "what looks like a private member of a JWK"),
        (f"RsaKey(d='{MEMBERS['d']}')", "what looks like a private member of a JWK"),
        (as_base64(json.dumps(MEMBERS)), "what looks like a private member of a JWK, in base64"),
        ("-----BEGIN RSA PRIVATE KEY-----", "what looks like a private key in PEM"),
    ],
    ids=["a token", "JSON", "JSON within JSON", "a dict", "a model", "base64", "PEM"],
)
def test_a_secret_that_nobody_knows_is_found_by_its_shape(text, what):
    assert Canaries().find(text) == [(1, what)]


def test_what_everybody_may_know_is_no_find():
    canaries = Canaries()
    canaries.add_jwk(MEMBERS)
    canaries.add_token("access token", TOKEN)
    public = {name: MEMBERS[name] for name in ("kty", "kid", "alg", "use", "n", "e")}

    assert canaries.find(json.dumps(public)) == []
    assert canaries.find(f"{HEADER} {as_base64(json.dumps(public))} test-{'a-long-name-' * 9}") == []


@pytest.mark.e2e
def test_each_place_where_a_secret_is_told_is_found_and_the_secret_is_not_in_what_is_said(cluster, tmp_path):
    with Stage(cluster, tmp_path) as stage:
        stage.start_ready()
        stage.kube.create_namespace("canaries")
        stage.create_ready("canaries")
        assert stage.find_leaks() == []

        jwk = json.loads(stage.read_secret("canaries")["MASKINPORTEN_CLIENT_JWK"])
        grants = dict(stage.simulator.read_grants())
        plant_in_cluster(stage, jwk)
        plant_in_ledger(stage, grants["access token 1"])
        admin = json.loads(stage.simulator.admin_jwk_file.read_text())
        stage.restart(client_name=admin["dp"])
        with stage.operator.log.open("a") as log:
            log.write(f"{grants['assertion 1']}\n")
        leaks = stage.find_leaks()
        environment = f"environ-{stage.operator.popen.pid}"
        dig_up(stage)

        found = {(one.file, one.what) for one in leaks}
        assert found >= {
            ("maskinportenclients.nais.io", f"d of key {jwk['kid']}"),
            ("events.core", f"p of key {jwk['kid']}"),
            ("secrets.core", f"q of key {jwk['kid']}"),
            ("operator.log", "assertion 1"),
            ("operator.log", "what looks like a JWT"),
            ("ledger", "access token 1"),
            (environment, f"dp of key {admin['kid']}"),
        }
        assert not any(jwk[member] in str(leaks) for member in PRIVATE_MEMBERS)
        (line,) = (one.line for one in leaks if (one.file, one.what) == ("operator.log", "assertion 1"))
        assert grants["assertion 1"] in stage.operator.log.read_text().splitlines()[line - 1]


def plant_in_cluster(stage, jwk):
    """Tell of a key in a status, an Event and a Secret's annotation; the first goes again at once."""
    path = "/apis/nais.io/v1/namespaces/canaries/maskinportenclients/app/status"
    patch = {"status": {"conditions": [], "synchronizationHash": jwk["d"]}}
    stage.kube.request("PATCH", path, patch, "application/merge-patch+json")
    event = {
        "metadata": {"name": "planted", "namespace": "canaries"},
        "involvedObject": {"namespace": "canaries"},
        "message": as_base64(f"key: {jwk['p']}"),
    }
    stage.kube.request("POST", "/api/v1/namespaces/canaries/events", event)
    stage.patch_secret("canaries", {"metadata": {"annotations": {"told": json.dumps(jwk["q"])}}})


def dig_up(stage):
    """Leave nothing that the stages to come would find."""
    stage.operator.kill()
    stage.kube.request("DELETE", "/api/v1/namespaces/canaries/events/planted")
    stage.delete_secret("canaries")


def plant_in_ledger(stage, token):
    httpx.get(f"{stage.simulator.url}/api/v1/scopes/all?scope={token}", trust_env=False)
