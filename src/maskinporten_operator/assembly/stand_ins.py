"""What takes the place of the ports of a pass that plans alone, where nothing depends on the real ones."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Literal

from maskinporten_operator.adapters.minting import mint_key
from maskinporten_operator.model.tokens import TokenAnswer, Trial

if TYPE_CHECKING:
    from maskinporten_operator.model.jwk import RsaKey
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.model.tokens import TokenRequest


class AcceptingVerifier:
    """Lets every key work at once; nobody is asked."""

    def verify(self, meta: ObjectMeta, subject: str, request: TokenRequest) -> Trial:  # noqa: ARG002 - as the port
        """Give a trial that went well."""
        return Trial(TokenAnswer("Issued"), is_over=True)


class OneKey:
    """Gives the same key to all: it goes nowhere."""

    def __init__(self) -> None:
        self._key: asyncio.Future[RsaKey] | None = None

    async def take(self, namespace: str) -> RsaKey:  # noqa: ARG002 - as the port
        """Give the key, which is minted for the first who asks."""
        if self._key is None:
            self._key = asyncio.ensure_future(asyncio.to_thread(mint_key))
        return await asyncio.shield(self._key)


class Silence:
    """Announces nothing."""

    def announce(self, meta: ObjectMeta, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Do nothing."""


class CountedHex:
    """Digits that never come twice."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def hex(self, digits: int) -> str:
        """Give hexadecimal digits."""
        return f"{next(self._numbers):0{digits}x}"
