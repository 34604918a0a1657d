"""Assertions with a certificate: whose is trusted, and how each other one is refused."""

import base64
import contextlib
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from jose import jwt
from pydantic import ValidationError

from digdir_simulator import Config, create_app
from digdir_simulator.certificates import Chain, MalformedChainError
from tests.certificates import DAY, ORGNO, authority, common_name, ec_key, rsa_key, subject
from tests.simulator.conftest import PUBLIC_URL, Digdir, public
from tests.simulator.test_any_json import ANY
from tests.simulator.test_token import refused

SCOPE = "idporten:dcr.read"


@pytest.fixture(scope="module")
def root():
    return authority()


@pytest.fixture(scope="module")
def certified(root):
    return root.issue()


@pytest.fixture
def simulate(clock):
    @contextlib.asynccontextmanager
    async def simulate(trusted, **config):
        app = create_app(Config(public_url=PUBLIC_URL, trusted_certificates=trusted.chain_pem, **config), clock=clock)
        digdir = Digdir(app, clock, None)
        async with digdir.http:
            yield digdir

    return simulate


@pytest.fixture
async def digdir(simulate, root):
    async with simulate(root) as digdir:
        yield digdir


def ask(digdir, certified, client_id="admin-client", algorithm="RS256", **header):
    headers = {"x5c": certified.x5c} | header
    claims = digdir.claims(client_id, SCOPE)
    return digdir.exchange(jwt.encode(claims, certified.key_pem, algorithm, headers=headers))


@pytest.mark.parametrize("form", ["serialNumber", "organizationIdentifier"])
@pytest.mark.parametrize("algorithm", ["RS256", "RS512"])
async def test_an_organisations_certificate_serves_instead_of_a_key(digdir, root, form, algorithm):
    response = await ask(digdir, root.issue(subject(form=form)), algorithm=algorithm)

    assert response.status_code == 200, response.text
    assert jwt.get_unverified_claims(response.json()["access_token"])["client_amr"] == "virksomhetssertifikat"
    token = response.json()["access_token"]
    assert (await digdir.admin("GET", "/clients", token)).json()[0]["jwks"] == {"keys": []}


async def test_the_state_can_be_taken_out_and_put_back(digdir, certified):
    await digdir.control("PUT", "/state", await digdir.control("GET", "/state"))

    assert (await ask(digdir, certified)).status_code == 200


@pytest.mark.parametrize("sent", [slice(0, 1), slice(0, 2), slice(0, 3)], ids=str)
async def test_a_chain_may_end_anywhere_since_the_authorities_are_known(simulate, root, sent):
    between = root.issue(common_name("Between"), rsa_key(2), ca=True)
    certified = between.issue()
    async with simulate(between) as digdir:
        assert (await ask(digdir, certified, x5c=certified.x5c[sent])).status_code == 200


async def test_a_chain_leads_by_way_of_what_is_sent_to_what_is_trusted(digdir, root):
    certified = root.issue(common_name("Between"), rsa_key(2), ca=True).issue()

    assert (await ask(digdir, certified, x5c=certified.x5c[:2])).status_code == 200
    assert refused(await ask(digdir, certified, x5c=certified.x5c[:1]), 400, "invalid_grant", "MP-120", "not trusted")


async def test_the_organisations_own_certificate_may_be_the_only_one_that_is_trusted(simulate, root, certified):
    async with simulate(type(certified)(certified.key, certified.certificates[:1])) as digdir:
        assert (await ask(digdir, certified)).status_code == 200
        assert refused(await ask(digdir, root.issue()), 400, "invalid_grant", "MP-120", "not trusted")


async def test_nothing_is_trusted_unless_it_is_named(clock, certified, admin_jwk):
    app = create_app(Config(public_url=PUBLIC_URL, admin_jwk=public(admin_jwk)), clock=clock)
    digdir = Digdir(app, clock, admin_jwk)
    async with digdir.http:
        await digdir.control("POST", "/clients", digdir.client_request(client_id="c"))
        assert refused(await ask(digdir, certified, "c"), 400, "invalid_grant", "MP-120", "not trusted")


async def test_another_authority_of_the_same_name_is_not_trusted(digdir):
    response = await ask(digdir, authority(number=3).issue())

    assert refused(response, 400, "invalid_grant", "MP-120", "not trusted")


async def test_an_organisation_issues_no_certificates(digdir, certified):
    response = await ask(digdir, certified.issue(key=rsa_key(4)))

    assert refused(response, 400, "invalid_grant", "MP-120", "not trusted")


async def test_a_certificate_outside_its_dates_is_refused(digdir, root, clock):
    start = datetime.fromtimestamp(clock.now + 60, UTC)
    certified = root.issue(start=start, lasts=DAY)

    assert refused(await ask(digdir, certified), 400, "invalid_grant", "MP-120", "not valid")
    clock.advance(60)
    assert (await ask(digdir, certified)).status_code == 200
    clock.advance(DAY.total_seconds())
    assert refused(await ask(digdir, certified), 400, "invalid_grant", "MP-120", "not valid")


