"""What a stage leaves behind, and the search for secrets in it: nothing that the operator tells may have one.

While the stage is there, every version of what the operator writes in the cluster is written down, and every private
key that comes into a Secret is noted. At the end of each file of tests these are searched (`Trail.find_leaks`):

* what operators and simulator have printed, at DEBUG, with the tracebacks;
* Events, and resources with status and managed fields, also those that are gone by now; of Secrets the metadata;
* the operators' metrics, command lines and environments, with those of their child processes;
* the simulator's ledger.

They are searched for the private members of all keys that were in a Secret, of the admin's key, and for each assertion
and token, by value; and for whatever looks like a key or a token, since a key may have been lost on its way.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import httpx

from maskinporten_operator.adapters.cluster.bodies import read_list
from maskinporten_operator.model.resources import (
    APPLICATION,
    CILIUM_POLICY,
    DEPLOYMENT,
    FQDN_POLICY,
    MASKINPORTEN_CLIENT,
    NETWORK_POLICY,
    SECRET,
    SERVICE,
    Kind,
)
from tests.e2e.canaries import Canaries, find_jwk
from tools.kube import find_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType

    from tests.e2e.recording_simulator import RecordingSimulator
    from tools.stack import Operator

EVENT = Kind("v1", "Event", "events")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
WATCHED = (EVENT, SECRET, MASKINPORTEN_CLIENT, APPLICATION, DEPLOYMENT, SERVICE, NETWORK_POLICY)
LISTED = (*WATCHED, FQDN_POLICY, CILIUM_POLICY, LEASE)
PAUSE = 0.2
"""Seconds before a watch that ended is opened again."""


class Leak(NamedTuple):
    """A secret in the wrong place: a file of the stage's folder, the line, and what it is."""

    file: str
    line: int
    what: str


class Trail:
    """What the operators of a stage leave behind; its files are in `folder`."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.canaries = Canaries()
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._looks = 0
        folder.mkdir()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._watches = self._loop.create_task(self._watch_all())
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._watches.cancel)
        self._thread.join()

    def look_at(self, operator: Operator) -> None:
        """Write down what a running operator tells, and what the kernel tells of its processes."""
        if not operator.running:
            return
        self._looks += 1
        with contextlib.suppress(httpx.HTTPError):  # it hangs, or has no such endpoint
            self._write(f"metrics-{self._looks}", operator.metrics())
        for pid in operator.pids():
            for part in ("cmdline", "environ"):
                with contextlib.suppress(OSError):  # it ended meanwhile
                    text = Path(f"/proc/{pid}/{part}").read_bytes().replace(b"\0", b"\n").decode(errors="replace")
                    self._write(f"{part}-{pid}", text)

    def find_leaks(self, logs: set[Path], simulator: RecordingSimulator) -> list[Leak]:
        """Search all that was left behind so far."""
        self._list_once_more()
        self._write("ledger", "\n".join(map(json.dumps, simulator.control("GET", "ledger")["entries"])))
        self.canaries.add_jwk(json.loads(simulator.admin_jwk_file.read_text()))
        for what, value in simulator.read_grants():
            self.canaries.add_token(what, value)
        return [leak for path in sorted({*logs, *self._folder.iterdir()}) for leak in self._search(path)]

    def _search(self, path: Path) -> Iterator[Leak]:
        # Whoever runs the tests may have tokens of their own in the environment.
        by_shape = not path.name.startswith("environ")
        text = path.read_text(errors="replace")
        yield from (Leak(path.name, *find) for find in self.canaries.find(text, by_shape=by_shape))

    def _write(self, name: str, text: str) -> None:
        with (self._folder / name).open("a") as file:
            file.write(text + "\n")

    # What is in the cluster

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._watches)
        self._loop.close()

    async def _watch_all(self) -> None:
        async with httpx.AsyncClient(**find_server(self._kubeconfig), timeout=30) as http:
            await asyncio.gather(*(self._watch(http, kind) for kind in WATCHED))

    async def _watch(self, http: httpx.AsyncClient, kind: Kind) -> None:
        """Take in every version of every object; the API server may be away for a while, or not serve the kind."""
        while True:
            with contextlib.suppress(httpx.HTTPError, ValueError):
                async for text in _follow(http, kind):
                    self._take(kind, text)
            await asyncio.sleep(PAUSE)

    def _list_once_more(self) -> None:
        with httpx.Client(**find_server(self._kubeconfig), timeout=30) as http:
            for kind in LISTED:
                response = http.get(kind.path())
                if response.is_success:
                    self._take(kind, response.text)

    def _take(self, kind: Kind, text: str) -> None:
        """Write down a list or an event as it came: there are objects that Python's decoder can't take."""
        self._write(f"{kind.plural}.{kind.group or 'core'}", self._take_out_data(text) if kind == SECRET else text)

    def _take_out_data(self, text: str) -> str:
        body = json.loads(text)
        for item in body["items"] if "items" in body else [body["object"]]:
            for value in (item.pop("data", None) or {}).values():
                if jwk := find_jwk(base64.b64decode(value).decode(errors="replace")):
                    self.canaries.add_jwk(jwk)
        return json.dumps(body)


async def _follow(http: httpx.AsyncClient, kind: Kind) -> AsyncIterator[str]:
    """Give a list of all objects of a kind, and each event of what they become, until the watch ends."""
    response = (await http.get(kind.path())).raise_for_status()
    yield response.text
    query = {"watch": "true", "resourceVersion": read_list(response.content)["metadata"]["resourceVersion"]}
    async with http.stream("GET", kind.path(), params=query, timeout=httpx.Timeout(30, read=None)) as response:
        async for line in response.raise_for_status().aiter_lines():
            yield line
