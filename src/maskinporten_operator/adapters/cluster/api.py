"""Plain calls to the API server: the generated typed client costs 30 MiB and loses the answer to a create."""

from __future__ import annotations

import asyncio
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from yaml import YAMLError

from maskinporten_operator.adapters.cluster.bodies import read_at_most, read_event, read_lines, read_object
from maskinporten_operator.adapters.cluster.kubernetes_package import (
    ConfigException,
    Configuration,
    list_kube_config_contexts,
    load_incluster_config,
    load_kube_config,
)
from maskinporten_operator.adapters.cluster.session import build_context
from maskinporten_operator.adapters.cluster.status_errors import translate_exception, translate_response
from maskinporten_operator.adapters.fence import OPEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from maskinporten_operator.adapters.fence import Fence

    Query = Sequence[tuple[str, str]]

APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"

AGENT = "maskinporten-operator"
OWN_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_NAMESPACE = "default"
MAX_QUOTED = 300
"""Characters of what the Kubernetes client says is wrong with a kubeconfig."""
UNUSABLE = (ConfigException, OSError, ValueError, YAMLError, TypeError, AttributeError, KeyError)
"""What the Kubernetes client raises for a kubeconfig that it can't use; the last three for one of another form."""
TIMEOUT = 10.0
MAX_WATCH_SECONDS = 300.0
CONNECTIONS = 100
BUFFER = 2**21
"""Bytes of an answer that are taken before anybody has read them: most of a page of a list."""
SILENCE = 35.0
"""Seconds without a line after which a watch counts as dead: longer than the API server keeps an answer open."""


class ClusterUnknownError(Exception):
    """Nothing says where the API server is."""


async def load_configuration() -> Configuration:
    """Find the API server: KUBECONFIG if it is set, else the pod's ServiceAccount, else the user's kubeconfig.

    Raises:
        ClusterUnknownError: None of these works.
    """
    configuration = Configuration()
    try:
        if _is_in_pod():
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except UNUSABLE as error:
        why = str(error)[:MAX_QUOTED] if isinstance(error, ConfigException) else type(error).__name__
        named = (
            f"KUBECONFIG={os.environ['KUBECONFIG']} can't be used" if "KUBECONFIG" in os.environ else "set KUBECONFIG"
        )
        raise ClusterUnknownError(f"no API server is configured ({why}): {named}") from None
    return configuration


def _is_in_pod() -> bool:
    return "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ


def find_namespace() -> str:
    """Find the namespace that kubectl would take: that of the kubeconfig's context, in a pod its own, or `default`."""
    try:
        if _is_in_pod():
            return OWN_NAMESPACE_FILE.read_text().strip()
        _, current = list_kube_config_contexts()  # type: ignore[no-untyped-call]  # the package has no types
        return str(current["context"].get("namespace") or DEFAULT_NAMESPACE)
    except UNUSABLE:
        return DEFAULT_NAMESPACE


class ClusterApi:
    """Requests with JSON in and out; every failure becomes an `OperatorError`."""

    def __init__(
        self, configuration: Configuration, fence: Fence = OPEN, observe: Callable[[], None] = lambda: None
    ) -> None:
        """Every write passes `fence`; `observe` is called for every answer."""
        self.configuration = configuration
        self._session: aiohttp.ClientSession | None = None
        self._fence = fence
        self._observe = observe

    async def close(self) -> None:
        """End the connections."""
        if self._session:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        query: Query = (),
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        """Send a request and give the answer's body, within the limits of `read_object`.

        Raises:
            StandbyError: It is a write, and another process may lead by now.
            OperatorError: It failed; `adapters.cluster.status_errors` says as what.
        """
        try:
            response = await self._send(method, path, query, body, content_type, accept, TIMEOUT)
            data = await response.read()
            self._observe()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise translate_exception(error) from None
        if not 200 <= response.status <= 299:
            raise translate_response(response.status, data, response.headers)
        try:
            return read_object(data)
        except ValueError as error:  # a gateway's page
            raise translate_exception(error) from None

    async def request_page(self, path: str, query: Query, accept: str, max_bytes: float) -> bytes | None:
        """Send a request for a page of a list, and give it as it was sent; None if it has more than `max_bytes` bytes.

        Raises:
            OperatorError: It failed.
        """
        try:
            response = await self._send("GET", path, query, None, JSON, accept, TIMEOUT)
            if not 200 <= response.status <= 299:
                raise translate_response(response.status, await response.read(), response.headers)
            try:
                data = await read_at_most(response.content, max_bytes)
            finally:
                response.close()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise translate_exception(error) from None
        self._observe()
        return data

    async def stream(
        self, path: str, query: Query, accept: str, on_begin: Callable[[], None] = lambda: None
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Send a watch and give its events until the server ends it; `on_begin` is called when it was granted.

        Raises:
            OperatorError: It failed, or was silent for too long.
        """
        try:
            response = await self._send("GET", path, query, None, JSON, accept, MAX_WATCH_SECONDS)
            if not 200 <= response.status <= 299:
                raise translate_response(response.status, await response.read(), response.headers)
            on_begin()
            lines = read_lines(response.content)
            try:
                while True:
                    async with asyncio.timeout(SILENCE):
                        line = await anext(lines, None)
                    if line is None:
                        return
                    yield read_event(line)
            finally:
                response.close()
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise translate_exception(error) from None

    async def _send(
        self, method: str, path: str, query: Query, body: Any, content_type: str, accept: str, seconds: float
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "User-Agent": AGENT}
        if token := await self.configuration.get_api_key_with_prefix("BearerToken"):
            headers["Authorization"] = token
        data = None
        if body is not None:
            headers["Content-Type"], data = content_type, msgspec.json.encode(body)
        url = f"{self.configuration.host}{path}"
        with self._fence.hold(method) as left:
            timeout = aiohttp.ClientTimeout(min(seconds, left), ceil_threshold=math.inf)
            return await self._open_session().request(
                method, f"{url}?{urlencode(query)}" if query else url, data=data, headers=headers, timeout=timeout
            )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:  # no sooner, since it takes a running event loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=build_context(self.configuration)),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=BUFFER,
                proxy=self.configuration.proxy,
                trust_env=False,  # a proxy for DigDir isn't one for the API server
            )
        return self._session
