"""Seeing resources change, in threads of their own: asking again and again would distort what is measured."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import httpx

from tools.kube import CLIENTS, KubeClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAUSE = 0.2


class Following:
    """The resources of a namespace as they are and as they change, each with the moment when it was seen."""

    def __init__(self, kubeconfig: Path, namespace: str, *collections: str) -> None:
        """Begin to watch; what is there already is seen too. `collections` are paths, by default of our clients."""
        self._kubeconfig = kubeconfig
        self._seen: queue.SimpleQueue[tuple[float, Any]] = queue.SimpleQueue()
        self._ended = threading.Event()
        for collection in collections or (CLIENTS,):
            path = collection.format(namespace=namespace)
            threading.Thread(target=self._run, args=(path,), name=f"follow {path}", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A thread waits for a line that may never come; it ends with the next one, or with this process.
        self._ended.set()

    def until(self, deadline: float) -> Iterator[tuple[float, Any]]:
        """Give what is seen, with its moment, until `deadline`; both are monotonic seconds."""
        while True:
            try:
                yield self._seen.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                return

    def _run(self, path: str) -> None:
        while not self._ended.is_set():
            try:
                with KubeClient(self._kubeconfig, connections=1) as kube:
                    for resource in kube.watch(path):
                        if self._ended.is_set():
                            return
                        self._seen.put((time.monotonic(), resource))
            except (httpx.HTTPError, OSError, ValueError, KeyError):
                self._ended.wait(PAUSE)  # an API server that went away; what is missed is seen in the next list
