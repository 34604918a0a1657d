"""What `doctor` has found so far, and how it looks at a call and at its answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from digdir_contract import Finding, Kind, check_answer, load
from maskinporten_operator.adapters.digdir.exchanges import NOT_JSON
from maskinporten_operator.adapters.minting import mint_key
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.plan.findings import (
    MAINTAINER,
    Check,
    CheckState,
    Environments,
    advise,
    describe_shape,
    find_missing_members,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import httpx

    from digdir_contract import Match
    from maskinporten_operator.adapters.digdir.exchanges import Exchange, Recorder
    from maskinporten_operator.model.jwk import RsaKey

T = TypeVar("T")
GRAVE = frozenset({Kind.TYPE, Kind.MISSING})
"""Differences that the operator may stumble over; others it passes over, and in a list the rows that have these."""


@dataclass(frozen=True, slots=True)
class World:
    """The network, the clocks and what makes keys; tests have others."""

    transport: httpx.AsyncBaseTransport | None = None
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    mint: Callable[[], RsaKey] = mint_key


def find_environments() -> Environments:
    """Give the addresses of DigDir's environments, as the contract knows them."""
    service = load().service
    return Environments(service.hosts, service.issuers)


@dataclass(frozen=True, slots=True)
class Attempt(Generic[T]):
    """A call, however it went.

    Attributes:
        result: What the operator made of the answer; None if it failed.
        exchange: The last answer; None if nothing was answered.
    """

    result: T | None
    error: OperatorError | None
    exchange: Exchange | None

    @property
    def went_well(self) -> bool:
        """Whether the operator could read the answer, an error that it takes for one too."""
        return self.error is None

    @property
    def status(self) -> int | None:
        """The last answer's HTTP status; None if nothing was answered."""
        return self.exchange.status if self.exchange else None

    @property
    def document(self) -> Any:
        """The last answer's body, read from JSON; `NOT_JSON` if there is none."""
        return self.exchange.document if self.exchange else NOT_JSON


