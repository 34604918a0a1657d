"""A token as a workload would get it, asked for by what the workload's Secret holds."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from maskinporten_operator.adapters.cluster.api import load_configuration
from maskinporten_operator.adapters.cluster.kubernetes_cluster import KubernetesCluster
from maskinporten_operator.adapters.digdir.exchanges import Recorder
from maskinporten_operator.adapters.digdir.http import open_http
from maskinporten_operator.adapters.digdir.metadata import is_address
from maskinporten_operator.adapters.digdir.token_requests import request_token
from maskinporten_operator.assembly.parts import open_cluster
from maskinporten_operator.model.errors import ForbiddenError
from maskinporten_operator.model.maskinportenclient import find_secret_name
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT, SECRET, Kind
from maskinporten_operator.model.status_hint import read_status
from maskinporten_operator.model.tokens import TokenRequest
from maskinporten_operator.plan.findings import check_clock
from maskinporten_operator.plan.remedies import describe_lack
from maskinporten_operator.plan.token_report import Holder, build_report, check_secret_values, describe_ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    import httpx

    from maskinporten_operator.adapters.cluster.api import ClusterApi
    from maskinporten_operator.adapters.digdir.exchanges import Exchange
    from maskinporten_operator.plan.findings import Check
    from maskinporten_operator.plan.secret import ObservedSecret
    from maskinporten_operator.plan.token_report import TokenReport

T = TypeVar("T")


class NoCredentialsError(Exception):
    """Nothing can be asked for; the text says why, and who can fix it."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to ask for: scopes, by default all that the Secret names, and what else a request may have."""

    scopes: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    consumer: str | None = None


class TokenReader:
    """Reads a workload's credentials, and asks for a token by them."""

    def __init__(
        self, api: ClusterApi, http: httpx.AsyncClient, recorder: Recorder, now: Callable[[], float] = time.time
    ) -> None:
        """`recorder` records what `http` is answered; `now` is the clock of assertions, in epoch seconds."""
        self._cluster = KubernetesCluster(api, lambda *_: None)
        self._http = http
        self._recorder = recorder
        self._now = now

    async def ask(self, namespace: str, name: str, wishes: Wishes) -> tuple[TokenReport, str]:
        """Ask once for what a MaskinportenClient's workload would; give the report, and the token, empty if refused.

        Raises:
            NoCredentialsError: There are no credentials to ask with, or they can't be read.
            OperatorError: The API server or Maskinporten has a fault.
        """
        body = await self._find_client(namespace, name)
        secret = await self._find_secret(namespace, body)
        holder, request = _build_request(namespace, name, body, secret, wishes)
        answer = await request_token(self._http, holder.server, request, self._now())
        exchange = self._recorder.exchanges[-1] if self._recorder.exchanges else None
        claims = exchange.read_claims() if exchange else {}
        return build_report(holder, request, answer, claims, _look_at_clock(exchange)), _find_token(exchange)

    async def _find_client(self, namespace: str, name: str) -> Mapping[str, Any]:
        body = await _read(self._cluster.find(MASKINPORTEN_CLIENT, namespace, name), MASKINPORTEN_CLIENT, namespace)
        if body is None:
            raise NoCredentialsError(
                f"there is no MaskinportenClient {name} in namespace {namespace}. An Application has one of its name "
                "while spec.maskinporten.enabled is true"
            )
        return body

    async def _find_secret(self, namespace: str, body: Mapping[str, Any]) -> ObservedSecret:
        status = read_status(body)
        name = find_secret_name(body) or status.secret_name
        if name is None:
            raise NoCredentialsError(f"the MaskinportenClient names no Secret. {describe_ready(status)}")
        secret = await _read(self._cluster.find_secret(namespace, name), SECRET, namespace)
        if secret is None:
            raise NoCredentialsError(f"there is no Secret {name} in namespace {namespace}. {describe_ready(status)}")
        return secret


async def _read(reading: Awaitable[T], kind: Kind, namespace: str) -> T:
    try:
        return await reading
    except ForbiddenError:
        raise NoCredentialsError(describe_lack("get", kind, namespace)) from None


def _build_request(
    namespace: str, name: str, body: Mapping[str, Any], secret: ObservedSecret, wishes: Wishes
) -> tuple[Holder, TokenRequest]:
    """Build the request that a workload would make, from what its Secret holds."""
    if wrong := check_secret_values(secret):
        raise NoCredentialsError(wrong)
    server, key, client_id = secret.server, secret.jwk, secret.client_id
    assert server
    assert key
    assert client_id
    if not is_address(server.token_endpoint):
        raise NoCredentialsError(f"MASKINPORTEN_TOKEN_ENDPOINT in Secret {secret.name} is no address")
    status = read_status(body)
    scopes = wishes.scopes or secret.scopes
    if not scopes:
        raise NoCredentialsError(f"the client has no scope that a token could be asked for. {describe_ready(status)}")
    holder = Holder(namespace, name, secret.name, status, server, secret.scopes)
    return holder, TokenRequest(client_id, key, scopes, wishes.resource, wishes.consumer)


def _look_at_clock(exchange: Exchange | None) -> Check | None:
    return check_clock(exchange.lead, exchange.seconds) if exchange and exchange.lead is not None else None


def _find_token(exchange: Exchange | None) -> str:
    token = exchange.document.get("access_token") if exchange and isinstance(exchange.document, dict) else None
    return token if isinstance(token, str) else ""


@asynccontextmanager
async def open_token_reader(ca_bundle: Path | None) -> AsyncIterator[TokenReader]:
    """Open a reader of the cluster that kubectl would use.

    Maskinporten's certificate is verified by the certificates in `ca_bundle`, if any, instead of the system's.

    Raises:
        ClusterUnknownError: No API server is configured.
    """
    async with AsyncExitStack() as stack:
        api = open_cluster(await load_configuration(), stack)
        recorder = Recorder()
        http = await stack.enter_async_context(open_http(ca_bundle, connections=1, observe=recorder.record))
        yield TokenReader(api, http, recorder)