@pytest.mark.parametrize(
    "name",
    [
        subject("974761076"),
        subject("974761076", "organizationIdentifier"),
        common_name(ORGNO),
        x509.Name([*subject(), *subject("974761076", "organizationIdentifier")]),
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, ORGNO)]),
        x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, f"NTRNO-{ORGNO}")]),
        x509.Name([]),
    ],
    ids=lambda name: name.rfc4514_string() or "empty",
)
async def test_a_certificate_of_another_organisation_is_refused(digdir, root, name):
    response = await ask(digdir, root.issue(name))

    assert refused(response, 400, "invalid_grant", "MP-122", "organization number")


async def test_a_signature_by_another_key_is_refused(digdir, root, certified):
    response = await ask(digdir, certified, x5c=root.issue(key=rsa_key(5)).x5c)

    assert refused(response, 400, "invalid_grant", "MP-124", "signature")


async def test_a_chain_in_the_wrong_order_is_refused(digdir, certified):
    response = await ask(digdir, certified, x5c=certified.x5c[::-1])

    assert response.status_code == 400  # the authority is trusted, but it isn't the organisation


@pytest.mark.parametrize(
    "change",
    [
        lambda x5c: x5c[0],
        lambda _: [],
        lambda _: None,
        lambda _: [""],
        lambda _: ["MII="],
        lambda x5c: [*x5c, 5],
        lambda x5c: [x5c[0].replace("A", "-")],
        lambda x5c: [f"-----BEGIN CERTIFICATE-----\n{x5c[0]}\n-----END CERTIFICATE-----"],
        lambda x5c: {"0": x5c[0]},
    ],
)
async def test_x5c_is_an_array_of_certificates(digdir, certified, change):
    response = await ask(digdir, certified, x5c=change(certified.x5c))

    assert refused(response, 400, "invalid_grant", "MP-123", "Invalid header x5c")


async def test_a_certificate_for_a_key_that_isnt_rsa_is_refused(digdir, root, certified):
    response = await ask(digdir, certified, x5c=root.issue(key=ec_key()).x5c)

    assert refused(response, 400, "invalid_grant", "MP-123", "RSA")


async def test_a_header_with_kid_and_x5c_is_refused(digdir, certified):
    assert refused(await ask(digdir, certified, kid="k"), 400, "invalid_grant", "MP-123", "Only one of kid and x5c")


async def test_a_header_with_neither_is_refused(digdir, certified):
    assertion = jwt.encode(digdir.claims("admin-client", SCOPE), certified.key_pem, "RS256")

    assert refused(await digdir.exchange(assertion), 400, "invalid_request", "MP-011", "kid or x5c is required")


async def test_a_client_with_a_certificate_has_no_kid(digdir, jwk):
    response = await digdir.ask_token("admin-client", jwk, SCOPE)

    assert refused(response, 400, "invalid_grant", None, "Unknown key identifier (kid) for client.")


async def test_a_client_with_registered_keys_must_use_them(digdir, jwk, certified):
    client = digdir.client_request(client_id="c", keys=[public(jwk)])
    await digdir.control("POST", "/clients", client)

    assert refused(await ask(digdir, certified, "c"), 400, "invalid_grant", "MP-123", "pre-registered JWK")
    assert (await digdir.ask_token("c", jwk, "skatt:some.scope")).status_code == 200


async def test_a_client_of_another_organisation_needs_its_own_certificate(digdir, root, certified):
    other = digdir.client_request(client_id="c", client_orgno="974761076")
    await digdir.control("POST", "/clients", other)

    assert refused(await ask(digdir, certified, "c"), 400, "invalid_grant", "MP-122", "organization number")
    response = await ask(digdir, root.issue(subject("974761076")), "c")
    assert refused(response, 400, "invalid_scope", "MP-200", SCOPE)  # and so it was let in


@given(ANY)
def test_any_x5c_is_a_chain_or_malformed(x5c):
    with contextlib.suppress(MalformedChainError):
        Chain(x5c)


@pytest.mark.filterwarnings("ignore")  # the library warns of serial numbers that aren't positive, and the like
@given(st.data())
def test_a_certificate_with_some_bytes_changed_is_a_chain_or_malformed_and_never_trusted(root, certified, data):
    der = bytearray(certified.leaf.public_bytes(Encoding.DER))
    signed = certified.leaf.tbs_certificate_bytes
    position = der.index(signed) + data.draw(st.integers(0, len(signed) - 1))
    der[position] ^= data.draw(st.integers(1, 255))
    try:
        chain = Chain([base64.b64encode(der).decode(), *certified.x5c[1:]])
    except MalformedChainError:
        return
    assert not chain.leads_to(root.certificates)


@pytest.mark.parametrize("pem", ["", "no certificates", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_what_is_trusted_must_be_certificates(pem):
    with pytest.raises(ValueError, match="no certificates in PEM"):
        create_app(Config(trusted_certificates=pem))


def test_the_admin_client_has_a_key_or_a_certificate(admin_jwk, root):
    with pytest.raises(ValidationError, match="not both"):
        Config(admin_jwk=admin_jwk, trusted_certificates=root.chain_pem)
