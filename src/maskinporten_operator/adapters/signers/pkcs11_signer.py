"""Signs by a key on a PKCS#11 token: a hardware security module, or what stands for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pkcs11

from maskinporten_operator.adapters.signers.signer import SigningError
from maskinporten_operator.model.signer_reference import Pkcs11Uri

if TYPE_CHECKING:
    from maskinporten_operator.adapters.signers.signer import Signer

REFUSED_PIN = (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange)


class Pkcs11Signer:
    """A key on a token. Each signature has a session of its own: one that was kept may have ended with the token."""

    def __init__(self, uri: Pkcs11Uri) -> None:
        self._uri = uri
        self._refused_pin: str | None = None

    def sign(self, message: bytes) -> bytes:
        """Sign.

        A PIN that was refused isn't tried again, since a token locks itself after a few of those.

        Raises:
            SigningError: There is no signature.
        """
        pin = self._read_pin()
        if pin == self._refused_pin:
            raise SigningError("the token refused the PIN; it is tried again when the file of pin-source has another")
        try:
            token = pkcs11.lib(str(self._uri.module)).get_token(token_label=self._uri.token)
            with token.open(user_pin=pin) as session:
                key = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, label=self._uri.label, id=self._uri.key_id)
                return bytes(key.sign(message, mechanism=pkcs11.Mechanism.SHA256_RSA_PKCS))
        except REFUSED_PIN:
            self._refused_pin = pin
            raise SigningError("the token refused the PIN in the file of pin-source") from None
        except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
            raise SigningError(f"the PKCS#11 token doesn't sign ({type(error).__name__})") from None

    def _read_pin(self) -> str:
        try:
            return self._uri.pin_file.read_text().strip()
        except (OSError, ValueError):
            raise SigningError("the file of pin-source can't be read") from None


def open_signer(reference: str) -> Signer:
    """Give what signs by the key of an RFC 7512 URI.

    Raises:
        SigningError: The token's library isn't there.
    """
    uri = Pkcs11Uri.parse(reference)
    if not uri.module.is_file():
        raise SigningError("there is no library at the module-path of ADMIN_SIGNER")
    return Pkcs11Signer(uri)
