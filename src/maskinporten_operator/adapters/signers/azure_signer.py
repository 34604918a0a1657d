"""Signs by a key of Azure Key Vault or Managed HSM, with the default credential, such as a workload identity's."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm

from maskinporten_operator.adapters.signers.signer import CALL_SECONDS, SigningError

if TYPE_CHECKING:
    from maskinporten_operator.adapters.signers.signer import Signer

LIMITS: dict[str, Any] = {"connection_timeout": CALL_SECONDS, "read_timeout": CALL_SECONDS, "retry_total": 1}
"""Of each operation: a client's own limits hold only for a transport that it makes itself."""


class AzureSigner:
    """A version of a key in a vault."""

    def __init__(self, client: CryptographyClient) -> None:
        self._client = client

    def sign(self, message: bytes) -> bytes:
        """Sign.

        Raises:
            SigningError: There is no signature.
        """
        try:
            digest = sha256(message).digest()
            return bytes(self._client.sign(SignatureAlgorithm.rs256, digest, **LIMITS).signature)
        except HttpResponseError as error:
            raise SigningError(f"Azure Key Vault doesn't sign (HTTP {error.status_code})") from None
        except (AzureError, ValueError, NotImplementedError) as error:
            raise SigningError(f"Azure Key Vault doesn't sign ({type(error).__name__})") from None


def open_signer(reference: str) -> Signer:
    """Give what signs by the key of this identifier, with its version."""
    return AzureSigner(CryptographyClient(reference, DefaultAzureCredential()))
