"""One look at the operator's own key: renewed when it is old, and what a renewal leaves behind removed.

The order of writes: publish the new key beside the old, have Maskinporten issue a token by it, write the Secret, and
remove the old key after the grace. The new private key is in memory alone until it is in the Secret. Killed after any
of these, the next look finds the key of the Secret at work; one that was published and not written is removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import OperatorError, TransientError
from maskinporten_operator.model.jwk import PrivateJwk
from maskinporten_operator.model.tokens import TokenRequest
from maskinporten_operator.plan.admin_key import AdminKeyPlan, Renewal, build_admin_kid, plan_admin_key
from maskinporten_operator.plan.verification import FIRST_PAUSE, MAX_PAUSE, MAX_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from maskinporten_operator.model.jwk import PublicJwk
    from maskinporten_operator.model.tokens import TokenAnswer
    from maskinporten_operator.plan.admin_key import AdminKeySettings, AdminSecret
    from maskinporten_operator.reconcile.ports import Clock, KeyPool, Randomness


class AdminKeys(Protocol):
    """The keys of clients at DigDir."""

    async def list_keys(self, client_id: str) -> tuple[PublicJwk, ...]:
        """List a client's keys."""

    async def replace_keys(self, client_id: str, keys: Sequence[PublicJwk]) -> tuple[PublicJwk, ...]:
        """Make these the client's complete set."""


class AdminSecretStore(Protocol):
    """The one Secret with the operator's own key."""

    async def read(self) -> AdminSecret | None:
        """Read it; None if there is none."""

    async def write(self, secret: AdminSecret, key: PrivateJwk, renewal: Renewal) -> None:
        """Write key and annotation at once, unless the Secret changed since it was read."""


@dataclass(frozen=True, slots=True)
class AdminKeyPorts:
    """What a look works with.

    Attributes:
        client_id: The operator's own client.
        scopes: Those of its token.
        in_force: Gives the id of the key that this process signs with.
        ask: Asks Maskinporten for a token.
    """

    client_id: str
    scopes: tuple[str, ...]
    settings: AdminKeySettings
    in_force: Callable[[], str | None]
    keys: AdminKeys
    secret: AdminSecretStore
    ask: Callable[[TokenRequest], Awaitable[TokenAnswer]]
    key_pool: KeyPool
    clock: Clock
    random: Randomness
    sleep: Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class AdminKeyOutcome:
    """How a look ended.

    Attributes:
        plan: What it decided.
        renewed: The new key's id, if the Secret has it now.
    """

    plan: AdminKeyPlan
    renewed: str = ""


async def renew_admin_key(ports: AdminKeyPorts) -> AdminKeyOutcome:
    """Look once, and do what is to be done.

    Raises:
        OperatorError: Something failed. The next look finds out what is left to do: a key that was published and isn't
            in the Secret has no holder, and goes.
    """
    registered = await ports.keys.list_keys(ports.client_id)
    secret = await ports.secret.read()
    plan = plan_admin_key(secret, registered, ports.in_force(), ports.settings, ports.clock.now())
    if plan.keep is None:
        return AdminKeyOutcome(plan)
    if not plan.renews:
        await ports.keys.replace_keys(ports.client_id, plan.keep)
        return AdminKeyOutcome(plan)
    assert secret
    assert secret.key
    key = PrivateJwk(
        build_admin_kid(ports.settings.cluster, ports.random.hex(16)), await ports.key_pool.take(ports.client_id)
    )
    await ports.keys.replace_keys(ports.client_id, (*plan.keep, key.public()))
    await _prove(key, ports)
    await _deliver(key, secret, ports)
    return AdminKeyOutcome(plan, key.kid)


async def _prove(key: PrivateJwk, ports: AdminKeyPorts) -> None:
    """Have a token issued by the new key, by which it is proven to be known.

    Raises:
        TransientError: There was none in time.
    """
    began, pause, words = ports.clock.monotonic(), FIRST_PAUSE, ""
    while True:
        try:
            answer = await ports.ask(TokenRequest(ports.client_id, key, ports.scopes))
        except OperatorError as error:
            words = str(error)  # it says nothing of the key
        else:
            if answer.outcome == "Issued":
                return
            words = answer.words
        if ports.clock.monotonic() + pause - began > MAX_SECONDS:
            raise TransientError(
                Reason.WAITING_FOR_PROPAGATION,
                f"Maskinporten gives no token by the new key of the operator's client, so it isn't used ({words})",
            )
        await ports.sleep(pause)
        pause = min(pause * 2, MAX_PAUSE)


async def _deliver(key: PrivateJwk, before: AdminSecret, ports: AdminKeyPorts) -> None:
    """Write the new key to the Secret, unless it has another one by now than the one that is replaced.

    Raises:
        OperatorError: It wasn't written, or nobody knows.
    """
    secret = await ports.secret.read()
    if secret is None or before.key is None or secret.key != before.key:
        raise TransientError(Reason.SECRET_CONFLICT, "Somebody else wrote the operator's Secret meanwhile")
    await ports.secret.write(secret, key, Renewal(key.kid, before.key.kid, ports.clock.now()))
