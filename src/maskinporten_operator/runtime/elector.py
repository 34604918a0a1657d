"""Which replica leads: the one that holds a Lease, for as long as it renews it.

Only durations are compared, each by one process's own monotonic clock; the times in the Lease are for people. A holder
believes in its Lease until 10 s after the moment before it *sent* the write that succeeded. The others wait until 15 s
after the moment at which they *saw* that write. A sight comes after the sending, so the holder has given up by then.
Every write carries the resourceVersion that was read, so of two that were prepared only one is carried out, and a late
one never.
"""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import ConflictError, OperatorError, TransientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    Body = Mapping[str, Any]

LEASE_SECONDS = 15
RENEW_SECONDS = 10.0
QUIET_SECONDS = 11.0
"""After it was seen to renew, a holder doesn't lead any more, also by a clock that runs slower than ours."""
RETRY_SECONDS = 2.0
CALL_SECONDS = 3.0
"""How long a call to the API server may take: a holder can lose two in a row and still renew in time."""
MIN_REST = 0.5
MAX_LEASE_SECONDS = 60
"""Seconds; another program's Lease may last longer than ours does, but none keeps us out indefinitely."""
RELEASED_SECONDS = 1
"""What a Lease says to last that its holder gave back; an empty holder alone may be anybody's edit."""
log = structlog.get_logger()


class LeaseLostError(Exception):
    """This process led, and the Lease is another's by now, or gone: the process must end."""


class Leases(Protocol):
    """The calls to the API server; all raise `OperatorError`s only."""

    async def find(self) -> Body | None:
        """Read the Lease; None if there is none."""

    async def create(self, spec: Body) -> Body:
        """Make the Lease; a conflict if there is one."""

    async def replace(self, lease: Body, spec: Body) -> Body | None:
        """Write the Lease if it still is as it was read; None if it is gone."""


@dataclass(frozen=True, slots=True)
class Holding:
    """The holder that a Lease names.

    Attributes:
        uid: Of the Lease itself: one that was deleted and made again has another.
        version: Its resourceVersion, an opaque text.
        holder: Empty if it has none.
        seconds: How long it must be left alone after it was last seen to change; 0 if it was given back.
    """

    uid: str
    version: str
    holder: str
    seconds: float


def parse_holding(lease: Body) -> Holding:
    """Read holder and duration; the times in a Lease aren't used."""
    spec = lease.get("spec") or {}
    holder, duration = str(spec.get("holderIdentity") or ""), spec.get("leaseDurationSeconds")
    duration = duration if isinstance(duration, int) else LEASE_SECONDS
    released = not holder and duration == RELEASED_SECONDS
    seconds = 0 if released else min(max(duration, LEASE_SECONDS), MAX_LEASE_SECONDS)
    return Holding(str(lease["metadata"]["uid"]), str(lease["metadata"]["resourceVersion"]), holder, float(seconds))


def build_spec(before: Body, holder: str, seconds: int, now: datetime) -> dict[str, Any]:
    """Build a Lease's spec from the earlier one; an empty `holder` releases it."""
    moment = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # the API server takes exactly six digits
    transitions = before.get("leaseTransitions")
    transitions = transitions if isinstance(transitions, int) and transitions >= 0 else 0
    spec = {**before, "holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": moment}
    if holder == before.get("holderIdentity"):
        return spec
    changes = 1 if holder else 0
    return {**spec, "acquireTime": moment, "leaseTransitions": min(transitions + changes, 2**31 - 1)}


