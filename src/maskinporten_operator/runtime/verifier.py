"""Tries credentials at Maskinporten, beside the passes, until a token is issued or long enough."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.tokens import Trial
from maskinporten_operator.plan.verification import FIRST_PAUSE, MAX_PAUSE, MAX_SECONDS
from maskinporten_operator.runtime.queue import Key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.model.tokens import TokenAnswer, TokenRequest

RECHECK_SECONDS = 3600.0
"""After which a pass may have credentials tried again that got no token."""
MAX_AT_ONCE = 8
"""Requests under way: each costs a signature, and Maskinporten serves others too."""


@dataclass(slots=True)
class _Entry:
    """The trial of a resource's credentials, which `subject` names."""

    subject: str
    trial: Trial = field(default_factory=Trial)
    ended: float = math.inf
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class TrialVerifier:
    """The trials, one for each resource; they end with the process, or when the resource is forgotten."""

    def __init__(
        self,
        ask: Callable[[TokenRequest], Awaitable[TokenAnswer]],
        on_news: Callable[[Key], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_news` is told of a resource whose trial has another answer, or is over."""
        self._ask = ask
        self._on_news = on_news
        self._monotonic = monotonic
        self._entries: dict[str, _Entry] = {}
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    def __len__(self) -> int:
        """How many trials aren't over."""
        return sum(not entry.trial.is_over for entry in self._entries.values())

    def verify(self, meta: ObjectMeta, subject: str, request: TokenRequest) -> Trial:
        """Give the trial of what is named `subject`; it begins if it hasn't yet, or got no token long ago."""
        entry = self._entries.get(meta.uid)
        if entry is None or entry.subject != subject or self._monotonic() - entry.ended > RECHECK_SECONDS:
            self.forget(meta.uid)
            entry = self._entries[meta.uid] = _Entry(subject)
            key = Key(meta.kind, meta.namespace, meta.name)
            entry.task = asyncio.create_task(self._try(key, entry, request))
        return entry.trial

    def forget(self, uid: str) -> None:
        """The resource is gone, or has other credentials."""
        entry = self._entries.pop(uid, None)
        if entry and entry.task:
            entry.task.cancel()

    def close(self) -> None:
        """Ask nothing more."""
        for uid in tuple(self._entries):
            self.forget(uid)

    async def _try(self, key: Key, entry: _Entry, request: TokenRequest) -> None:
        began, pause = self._monotonic(), FIRST_PAUSE
        while not entry.trial.is_over:
            answer = await self._find_answer(request) or entry.trial.answer
            is_issued = answer is not None and answer.outcome == "Issued"
            trial = Trial(answer, is_issued or self._monotonic() + pause - began > MAX_SECONDS)
            if trial.is_over and not is_issued:
                entry.ended = self._monotonic()
            if trial != entry.trial:
                entry.trial = trial
                self._on_news(key)
            if not trial.is_over:
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE)

    async def _find_answer(self, request: TokenRequest) -> TokenAnswer | None:
        async with self._slots:
            try:
                return await self._ask(request)
            except OperatorError:
                return None  # it says nothing of the credentials
