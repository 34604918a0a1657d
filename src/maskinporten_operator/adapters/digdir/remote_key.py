"""A key that somebody else holds, as python-jose takes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jose.backends.base import Key

from maskinporten_operator.adapters.signers.signer import SigningError

if TYPE_CHECKING:
    from jose.exceptions import JOSEError

    from maskinporten_operator.adapters.signers.signer import Signer


class RemoteKey(Key):
    """Signs by a signer, and so blocks."""

    def __init__(self, signer: Signer, algorithm: str) -> None:
        super().__init__(None, algorithm)
        self._signer = signer

    def sign(self, msg: bytes) -> bytes:
        """Sign.

        Raises:
            SigningError: There is no signature.
        """
        return self._signer.sign(msg)


def find_signing_error(error: JOSEError) -> SigningError | None:
    """Give the reason that python-jose had to say that nothing was signed, if it is a signer's."""
    cause = error.args[0] if error.args else None
    return cause if isinstance(cause, SigningError) else None
