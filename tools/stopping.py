"""An operator that stops itself (SIGSTOP) with a write in its hand: one call before the socket, after all its checks.

As a program, `python -m tools.stopping FILE …` is `maskinporten-operator …`, and FILE says at which write.
"""

from __future__ import annotations

import asyncio.selector_events
import asyncio.sslproto
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskinporten_operator.cli import main
from tools.kube import wait_for
from tools.stack import Operator, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = " body"
FIRST_LINE = 120


class StoppingOperator(Operator):
    """One that runs until it is told where to stop."""

    def __init__(
        self, folder: Path, kubeconfig: Path, simulator: Simulator, log: str = "operator.log", **settings: str
    ) -> None:
        """Start it."""
        self._file = folder / f"{log}.stop"
        self.program = (sys.executable, "-m", "tools.stopping", str(self._file))
        super().__init__(folder, kubeconfig, simulator, log, **settings)

    def stop_at(self, write: str) -> None:
        """Let it stop at its next such write.

        `POST /path` is where the first bytes of such a request are about to be sent, and `POST /path body` where
        its body is.
        """
        draft = self._file.with_suffix(".draft")
        draft.write_text(write)
        draft.rename(self._file)

    def wait_stopped(self, seconds: float) -> None:
        """Wait until it has."""
        wait_for(self._is_stopped, seconds, "the stop at a write")

    def _is_stopped(self) -> bool:
        return Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _stop_at_writes(file: Path, transport: Any) -> None:
    """Look at whatever is about to be written to connections of a kind."""
    write: Callable[[Any, bytes], None] = transport.write
    begun: set[Any] = set()

    def look(self: Any, data: bytes) -> None:
        if file.exists():
            wanted = file.read_text()
            begins = bytes(data[:FIRST_LINE]).decode("latin-1").startswith(wanted.removesuffix(BODY))
            if self in begun if wanted.endswith(BODY) else begins:
                file.unlink()
                os.kill(os.getpid(), signal.SIGSTOP)
            elif begins:
                begun.add(self)
        write(self, data)

    transport.write = look


if __name__ == "__main__":
    where = Path(sys.argv.pop(1))
    for kind in (asyncio.selector_events._SelectorSocketTransport, asyncio.sslproto._SSLProtocolTransport):  # type: ignore[attr-defined] # noqa: SLF001
        _stop_at_writes(where, kind)
    main()
