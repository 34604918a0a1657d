"""Signing by a PKCS#11 token, which SoftHSM stands for, up to the token that Maskinporten gives for it."""

import pytest

from maskinporten_operator.adapters.digdir.credentials import CredentialsError, SignerSource
from maskinporten_operator.adapters.signers.signer import SigningError, open_signer
from tests.signers.conftest import KID, MESSAGE, PIN


def test_a_token_signs_as_maskinporten_expects_it(uri, verify):
    verify(open_signer(uri).sign(MESSAGE))


def test_a_key_is_found_by_its_id_too(uri, verify):
    verify(open_signer(uri.replace("object=admin", "id=%a1")).sign(MESSAGE))


async def test_the_operator_gets_its_token_by_a_key_that_it_doesnt_hold(uri, digdir_of):
    digdir = digdir_of(SignerSource(uri, KID, None))

    await digdir.client.list_clients()

    assert digdir.count("token") == 1


async def test_many_calls_take_one_signature(uri, digdir_of, monkeypatch):
    source = SignerSource(uri, KID, None)
    signed = []
    sign = source._key.sign
    monkeypatch.setattr(source._key, "sign", lambda message: signed.append(message) or sign(message))
    digdir = digdir_of(source)

    for _ in range(5):
        await digdir.client.list_clients()

    assert len(signed) == 1


def test_a_pin_that_was_refused_isnt_tried_again_until_the_file_has_another(uri, pin_file, verify, monkeypatch):
    import pkcs11  # noqa: PLC0415 - of an extra

    pin_file.write_text("0000")
    signer = open_signer(uri)
    with pytest.raises(SigningError, match="refused the PIN"):
        signer.sign(MESSAGE)
    with monkeypatch.context() as patched:
        patched.setattr(pkcs11, "lib", lambda _: pytest.fail("the token was asked again, and may lock itself"))
        for _ in range(5):
            with pytest.raises(SigningError, match="tried again when the file"):
                signer.sign(MESSAGE)

    pin_file.write_text(PIN)
    verify(signer.sign(MESSAGE))


@pytest.mark.parametrize(
    ("of", "to", "said"),
    [
        ("token=operator", "token=other", "NoSuchToken"),
        ("object=admin", "object=other", "NoSuchKey"),
        ("pin-source=file:", "pin-source=file:/absent", "pin-source can't be read"),
    ],
)
def test_what_is_wrong_is_said_without_the_pin(uri, of, to, said):
    with pytest.raises(SigningError, match=said) as caught:
        open_signer(uri.replace(of, to)).sign(MESSAGE)

    assert PIN not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_library_that_isnt_there_is_told_at_the_start(uri, token):
    with pytest.raises(CredentialsError, match="no library at the module-path"):
        SignerSource(uri.replace(str(token), "/absent.so"), KID, None)