class Elector:
    """Acquires and renews the Lease, and knows for how long it is surely held.

    Attributes:
        leading: Set when this process leads for the first time; whoever led once and lost must end.
        reached: Whether the API server has answered, and lets us have a Lease.
        alone_since: Since when (monotonic seconds) no process but this one can have written, once this one leads.
    """

    def __init__(
        self,
        leases: Leases,
        identity: str,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`identity` is unique to this process."""
        self.identity = identity
        self.leading = asyncio.Event()
        self.reached = False
        self.alone_since = math.inf
        self._leases = leases
        self._monotonic = monotonic
        self._now = now
        self._sleep = sleep
        self._written: Body | None = None  # the Lease as our own last write left it, until a call fails
        self._uid = ""  # of the Lease that we hold, or tried to take over
        self._held = False
        self._held_until = -math.inf
        self._leads_from = math.inf
        self._seen = Holding("", "", "", 0.0)
        self._seen_at = self._looked_at = -math.inf
        self._logged = ""
        self._leader_logged: str | None = None

    @property
    def stands_by(self) -> bool:
        """Whether this process may acquire the Lease, and another one holds it."""
        return self.reached and not self._held

    @property
    def made_lease(self) -> bool:
        """Whether the Lease that this process has is one that it made, as on a new cluster."""
        return math.isfinite(self._leads_from)

    def time_left(self) -> float:
        """Give the seconds for which this process surely leads; 0 or less if it doesn't."""
        now = self._monotonic()
        return self._held_until - now if now >= self._leads_from else 0.0

    async def run(self) -> None:
        """Acquire and renew the Lease until cancelled.

        Raises:
            LeaseLostError: This process led, and doesn't any more.
        """
        while True:
            began = self._monotonic()
            try:
                await self.attempt()
            except OperatorError as error:
                self._log_failure(error)
            else:
                self._log_success()
            rest = RETRY_SECONDS * random.uniform(0.9, 1.0) - (self._monotonic() - began)  # noqa: S311 - spreads load
            await self._sleep(max(min(rest, self._until_expiry()), MIN_REST))

    async def attempt(self) -> None:
        """Renew the Lease, or acquire it if nobody holds it.

        Raises:
            OperatorError: A call failed, or somebody else was quicker.
            LeaseLostError: This process led, and doesn't any more.
        """
        lease, self._written = self._written, None  # after a call that fails it is read anew
        lease = lease or await self._call(self._leases.find())
        seen = self._monotonic()  # after the answer: whatever it shows was sent before
        if lease is None:
            self._lose("the Lease is gone")
            await self._create()
            return
        holding = parse_holding(lease)
        blind, self._looked_at = seen - self._looked_at > LEASE_SECONDS, seen
        if blind or (holding.uid, holding.version) != (self._seen.uid, self._seen.version):
            # After an outage for all the holder goes on, and isn't outrun by those who couldn't see either.
            self._seen, self._seen_at = holding, seen
        if holding.holder == self.identity:
            self._keep(holding, seen)
        elif self._held:
            self._lose(f"the Lease is held by {holding.holder or 'nobody'}")
            return
        elif seen - self._seen_at < self._seen.seconds:
            return
        else:
            self._uid, self._leads_from = holding.uid, -math.inf
            # Its last renewal was sent before we saw it; who gave the Lease back had stopped writing before.
            self.alone_since = self._seen_at + min(QUIET_SECONDS, self._seen.seconds)
        await self._write(lease)

    async def release(self) -> None:
        """Release the Lease if this process leads; it doesn't lead any more."""
        # One that we made and may not lead by yet says to others what it says to us: wait until it expires.
        held, self._held = self._held and self._monotonic() >= self._leads_from, False
        self._held_until, self._leads_from = -math.inf, math.inf
        lease, self._written = self._written, None
        for _ in range(2 if held else 0):  # a renewal that was cut short may be carried out in between
            try:
                lease = lease or await self._call(self._leases.find())
                if lease and parse_holding(lease).holder == self.identity:
                    spec = build_spec(lease["spec"], "", RELEASED_SECONDS, self._now())
                    lease = await self._call(self._leases.replace(lease, spec))
                else:
                    lease = None
            except ConflictError:
                lease = None
            except OperatorError as error:
                log.warning("the Lease couldn't be released and expires instead", message=str(error))
                return
            else:
                log.info("released the Lease" if lease else "no Lease to release: it is gone, or another's")
                return

    def _until_expiry(self) -> float:
        """Give the seconds until another's Lease expires; infinity if it is ours."""
        left = self._seen_at + self._seen.seconds - self._monotonic()
        return left if left > 0 and not self._held else math.inf

    def _keep(self, holding: Holding, seen: float) -> None:
        """The Lease is ours, perhaps by a write whose answer was lost."""
        if self._held and holding.uid != self._uid:
            self._lose("the Lease was deleted and made again")
        if not self._held and holding.uid != self._uid:
            # Made by us, and the answer was lost: see `_create`.
            self._lead_later(holding.uid, seen)
        self._held = True

    async def _write(self, lease: Body) -> None:
        sent = self._monotonic()
        spec = build_spec(lease.get("spec") or {}, self.identity, LEASE_SECONDS, self._now())
        written = await self._call(self._leases.replace(lease, spec))
        if written is None:
            self._lose("the Lease is gone")
            return
        self._written, self._held, self._held_until = written, True, sent + RENEW_SECONDS

    async def _create(self) -> None:
        """Create the Lease, and lead `LEASE_SECONDS` later.

        If somebody deleted it while another process led by it, that process has stopped writing by then.
        """
        self._uid = ""
        sent = self._monotonic()
        made = await self._call(self._leases.create(build_spec({}, self.identity, LEASE_SECONDS, self._now())))
        self._lead_later(str(made["metadata"]["uid"]), self._monotonic())
        self._written, self._held, self._held_until = made, True, sent + RENEW_SECONDS
        log.info("made the Lease: leading once no process can lead by an earlier one", seconds=LEASE_SECONDS)

    def _lead_later(self, uid: str, made: float) -> None:
        """Lead by a Lease that we created, once nobody can lead by an earlier one."""
        self._uid, self._leads_from, self.alone_since = uid, made + LEASE_SECONDS, made + QUIET_SECONDS

    def _lose(self, why: str) -> None:
        self._held, self._held_until, self._leads_from = False, -math.inf, math.inf
        if self.leading.is_set():
            raise LeaseLostError(why)

    async def _call(self, call: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                answer = await call
        except TimeoutError:
            raise TransientError(Reason.CLUSTER_UNAVAILABLE, "The API server doesn't answer") from None
        return answer

    def _log_success(self) -> None:
        self.reached = True
        if self.time_left() > 0 and not self.leading.is_set():
            log.info("leading", identity=self.identity)
            self.leading.set()
        elif self._held and self._logged:
            log.info("the Lease is renewed again")
        elif not self._held and self._seen.holder != self._leader_logged:
            self._leader_logged = self._seen.holder
            log.info("standing by", leader=self._leader_logged or None)
        self._logged = ""

    def _log_failure(self, error: OperatorError) -> None:
        if isinstance(error, ConflictError):
            return  # somebody was quicker: the next look tells
        refused = error.reason == Reason.REFUSED_BY_CLUSTER
        self.reached = self.reached and not refused
        if str(error) != self._logged:
            what = "the Lease can't be renewed" if self._held else "waiting for the Lease"
            hint = "the chart grants what it takes, by a Role in the namespace of the Lease" if refused else None
            log.warning(what, reason=str(error.reason), message=str(error), hint=hint)
            self._logged = str(error)