@dataclass(slots=True)
class Diagnosis:
    """All checks, answers and answered questions.

    Attributes:
        base_url: The API's, without a slash at its end.
        on_check: Called with each check as it is made.
        on_wait: Called with what is waited for.
        answered: What the contract doesn't know and this run has seen, by the contract's name of the question.
    """

    base_url: str
    recorder: Recorder
    on_check: Callable[[Check], None]
    on_wait: Callable[[str], None]
    granted: frozenset[str] = frozenset()
    checks: list[Check] = field(default_factory=list)
    answered: dict[str, bool | int | str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether something is wrong."""
        return any(check.state == CheckState.FAILED for check in self.checks)

    def add(self, check: Check) -> bool:
        """Take in a check; give whether it didn't fail."""
        self.checks.append(check)
        self.on_check(check)
        return check.state != CheckState.FAILED

    def skip(self, name: str, why: str) -> None:
        """Take in that something couldn't be looked at."""
        self.add(Check(name, CheckState.SKIPPED, why))

    async def call(
        self,
        name: str,
        action: Callable[[], Awaitable[T]],
        *,
        about: str = "",
        tolerated: Mapping[int, str] | None = None,
        where: str = "",
        otherwise: str = MAINTAINER,
    ) -> Attempt[T]:
        """Make a call as the operator does, and judge it.

        Args:
            name: The check's name.
            action: Makes the call.
            about: What else is to be told of the call.
            tolerated: Statuses with which DigDir may refuse, nothing being wrong, and what each of them says.
            where: The address that is asked, if it isn't the API's.
            otherwise: Who can fix an answer that tells nothing by itself.
        """
        attempt = await self.attempt(action)
        check = None
        if attempt.error and attempt.exchange:
            check = self._judge_failure(name, attempt.exchange, tolerated or {}, otherwise)
        elif attempt.error:
            message = f"{attempt.error}, at {where or self.base_url}"
            check = Check(name, CheckState.FAILED, message, advise(None, is_json=False))
        elif attempt.exchange:
            check = self.judge(name, attempt.exchange)
        if check:
            self.add(replace(check, message=f"{check.message} ({about})") if about else check)
        return attempt

    async def attempt(self, action: Callable[[], Awaitable[T]]) -> Attempt[T]:
        """Make a call as the operator does, without judging it."""
        asked = len(self.recorder.exchanges)
        result, error = None, None
        try:
            result = await action()
        except OperatorError as failure:
            error = failure
        exchanges = self.recorder.exchanges
        return Attempt(result, error, exchanges[-1] if len(exchanges) > asked else None)

    def match(self, exchange: Exchange) -> Match | None:
        """Find what the contract says of a call; None if it says nothing."""
        if not exchange.url.startswith(f"{self.base_url}/"):
            return None
        return load().match(exchange.method, exchange.url.removeprefix(self.base_url))

    def compare(self, exchange: Exchange) -> list[Finding]:
        """Compare an answer with the contract, and with what the operator relies on."""
        match = self.match(exchange)
        if match is None:
            return []
        body = [] if exchange.document is NOT_JSON else [exchange.document]
        findings = check_answer(match.operation, exchange.status, *body)
        if exchange.is_refusal or not body:
            return findings
        schema = match.operation.answer.schema_name
        rows = exchange.document if isinstance(exchange.document, list) else [exchange.document]
        missing = dict.fromkeys(name for row in rows for name in find_missing_members(schema, row))
        return findings + [Finding(Kind.MISSING, "answer", name, "is missing") for name in missing]

    def is_unreadable(self, exchange: Exchange) -> bool:
        """Whether an answer differs gravely from the contract; a list, whether each of its rows does."""
        document = exchange.document
        rows = [[row] for row in document] if isinstance(document, list) and document else [document]
        alone = (self.compare(replace(exchange, document=row)) for row in rows)
        return all(any(finding.kind in GRAVE for finding in findings) for findings in alone)

    def show(self, exchange: Exchange) -> str:
        """Name a call as the contract does."""
        match = self.match(exchange)
        return match.operation.call if match else f"{exchange.method} {exchange.url}"

    def build_report(self) -> dict[str, Any]:
        """Give what was found as a document: of bodies the shapes alone."""
        states = [check.state for check in self.checks]
        return {
            "summary": {str(state): states.count(state) for state in CheckState},
            "checks": [
                {"name": one.name, "state": str(one.state), "message": one.message, "remedy": one.remedy}
                for one in self.checks
            ],
            "answeredQuestions": self.answered,
            "answers": [self._describe(exchange) for exchange in self.recorder.exchanges],
        }

    def judge(self, name: str, exchange: Exchange) -> Check:
        """Judge an answer that the operator can read."""
        rows = f", {len(exchange.document)} rows" if isinstance(exchange.document, list) else ""
        message = f"{self.show(exchange)}: {exchange.status}{rows}, {exchange.seconds:.2f} s"
        findings = self.compare(exchange)
        if not findings:
            return Check(name, CheckState.PASSED, message)
        differs = f"{message}; differs from the contract: {_list(findings)}"
        state = CheckState.FAILED if self.is_unreadable(exchange) else CheckState.WARNING
        return Check(name, state, differs, MAINTAINER)

    def _judge_failure(self, name: str, exchange: Exchange, tolerated: Mapping[int, str], otherwise: str) -> Check:
        is_json = exchange.document is not NOT_JSON
        message = f"{self.show(exchange)} gave HTTP {exchange.status}{exchange.detail}"
        findings = self.compare(exchange)
        if exchange.status in tolerated and is_json:
            state = CheckState.WARNING if findings else CheckState.PASSED
            differs = f"; differs from the contract: {_list(findings)}" if findings else ""
            return Check(
                name, state, f"{message}; {tolerated[exchange.status]}{differs}", MAINTAINER if findings else ""
            )
        if not is_json:
            kind = exchange.media_type or "no type"
            message += " without a body" if exchange.is_empty else f" with what isn't JSON ({kind})"
        elif findings:
            message += f"; differs from the contract: {_list(findings)}"
        elif not exchange.is_refusal:
            message += " of a form that the operator can't read"
        match = self.match(exchange)
        needed = match.operation.rights if match else ()
        return Check(
            name,
            CheckState.FAILED,
            message,
            advise(exchange.status, is_json=is_json, needed=needed, granted=self.granted, otherwise=otherwise),
        )

    def _describe(self, exchange: Exchange) -> dict[str, Any]:
        match = self.match(exchange)
        described = {
            "operation": match.operation.name if match else "",
            "call": self.show(exchange),
            "query": sorted(exchange.query),
            "status": exchange.status,
            "mediaType": exchange.media_type,
            "seconds": round(exchange.seconds, 3),
            "differences": list(map(str, self.compare(exchange))),
        }
        if isinstance(exchange.document, list):
            described["rows"] = len(exchange.document)
        if exchange.document is not NOT_JSON:
            described["shape"] = describe_shape(exchange.document)
        return described


def _list(findings: list[Finding]) -> str:
    return "; ".join(map(str, findings))
