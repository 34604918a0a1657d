import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from digdir_simulator import jws
from tests.certificates import authority

YEAR = 365 * 24 * 3600


@pytest.fixture
async def client(digdir):
    return f"/clients/{(await digdir.create())['client_id']}/jwks"


async def post(digdir, client, *keys):
    return await digdir.admin("POST", client, json={"keys": list(keys)})


async def kids(digdir, client):
    return [key["kid"] for key in (await digdir.admin("GET", client)).json()["keys"]]


@pytest.fixture(scope="session")
def six_keys():
    """Make RSA moduli that nobody can use but the simulator can't tell from others."""
    base = jws.new_private_jwk()
    modulus = int.from_bytes(jws.decode(base["n"]), "big")
    return [jws.public_jwk(base) | {"kid": f"key-{i}", "n": jws.encode_number(modulus - 2 * i)} for i in range(6)]


async def test_a_key_without_exp_gets_a_year(digdir, client, clock, jwk):
    key = (await post(digdir, client, digdir.public(jwk))).json()["keys"][0]
    assert key["exp"] == int(clock.now) + YEAR
    assert key["created"] == key["last_updated"]
    assert key["n"] == jwk["n"]


@pytest.mark.parametrize(("asked", "granted"), [(3600, 3600), (YEAR + 1, YEAR)])
async def test_exp_is_kept_up_to_a_year(digdir, client, jwk, asked, granted):
    response = await post(digdir, client, digdir.public(jwk, exp=int(digdir.clock.now) + asked))
    assert response.json()["keys"][0]["exp"] == int(digdir.clock.now) + granted


async def test_posting_a_key_again_renews_it_and_keeps_created(digdir, client, clock, jwk):
    before = (await post(digdir, client, digdir.public(jwk))).json()["keys"][0]
    clock.advance(90)
    after = (await post(digdir, client, digdir.public(jwk))).json()["keys"][0]
    assert after["exp"] == before["exp"] + 90
    assert after["created"] == before["created"]
    assert after["last_updated"] > before["last_updated"]


async def test_another_modulus_under_the_same_kid_is_a_new_key(digdir, client, clock, jwk, other_jwk):
    before = (await post(digdir, client, digdir.public(jwk))).json()["keys"][0]
    clock.advance(90)
    after = (await post(digdir, client, digdir.public(other_jwk, kid=jwk["kid"]))).json()["keys"][0]
    assert after["created"] > before["created"]


async def test_post_replaces_the_whole_set(digdir, client, jwk, other_jwk):
    await post(digdir, client, digdir.public(jwk))
    await post(digdir, client, digdir.public(other_jwk))
    assert await kids(digdir, client) == [other_jwk["kid"]]


@pytest.mark.violates
async def test_a_sixth_key_is_refused(digdir, client, six_keys, problems):
    assert problems(await post(digdir, client, *six_keys), 400) == ["keys must have at most 5 items"]
    assert (await post(digdir, client, *six_keys[:5])).status_code == 200
    assert problems(await digdir.admin("PUT", f"{client}/key-5", json=six_keys[5]), 400)
    assert len(await kids(digdir, client)) == 5


@pytest.mark.violates
@pytest.mark.parametrize(
    "change",
    [
        {"use": None},
        {"use": "enc"},
        {"kty": "EC"},
        {"alg": "ES256"},
        {"alg": ["RS256"]},
        {"kid": None},
        {"kid": ""},
        {"kid": "a b"},
        {"kid": "æ"},
        {"kid": 7},
        {"n": "AQAB"},
        {"n": "!"},
        {"e": None},
        {"exp": "soon"},
        {"exp": True},
        {"x5c": "MII="},
        {"d": "AQAB"},
    ],
)
async def test_a_key_that_breaks_a_rule_is_refused(digdir, client, jwk, problems, change):
    key = {name: value for name, value in digdir.public(jwk, **change).items() if value is not None}
    response = await post(digdir, client, key)
    assert problems(response, 400)
    assert response.json()["errors"][0]["objectName"] == "JsonWebKey"
    assert await kids(digdir, client) == []


@pytest.mark.violates
async def test_private_keys_are_refused(digdir, client, jwk, problems):
    assert "private" in problems(await post(digdir, client, jwk), 400)[0]


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512"])
async def test_the_three_rsa_algorithms_are_taken(digdir, client, jwk, alg):
    assert (await post(digdir, client, digdir.public(jwk, alg=alg))).json()["keys"][0]["alg"] == alg


@pytest.mark.violates
@pytest.mark.parametrize("body", [{}, {"keys": []}, {"keys": None}, {"keys": ["x"]}, {"keys": {}}])
async def test_an_empty_or_malformed_set_is_refused(digdir, client, problems, body):
    assert problems(await digdir.admin("POST", client, json=body), 400)


async def test_duplicates_are_a_conflict(digdir, client, jwk, other_jwk, problems):
    same_kid = [digdir.public(jwk), digdir.public(other_jwk, kid=jwk["kid"])]
    same_modulus = [digdir.public(jwk), digdir.public(jwk, kid="other")]
    assert problems(await post(digdir, client, *same_kid), 409) == ["Two keys have the same kid"]
    assert problems(await post(digdir, client, *same_modulus), 409) == ["Two keys have the same modulus"]


