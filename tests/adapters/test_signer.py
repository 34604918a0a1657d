"""Keys that others hold: what the operator makes of them, whoever that is."""

import asyncio
import threading
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from digdir_simulator import jws
from maskinporten_operator.adapters.digdir.auth import JwtGrantAuth
from maskinporten_operator.adapters.digdir.credentials import AdminCredentials, CredentialsError, SignerSource
from maskinporten_operator.adapters.signers import signer as signers
from maskinporten_operator.adapters.signers.signer import SigningError, SigningThread
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.model.signer_reference import PROVIDERS, Pkcs11Uri, find_provider
from tests.adapters.conftest import ADMIN_SCOPES, Digdir
from tests.certificates import authority, rsa_key

KID = "the-key-of-another"
NAMES = {
    "pkcs11": "pkcs11:token=a;object=b?module-path=/m.so&pin-source=file:/pin",
    "aws": "arn:aws:kms:eu-north-1:123456789012:key/0f0b3a46-5f60-4bd0-a5a3-b9a6a4b4c1f2",
    "google": "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",
    "azure": "https://v.vault.azure.net/keys/admin/0123456789abcdef0123456789abcdef",
}


class Holder:
    """Holds a key, and signs by it unless it is told not to."""

    def __init__(self, key):
        self.key = key
        self.threads = []
        self.error = None

    def sign(self, message):
        self.threads.append(threading.current_thread())
        if self.error:
            raise self.error
        return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())


@pytest.fixture
def holder(monkeypatch):
    holder = Holder(rsa_key(3))
    monkeypatch.setattr("maskinporten_operator.adapters.digdir.credentials.open_signer", lambda _: holder)
    return holder


@pytest.fixture
def source(holder):
    return SignerSource(NAMES["aws"], KID, None)


@pytest.fixture
async def digdir(source, holder):
    digdir = Digdir(source, admin_jwk=jws.as_public_jwk(holder.key.public_key(), KID))
    async with digdir.plain, digdir.http:
        yield digdir
    assert digdir.simulator.ledger.violating() == []


async def test_a_token_is_had_by_one_signature_beside_the_event_loop(digdir, holder):
    for _ in range(3):
        await digdir.client.list_clients()

    (thread,) = holder.threads
    assert thread is not threading.main_thread()
    assert thread.daemon  # one that hangs doesn't keep the process from ending


async def test_a_signer_that_fails_is_told_as_such_and_asked_again_later(digdir, holder):
    observed = []
    auth = JwtGrantAuth(digdir.plain, digdir.metadata, digdir.credentials, ADMIN_SCOPES, digdir.wall, observed.append)
    holder.error = SigningError("the token refused the PIN")
    with pytest.raises(TransientError) as caught:
        await auth.obtain_token()

    assert caught.value.reason == "SignerUnavailable"
    assert str(caught.value) == (
        "The operator's own token can't be asked for, since the token refused the PIN: "
        "a cluster admin must check ADMIN_SIGNER"
    )
    assert observed == ["unsigned"]
    assert digdir.count("token") == 0


async def test_a_signature_has_its_time_and_none_is_begun_beside_one_that_hangs():
    release = threading.Event()
    thread = SigningThread(seconds=0.01)
    for sign in (release.wait, lambda: pytest.fail("another thread was begun")):
        with pytest.raises(SigningError, match=r"no signature within 0\.01 s"):
            await thread.run(sign)

    release.set()
    thread._seconds = 10.0
    assert await thread.run(lambda: b"signed") == b"signed"


async def test_a_wait_that_is_cancelled_costs_the_next_one_nothing():
    release = threading.Event()
    thread = SigningThread()
    first = asyncio.create_task(thread.run(release.wait))
    while thread._idle.is_set():
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = asyncio.create_task(thread.run(lambda: b"signed"))
    await asyncio.sleep(0)
    release.set()

    assert await second == b"signed"


async def test_signatures_one_right_after_another_are_all_made():
    thread = SigningThread()

    assert [await thread.run(lambda: b"signed") for _ in range(100)] == [b"signed"] * 100


async def test_a_certificate_goes_with_a_key_that_another_holds(holder, tmp_path):
    certified = authority().issue(key=holder.key)
    path = tmp_path / "chain.pem"
    path.write_text(certified.chain_pem)
    source = SignerSource(NAMES["aws"], None, path)
    digdir = Digdir(source, trusted_certificates=certified.chain_pem)
    async with digdir.plain, digdir.http:
        await digdir.client.list_clients()

    assert await digdir.credentials.prove() is True
    assert datetime.fromtimestamp(digdir.credentials.expires, UTC) == certified.leaf.not_valid_after_utc


async def test_a_key_that_isnt_the_certificates_is_noticed_by_one_signature(holder, tmp_path):
    path = tmp_path / "chain.pem"
    path.write_text(authority().issue(key=rsa_key(4)).chain_pem)
    credentials = AdminCredentials("admin-client", SignerSource(NAMES["aws"], None, path))

    assert await credentials.prove() is False
    assert len(holder.threads) == 1


@pytest.mark.parametrize(("extra", "name"), NAMES.items())
def test_a_missing_library_is_told_with_its_extra_and_the_setting(monkeypatch, extra, name):
    def fail(module):
        assert module.endswith(f"{extra}_signer")
        raise ModuleNotFoundError

    monkeypatch.setattr(signers.importlib, "import_module", fail)
    with pytest.raises(CredentialsError) as caught:
        SignerSource(name, KID, None)

    assert str(caught.value).startswith("ADMIN_SIGNER names a key of")
    assert f"install requirements/{extra}.txt" in str(caught.value)


@pytest.mark.parametrize(("extra", "name"), NAMES.items())
def test_a_keys_own_name_tells_whose_it_is(extra, name):
    assert find_provider(name).extra == extra


@pytest.mark.parametrize("name", ["arn:aws:kms:eu-north-1:1:alias/", "https://v.vault.azure.net/keys/admin", "key"])
def test_a_name_that_isnt_a_keys_is_nobodys(name):
    assert find_provider(name) is None


def test_every_provider_is_tried():
    assert {one.extra for one in PROVIDERS} == set(NAMES)


def test_a_pkcs11_uri_is_percent_decoded():
    uri = Pkcs11Uri.parse("pkcs11:token=My%20token;id=%a1%FF?pin-source=/pin&module-path=/lib/m.so")

    assert (uri.token, uri.label, uri.key_id) == ("My token", None, b"\xa1\xff")
    assert (str(uri.module), str(uri.pin_file)) == ("/lib/m.so", "/pin")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("pkcs11:token=a?module-path=/m&pin-source=/p", "object or id"),
        ("pkcs11:object=a?module-path=/m&pin-source=/p", "must have token"),
        ("pkcs11:token=a;object=b?module-path=/m", "pin-source"),
        ("pkcs11:token=a;object=b?module-path=/m&pin-value=1234", "nothing else"),
        ("pkcs11:token=a;token=b;object=c?module-path=/m&pin-source=/p", "once"),
        ("pkcs11:token=a;object=b;type=cert?module-path=/m&pin-source=/p", "private key"),
    ],
)
def test_a_pkcs11_uri_that_cant_be_used_is_refused_without_quoting_it(uri, said):
    with pytest.raises(ValueError, match=said) as caught:
        Pkcs11Uri.parse(uri)

    assert "1234" not in str(caught.value)
