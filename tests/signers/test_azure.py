"""Signing by Azure Key Vault: its own library, whose transport answers as the published API does.

No emulator of Azure's exists. What Azure checks beyond this, such as rights, isn't tried.
"""

import io
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
import requests
import urllib3
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport
from azure.keyvault.keys.crypto import CryptographyClient
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from requests.adapters import HTTPAdapter

from maskinporten_operator.adapters.signers.azure_signer import LIMITS, AzureSigner
from maskinporten_operator.adapters.signers.signer import SigningError
from tests.signers.conftest import MESSAGE

IDENTIFIER = "https://some-vault.vault.azure.net/keys/admin/0123456789abcdef0123456789abcdef"
CHALLENGE = 'Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"'


def decode(text):
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Vault(HTTPAdapter):
    """A vault that asks who one is, lets nobody read the key, and signs."""

    def __init__(self, key, status=200):
        super().__init__()
        self.key = key
        self.status = status
        self.asked = []

    def send(self, request, **options):
        self.asked.append((request.method, request.url.split("?")[0], options["timeout"]))
        if "Authorization" not in request.headers:
            return self.answer(request, 401, {}, {"WWW-Authenticate": CHALLENGE})
        if request.method == "GET":
            return self.answer(request, 403, {"error": {"code": "Forbidden", "message": "words of the provider"}})
        if self.status != 200:
            return self.answer(request, self.status, {"error": {"code": "Gone", "message": "words of the provider"}})
        asked = json.loads(request.body)
        assert asked["alg"] == "RS256"
        digest = utils.Prehashed(hashes.SHA256())
        signature = self.key.sign(decode(asked["value"]), padding.PKCS1v15(), digest)
        value = urlsafe_b64encode(signature).rstrip(b"=").decode()
        return self.answer(request, 200, {"kid": IDENTIFIER, "value": value})

    def answer(self, request, status, body, headers=None):
        content = io.BytesIO(json.dumps(body).encode())
        headers = {"Content-Type": "application/json", **(headers or {})}
        return self.build_response(
            request, urllib3.HTTPResponse(content, headers, status, preload_content=False, request_url=request.url)
        )


class Identity:
    def get_token(self, *scopes, **options):
        return AccessToken("a-token", int(time.time()) + 3600)


def open_vault(vault):
    session = requests.Session()
    session.mount("https://", vault)
    transport = RequestsTransport(session=session, session_owner=False)
    return AzureSigner(CryptographyClient(IDENTIFIER, Identity(), transport=transport))


def test_the_digest_is_signed_as_maskinporten_expects_it(key, verify):
    vault = Vault(key)

    verify(open_vault(vault).sign(MESSAGE))

    assert vault.asked[-1][:2] == ("POST", f"{IDENTIFIER}/sign")


def test_each_call_has_its_time(key):
    vault = Vault(key)
    open_vault(vault).sign(MESSAGE)

    assert {timeout for *_, timeout in vault.asked} == {(LIMITS["connection_timeout"], LIMITS["read_timeout"])}


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_told_by_its_status_alone(key, status):
    with pytest.raises(SigningError) as caught:
        open_vault(Vault(key, status)).sign(MESSAGE)

    assert str(caught.value) == f"Azure Key Vault doesn't sign (HTTP {status})"
