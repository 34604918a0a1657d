"""The simulator as a whole: its state, settings, faults and ledger, and the issuer of tokens."""

import asyncio
import functools
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from digdir_contract import load as load_contract
from digdir_simulator import jws
from digdir_simulator.certificates import load_trusted
from digdir_simulator.config import Config, Settings
from digdir_simulator.errors import ApiError
from digdir_simulator.faults import Faults
from digdir_simulator.issuer import Issuer, UsedGrants
from digdir_simulator.ledger import Ledger
from digdir_simulator.requests import MAX_KEYS, complete_client, parse_client, parse_key, require_form
from digdir_simulator.seed import ADMIN_SCOPES, Seed, load, parse_seed
from digdir_simulator.signals import Signal
from digdir_simulator.state import SINCE_ALWAYS, Client, Key, State
from digdir_simulator.state_file import Journal, StateFile, StateFileError

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
        journal: brings changes to the state file; None without one.
        instance: tells this simulator from the one before at the same address.
        changed: is given when a call arrives or ends, and when the control API changes something.
        control_changes: how often the control API changed something.
        listeners: how many follow what happens.
        stopping: is set when the simulator is about to end.
    """

    def __init__(self, config: Config, clock: Clock = time.time) -> None:
        """Start with what `config` says, and the state in its state file if there is one.

        Raises:
            ValueError: the seed, a JWK or a certificate is wrong.
            StateFileError: the state file can't be used.
        """
        self.config = config
        self.clock = clock
        self.trusted = () if config.trusted_certificates is None else load_trusted(config.trusted_certificates)
        self.admin_jwk: Mapping[str, Any] | None = None if self.trusted else config.admin_jwk or jws.new_private_jwk()
        self.issuer = Issuer(config.issuer, *_signing_key_of_process())
        self.instance = uuid.uuid4().hex
        self.changed = Signal()
        self.control_changes = 0
        self.listeners = 0
        self.stopping = asyncio.Event()
        self.ledger = Ledger(config.ledger_size, self.changed.give)
        self.faults = Faults()
        self.settings: Settings
        self.state: State
        self._replacements = 0
        self.used_grants: UsedGrants
        self.journal: Journal | None = None
        self.reset()
        if config.state_file is not None:
            self._take_up(StateFile(config.state_file))

    def _take_up(self, file: StateFile) -> None:
        """Go on with the state in `file`, or begin to keep the present one there if it is empty."""
        try:
            state = file.read()
        except StateFileError:
            file.close()
            raise
        self.journal = Journal(file)
        if state is None:
            self.journal.replace(self.state)
            return
        self.state = state
        self.journal.follow(state)
        self._readmit()

    def _readmit(self) -> None:
        """See to it that the admin client gets in with what this start was given: others may have made the file."""
        now = self.clock()
        client = self.state.client(self.config.admin_client_id)
        if client is None:
            self.state.put_client(self._admin_client(self.state.organisation), SINCE_ALWAYS)
        elif self.admin_jwk is None:
            if client.keys:
                self.state.put_client(replace(client, keys=()), SINCE_ALWAYS)
        else:
            key = _parse_admin_key(self.admin_jwk, now)
            known = client.key(key.kid)
            if known is None or known.jwk["n"] != key.jwk["n"]:
                others = [other for other in client.keys if other.kid != key.kid]
                self.state.put_client(replace(client, keys=(key, *others)[:MAX_KEYS]), SINCE_ALWAYS)

    async def written(self) -> None:
        """Return when all changes so far are in the state file; at once without one.

        Raises:
            StateFileError: they can't be written.
        """
        if self.journal is not None:
            await self.journal.written()

    async def close(self) -> None:
        """Let go of the state file, if there is one, when all changes are in it.

        Raises:
            StateFileError: they can't be written.
        """
        if self.journal is not None:
            await self.journal.close()

    def abandon(self) -> None:
        """Let go of the calls that are held or delayed, and of those who follow, as when the simulator stops."""
        self.stopping.set()
        self.faults.abandon()

    def note_control(self) -> None:
        """Note that the control API changed something."""
        self.control_changes += 1
        self.changed.give()

    @property
    def state_version(self) -> str:
        """Differs whenever the state does."""
        return f"{self._replacements}.{self.state.version}"

    def reset(self) -> None:
        """Go back to the start: seed, settings, no faults, an empty ledger. Access tokens stay valid.

        That is the seed's state, and not what a state file had.
        """
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
        self._replacements += 1
        if self.journal is not None:
            self.journal.replace(state)
        self.used_grants = UsedGrants()

    def _admin_client(self, orgno: str) -> Client:
        now = self.clock()
        return Client(
            client_id=self.config.admin_client_id,
            client_orgno=orgno,
            fields=parse_client(
                complete_client(
                    {
                        "client_name": "Admin client",
                        "description": "Client of the operator itself",
                        "integration_type": load_contract().admin_integration_type.value,
                        "scopes": list(ADMIN_SCOPES),
                    }
                )
            ),
            active=True,
            created=now,
            last_updated=now,
            keys=() if self.admin_jwk is None else (_parse_admin_key(self.admin_jwk, now),),
        )


def _parse_admin_key(jwk: Mapping[str, Any], now: float) -> Key:
    try:
        public = {"use": "sig", **jws.public_jwk(jwk)}
        require_form("put-key", public)
        return parse_key(public, None, now)
    except ApiError as error:
        message = f"the admin client's JWK: {error.problems[0].message}"
        raise ValueError(message) from error
