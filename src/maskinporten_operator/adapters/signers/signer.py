"""The port of what signs by a key that the operator doesn't hold, and how one is found by the key's name."""

from __future__ import annotations

import asyncio
import importlib
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from maskinporten_operator.model.signer_reference import find_provider

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
MAX_SECONDS = 10.0
"""How long a signature may take; those who ask for the operator's token wait for it."""
CALL_SECONDS = 4.0
"""How long one call to a provider may take, of which its library may make another within `MAX_SECONDS`."""


class SigningError(Exception):
    """Nothing was signed. The text says why, for a cluster admin, and has nothing of what others sent or hold."""


class Signer(Protocol):
    """A private RSA key that somebody else holds."""

    def sign(self, message: bytes) -> bytes:
        """Sign by RS256, that is RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3). It blocks.

        Raises:
            SigningError: There is no signature.
        """


def open_signer(reference: str) -> Signer:
    """Give what signs by the key of this name. Nothing is asked of it yet.

    Raises:
        SigningError: The provider's library isn't there, or can't be used with the name.
    """
    provider = find_provider(reference)
    assert provider  # the configuration takes no other names
    try:
        module = importlib.import_module(f"maskinporten_operator.adapters.signers.{provider.extra}_signer")
    except ImportError:
        raise SigningError(
            f"ADMIN_SIGNER names a key of {provider.name}, whose library isn't installed: use an image that was built "
            f"with --build-arg SIGNER={provider.extra}, or install requirements/{provider.extra}.txt"
        ) from None
    opened: Signer = module.open_signer(reference)
    return opened


class SigningThread:
    """Signs beside the event loop, one at a time and within `MAX_SECONDS`.

    A thread that hangs in a provider's library can't be ended. It doesn't keep the process from ending, and no other is
    begun beside it.
    """

    def __init__(self, seconds: float = MAX_SECONDS) -> None:
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self, sign: Callable[[], T]) -> T:
        """Give what `sign` gives.

        Raises:
            SigningError: It takes too long, or an earlier one that was given up still does.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._idle.wait()
                    self._idle.clear()
                    return await self._begin(sign)
            except TimeoutError:
                raise SigningError(f"there was no signature within {self._seconds:g} s") from None

    def _begin(self, sign: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def settle(value: Any, error: Exception | None) -> None:
            self._idle.set()
            if result.done():  # nobody waits any more
                return
            if error:
                result.set_exception(error)
            else:
                result.set_result(value)

        def deliver() -> None:
            value, error = None, None
            try:
                value = sign()
            except Exception as failure:  # noqa: BLE001 - it is raised where the signature is awaited
                error = failure
            with suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(settle, value, error)

        threading.Thread(target=deliver, name="signer", daemon=True).start()
        return result
