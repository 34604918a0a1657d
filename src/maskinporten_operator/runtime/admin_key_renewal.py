"""Renews the operator's own key while this process leads, and tells how that goes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import structlog

from maskinporten_operator.model.errors import OperatorError, StandbyError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maskinporten_operator.plan.admin_key import AdminKeyPlan
    from maskinporten_operator.reconcile.admin_key_pass import AdminKeyOutcome

RETRY_SECONDS = 600.0
"""After a look that failed."""
log = structlog.get_logger()


class AdminKeyRenewal:
    """The looks at the operator's own key.

    Attributes:
        age: The key's age in seconds at the latest look; None before the first.
        problem: What keeps it from being renewed; empty if nothing does.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[AdminKeyOutcome]],
        announce: Callable[[Literal["Normal", "Warning"], str, str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`announce` is given type, reason and message of an Event about the Secret."""
        self.age: float | None = None
        self.problem = ""
        self._look = look
        self._announce = announce
        self._sleep = sleep

    async def run(self, begun: asyncio.Event) -> None:
        """Look again and again, once this process works, until cancelled."""
        await begun.wait()
        while True:
            await self._sleep(await self.look())

    async def look(self) -> float:
        """Look once; give the seconds until the next look."""
        try:
            outcome = await self._look()
        except StandbyError:
            return RETRY_SECONDS
        except OperatorError as error:
            self._tell_problem(str(error))
            return RETRY_SECONDS
        self._tell_problem(outcome.plan.problem)
        self._tell_work(outcome.plan, outcome.renewed)
        return outcome.plan.next_look

    def _tell_work(self, plan: AdminKeyPlan, renewed: str) -> None:
        age = timedelta(0) if renewed else plan.age
        self.age = None if age is None else age.total_seconds()
        if plan.drop:
            log.info("keys of the operator's own client removed", kids=list(plan.drop))
        if renewed:
            message = f"The operator's own key was renewed: {renewed} is registered, proven and in the Secret"
            log.info("the operator's own key was renewed", kid=renewed)
            self._announce("Normal", "AdminKeyRenewed", message)

    def _tell_problem(self, problem: str) -> None:
        """Tell of what is new only: most looks find what the one before found."""
        if problem and problem != self.problem:
            log.warning("the operator's own key can't be renewed", message=problem)
            self._announce("Warning", "AdminKeyNotRenewed", problem)
        self.problem = problem