async def test_a_client_without_keys_has_an_empty_set(digdir, client, problems):
    assert (await digdir.admin("GET", client)).json() == {"keys": []}
    await digdir.set(empty_jwks="empty-object")
    assert (await digdir.admin("GET", client)).json() == {}
    await digdir.set(empty_jwks="not-found")
    assert problems(await digdir.admin("GET", client), 404)


async def test_single_keys_are_added_replaced_read_and_removed(digdir, client, jwk, other_jwk, problems):
    await post(digdir, client, digdir.public(jwk))
    path = f"{client}/{other_jwk['kid']}"
    added = await digdir.admin("PUT", path, json=digdir.public(other_jwk))
    assert added.status_code == 200
    assert await kids(digdir, client) == [jwk["kid"], other_jwk["kid"]]
    assert (await digdir.admin("GET", path)).json() == added.json()
    replaced = await digdir.admin("PUT", path, json=digdir.public(other_jwk, alg="RS512"))
    assert replaced.json()["alg"] == "RS512"
    assert (await digdir.admin("DELETE", path)).status_code == 200
    assert await kids(digdir, client) == [jwk["kid"]]
    assert problems(await digdir.admin("GET", path), 404)
    assert problems(await digdir.admin("DELETE", path), 404)


async def test_a_kid_that_is_not_that_of_the_path_is_refused(digdir, client, jwk, problems):
    assert problems(await digdir.admin("PUT", f"{client}/other", json=digdir.public(jwk)), 400)


async def test_deleting_the_set_removes_every_key(digdir, client, jwk):
    await post(digdir, client, digdir.public(jwk))
    assert (await digdir.admin("DELETE", client)).status_code == 200
    assert await kids(digdir, client) == []


async def test_posting_keys_takes_the_right_to_write_or_modify(digdir, client, jwk, problems):
    token = await digdir.admin_token("idporten:dcr.read")
    response = await digdir.admin("POST", client, token, json={"keys": [digdir.public(jwk)]})
    assert "idporten:dcr.write" in problems(response, 403)[0]


async def add(digdir, client, text):
    headers = {"authorization": f"Bearer {await digdir.admin_token()}", "content-type": "text/plain"}
    path = f"/api/v2{client.removesuffix('jwks')}key"
    return await digdir.http.post(path, content=text, headers=headers)


async def test_a_key_is_added_as_a_jwk_beside_the_others(digdir, client, jwk, other_jwk):
    await post(digdir, client, digdir.public(jwk))
    added = await add(digdir, client, json.dumps(digdir.public(other_jwk)))
    assert (added.status_code, added.json()["kid"]) == (200, other_jwk["kid"])
    assert await kids(digdir, client) == [jwk["kid"], other_jwk["kid"]]
    assert (await add(digdir, client, json.dumps(digdir.public(other_jwk)))).status_code == 409


async def test_a_key_is_added_as_a_public_key_or_certificate_in_pem(digdir, client, jwk):
    pem = jws.public_key(jwk).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    added = (await add(digdir, client, pem)).json()
    assert (added["n"], added["e"], added["use"]) == (jwk["n"], jwk["e"], "sig")
    certificate = (await add(digdir, client, authority().chain_pem)).json()
    assert len(certificate["x5c"]) == 1
    assert await kids(digdir, client) == [added["kid"], certificate["kid"]]


async def test_what_is_no_public_key_is_not_added(digdir, client, jwk, problems):
    private = jws.new_private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    elliptic = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = elliptic.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for text in (
        "",
        "[]",
        "{}",
        "\N{SNOWMAN}",
        private,
        pem,
        json.dumps(jwk),
        json.dumps(digdir.public(jwk, kid="a b")),
    ):
        assert problems(await add(digdir, client, text), 400)
    assert await kids(digdir, client) == []


async def test_expired_keys_are_refused_if_so_set(digdir, client, clock, jwk, other_jwk, problems):
    expired = digdir.public(jwk, exp=int(clock.now) - 1)
    assert (await post(digdir, client, expired, digdir.public(other_jwk))).status_code == 200
    await digdir.set(expired_keys_accepted=False)
    assert problems(await post(digdir, client, expired, digdir.public(other_jwk)), 400) == [
        f"Key {jwk['kid']} has expired"
    ]
    assert problems(await digdir.admin("PUT", f"{client}/{jwk['kid']}", json=expired), 400)
    assert (await post(digdir, client, digdir.public(other_jwk))).status_code == 200


@pytest.mark.parametrize("status", [200, 404, 409])
async def test_deleting_keys_where_there_are_none_is_answered_as_is_set(digdir, client, jwk, status):
    await digdir.set(missing_keys_deletion_status=status)
    assert (await digdir.admin("DELETE", client)).status_code == status
    await post(digdir, client, digdir.public(jwk))
    assert (await digdir.admin("DELETE", client)).status_code == 200
