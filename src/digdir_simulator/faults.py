"""Faults that a test injects into the next calls."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from digdir_simulator.calls import Answer
from digdir_simulator.errors import Problem, api_error_body, to_json

_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class AnswerDroppedError(ConnectionError):
    """The simulator dropped the connection instead of answering.

    Over a real socket the connection is aborted and nobody sees this; in process, through an ASGI
    transport, it is raised to the caller in place of a transport's own error.
    """


class FaultOrder(BaseModel):
    """A fault, as posted to ``/control/faults``.

    Faults that match the same call all strike, in the order they were posted, first those before
    the operation, then those after it; ``status``, ``html``, ``empty-list-error`` and ``drop`` end
    the call.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["status", "html", "empty-list-error", "drop", "hold", "delay"]
    when: Literal["before", "after"] = Field(
        default="before", description="before the operation is carried out, or between that and its answer"
    )
    method: str | None = Field(default=None, description="HTTP method of the calls; none matches all")
    path: str = Field(default="", description="regular expression found in the path of the calls")
    times: int | None = Field(default=1, ge=1, description="for this many calls; null for all")
    skip: int = Field(default=0, ge=0, description="let this many matching calls pass first")
    status: int = Field(default=503, ge=400, le=599, description="of kind status")
    retry_after: str | int | None = Field(default=None, description="header Retry-After of kinds status, html")
    body: Any = Field(default=None, description="JSON body of kind status; none has the usual error body")
    delay_ms: float = Field(default=0, ge=0, le=600_000, description="of kind delay")

    @field_validator("method")
    @classmethod
    def _in_capitals(cls, value: str | None) -> str | None:
        return value.upper() if value else None

    @field_validator("path")
    @classmethod
    def _is_expression(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            message = f"no regular expression: {error}"
            raise ValueError(message) from error
        return value


class Fault:
    """A fault in force, or spent.

    Attributes:
        number: names it in the control API.
        order: what was asked for.
        matched: how many calls matched so far, those passed by ``skip`` included.
        struck: how many calls it struck so far.
        held: how many calls it holds now.
    """

    def __init__(self, number: int, order: FaultOrder) -> None:
        """Put `order` in force."""
        self.number = number
        self.order = order
        self.matched = 0
        self.struck = 0
        self.held = 0
        self._path = re.compile(order.path)
        self._released = asyncio.Event()
        self._abandoned = False

    def strikes(self, method: str, path: str) -> bool:
        """Tell whether it strikes this call, and count the call."""
        order = self.order
        if order.times is not None and self.struck >= order.times:
            return False
        if order.method not in {None, method} or not self._path.search(path):
            return False
        self.matched += 1
        if self.matched <= order.skip:
            return False
        self.struck += 1
        return True

    async def strike(self, now: float) -> Answer | None:
        """Let it happen to one call; return the answer that replaces the proper one, if any.

        Raises:
            AnswerDroppedError: the connection is to be dropped.
        """
        order = self.order
        headers = (("retry-after", str(order.retry_after)),) if order.retry_after is not None else ()
        match order.kind:
            case "drop":
                raise AnswerDroppedError("the simulator dropped the connection")
            case "delay":
                await self._wait(order.delay_ms / 1000)
            case "hold":
                await self._wait(None)
            case "html":
                return Answer(502, _HTML, "text/html", headers)
            case "empty-list-error":
                problem = Problem("The organization does not have any clients", object_name="Organization")
                return Answer(404, api_error_body(404, [problem], now))
            case "status":
                problem = Problem(f"Simulated fault with status {order.status}", object_name="Simulator")
                usual = api_error_body(order.status, [problem], now)
                body = usual if order.body is None else to_json(order.body)
                return Answer(order.status, body, headers=headers)
        return None

    async def _wait(self, seconds: float | None) -> None:
        self.held += 1
        try:
            async with asyncio.timeout(seconds):
                await self._released.wait()
        except TimeoutError:
            return
        finally:
            self.held -= 1
        if self._abandoned:
            raise AnswerDroppedError("the simulator is stopping")

    def release(self) -> None:
        """Let the calls it holds or delays go on, and those that it would hold later."""
        self._released.set()

    def abandon(self) -> None:
        """Drop the calls it holds or delays."""
        self._abandoned = True
        self._released.set()

    def document(self) -> dict[str, Any]:
        """Return the fault as the control API shows it."""
        return {
            "id": self.number,
            **self.order.model_dump(mode="json"),
            "matched": self.matched,
            "struck": self.struck,
            "held": self.held,
            "released": self._released.is_set(),
        }


class Faults:
    """The faults in force and those spent, until they are removed."""

    def __init__(self) -> None:
        """Begin with none."""
        self._faults: dict[int, Fault] = {}
        self._number = 0

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults.values())

    def add(self, order: FaultOrder) -> Fault:
        """Put a fault in force."""
        self._number += 1
        fault = self._faults[self._number] = Fault(self._number, order)
        return fault

    def get(self, number: int) -> Fault | None:
        """Return the fault with this number."""
        return self._faults.get(number)

    def remove(self, number: int) -> None:
        """Remove a fault and release what it holds."""
        self._faults.pop(number).release()

    def clear(self) -> None:
        """Remove all faults and release what they hold."""
        for number in list(self._faults):
            self.remove(number)

    def abandon(self) -> None:
        """Drop every call that is held or delayed, as when the simulator stops."""
        for fault in self._faults.values():
            fault.abandon()

    def striking(self, method: str, path: str) -> list[Fault]:
        """Return the faults that strike this call, and count the call with each."""
        if not self._faults:
            return []
        return [fault for fault in self._faults.values() if fault.strikes(method, path)]
