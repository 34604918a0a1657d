"""A simulator that writes down every assertion that it was sent and every token that it gave.

As a program, `python -m tests.e2e.recording_simulator FILE …` is `digdir-simulator …`. It sees also what came with a
call that was refused, dropped or struck by a fault.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from digdir_simulator import __main__ as program
from digdir_simulator.app import create_app
from tools.stack import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from digdir_simulator.config import Config


class RecordingSimulator(Simulator):
    """The simulator as a process, and what it has written down."""

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        """Start it; as `Simulator`."""
        self.record = folder / "grants.jsonl"
        self.program = (sys.executable, "-m", __name__, str(self.record))
        super().__init__(folder, *options, port=port)

    def read_grants(self) -> Iterator[tuple[str, str]]:
        """Give each assertion and each token, with what it is."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        for number, line in enumerate(lines, 1):
            for what, value in json.loads(line).items():
                yield f"{what} {number}", value


class Recorder:
    """An application whose token endpoint is listened in on."""

    def __init__(self, app: ASGIApp, record: Path) -> None:
        self._app = app
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http" or scope["path"] != "/token":
            await self._app(scope, receive, send)
            return
        request, response = bytearray(), bytearray()

        async def listen() -> Message:
            message = await receive()
            request.extend(message.get("body", b""))
            return message

        async def tell(message: Message) -> None:
            response.extend(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, listen, tell)
        finally:
            self._write(bytes(request), bytes(response))

    def _write(self, request: bytes, response: bytes) -> None:
        grants = dict(_find_grants(request, response))
        with self._record.open("a") as record:
            record.write(json.dumps(grants) + "\n")


def _find_grants(request: bytes, response: bytes) -> Iterator[tuple[str, str]]:
    if assertions := parse_qs(request.decode()).get("assertion"):
        yield "assertion", assertions[0]
    try:
        answer = json.loads(response)
    except ValueError:
        return  # no answer was given, or a broken one
    if "access_token" in answer:
        yield "access token", answer["access_token"]


def main() -> None:
    """Run the simulator, recording."""
    record = Path(sys.argv.pop(1))
    record.touch(mode=0o600)

    def create(config: Config) -> Starlette:
        app = create_app(config)
        app.add_middleware(Recorder, record=record)
        return app

    program.create_app = create
    program.main()


if __name__ == "__main__":
    main()
