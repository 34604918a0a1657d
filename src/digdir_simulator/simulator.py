"""The simulator as a whole: its state, settings, faults and ledger, and the issuer of tokens."""

import functools
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from digdir_simulator import jws
from digdir_simulator.certificates import load_trusted
from digdir_simulator.config import Config, Settings
from digdir_simulator.errors import ApiError
from digdir_simulator.faults import Faults
from digdir_simulator.keys import parse_key
from digdir_simulator.ledger import Ledger
from digdir_simulator.seed import ADMIN_SCOPES, Seed, load, parse_seed
from digdir_simulator.state import SINCE_ALWAYS, Client, Key, State
from digdir_simulator.tokens import Issuer, UsedGrants

Clock = Callable[[], float]
"""Returns the present instant in epoch seconds."""


@functools.cache
def _signing_key_of_process() -> tuple[str, rsa.RSAPrivateKey]:
    """Make one signing key, and its kid, for all simulators of a process: that takes longer than most tests."""
    return str(uuid.uuid4()), jws.new_private_key()


class Simulator:
    """One simulated DigDir and Maskinporten.

    Attributes:
        admin_jwk: the admin client's JWK, private if it was made here or given as private; None with a certificate.
        trusted: the certificates that the token endpoint trusts.
        clock: the present instant; every timestamp, lag, expiry and token depends on it alone.
    """

    def __init__(self, config: Config, clock: Clock = time.time) -> None:
        """Start with what `config` says.

        Raises:
            ValueError: the seed, a JWK or a certificate is wrong.
        """
        self.config = config
        self.clock = clock
        self.trusted = () if config.trusted_certificates is None else load_trusted(config.trusted_certificates)
        self.admin_jwk: Mapping[str, Any] | None = None if self.trusted else config.admin_jwk or jws.new_private_jwk()
        self.issuer = Issuer(config.issuer, *_signing_key_of_process())
        self.ledger = Ledger(config.ledger_size)
        self.faults = Faults()
        self.settings: Settings
        self.state: State
        self.used_grants: UsedGrants
        self.reset()

    def reset(self) -> None:
        """Go back to the start: seed, settings, no faults, an empty ledger. Access tokens stay valid."""
        self.faults.clear()
        self.ledger.clear()
        self.settings = self.config.settings
        self.replace_state(parse_seed(self.config.seed or {}))

    def replace_state(self, seed: Seed) -> None:
        """Replace the state by what `seed` describes; the admin client is there in any case.

        Raises:
            ValueError: the seed is wrong; the state is left as it was.
        """
        state = load(seed, self.clock())
        if self.config.admin_client_id not in state.clients:
            state.put_client(self._admin_client(state.organisation), SINCE_ALWAYS)
        self.state = state
        self.used_grants = UsedGrants()

    def _admin_client(self, orgno: str) -> Client:
        now = self.clock()
        return Client(
            client_id=self.config.admin_client_id,
            client_orgno=orgno,
            fields={
                "client_name": "Admin client",
                "description": "Client of the operator itself",
                "application_type": "web",
                "integration_type": "api_klient",
                "scopes": list(ADMIN_SCOPES),
                "grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
                "token_endpoint_auth_method": "private_key_jwt",
                "access_token_lifetime": 120,
                "authorization_lifetime": 7200,
                "refresh_token_lifetime": 600,
                "refresh_token_usage": "ONETIME",
            },
            active=True,
            created=now,
            last_updated=now,
            keys=() if self.admin_jwk is None else (_parse_admin_key(self.admin_jwk, now),),
        )


def _parse_admin_key(jwk: Mapping[str, Any], now: float) -> Key:
    try:
        return parse_key({"use": "sig", **jws.public_jwk(jwk)}, None, now)
    except ApiError as error:
        message = f"the admin client's JWK: {error.problems[0].message}"
        raise ValueError(message) from error
