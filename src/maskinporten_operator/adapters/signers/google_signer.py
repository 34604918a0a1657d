"""Signs by a key of Google Cloud KMS, with the application default credentials, such as Workload Identity's."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud import kms_v1

from maskinporten_operator.adapters.signers.signer import CALL_SECONDS, SigningError

if TYPE_CHECKING:
    from maskinporten_operator.adapters.signers.signer import Signer


class GoogleSigner:
    """A version of a key, of the algorithm RSA_SIGN_PKCS1_…_SHA256."""

    def __init__(self, name: str, client: kms_v1.KeyManagementServiceClient) -> None:
        self._name = name
        self._client = client

    def sign(self, message: bytes) -> bytes:
        """Sign.

        Raises:
            SigningError: There is no signature, or one by another key.
        """
        request = {"name": self._name, "digest": {"sha256": sha256(message).digest()}}
        try:
            answer = self._client.asymmetric_sign(request=request, timeout=CALL_SECONDS, retry=None)
        except (GoogleAPIError, GoogleAuthError) as error:
            raise SigningError(f"Google Cloud KMS doesn't sign ({type(error).__name__})") from None
        if answer.name != self._name:
            raise SigningError("Google Cloud KMS signed by another key")
        return bytes(answer.signature)


def open_signer(reference: str) -> Signer:
    """Give what signs by the key version of this name.

    Raises:
        SigningError: There are no application default credentials.
    """
    try:
        return GoogleSigner(reference, kms_v1.KeyManagementServiceClient())
    except (GoogleAPIError, GoogleAuthError) as error:
        raise SigningError(f"Google's default credentials can't be used ({type(error).__name__})") from None
