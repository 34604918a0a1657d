"""The adapters, opened as the configuration says."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from maskinporten_operator.adapters.clock import SystemClock, SystemRandomness, boottime
from maskinporten_operator.adapters.cluster.api import ClusterApi, load_configuration
from maskinporten_operator.adapters.cluster.leases import KubernetesLeases
from maskinporten_operator.adapters.cluster.traced_api import TracedApi
from maskinporten_operator.adapters.digdir.auth import JwtGrantAuth
from maskinporten_operator.adapters.digdir.calls import Calls
from maskinporten_operator.adapters.digdir.client_api import ClientApi
from maskinporten_operator.adapters.digdir.credentials import AdminCredentials, CertificateFiles, JwkFile, SignerSource
from maskinporten_operator.adapters.digdir.grant_index import DigdirGrantIndex
from maskinporten_operator.adapters.digdir.http import open_http
from maskinporten_operator.adapters.digdir.metadata import MaskinportenMetadata
from maskinporten_operator.adapters.digdir.registration_index import DigdirRegistrationIndex
from maskinporten_operator.adapters.digdir.scope_api import ScopeApi
from maskinporten_operator.adapters.digdir.scope_index import DigdirScopeIndex
from maskinporten_operator.adapters.digdir.token_requests import TokenRequests
from maskinporten_operator.adapters.digdir.traced_calls import TracedCalls
from maskinporten_operator.adapters.fence import OPEN, Fence
from maskinporten_operator.adapters.key_pool import ProcessKeyPool
from maskinporten_operator.assembly.followed_passes import open_tracer
from maskinporten_operator.model.signer_reference import find_provider
from maskinporten_operator.runtime.elector import Elector
from maskinporten_operator.runtime.metrics import Metrics
from maskinporten_operator.runtime.vitals import Vitals
from maskinporten_operator.runtime.workers import mark_alive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

    import httpx
    from kubernetes.aio.client import Configuration

    from maskinporten_operator.adapters.digdir.credentials import Source
    from maskinporten_operator.config import Config
    from maskinporten_operator.model.traces import Tracer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DigdirApis:
    """How the operator reaches DigDir and Maskinporten."""

    metadata: MaskinportenMetadata
    tokens: TokenRequests
    clients: ClientApi
    scopes: ScopeApi


@dataclass(frozen=True, slots=True)
class Parts:
    """What the operator reaches the world by."""

    api: ClusterApi
    registrations: DigdirRegistrationIndex
    scopes: DigdirScopeIndex
    grants: DigdirGrantIndex
    key_pool: ProcessKeyPool
    metadata: MaskinportenMetadata
    tokens: TokenRequests
    clients: ClientApi
    metrics: Metrics
    credentials: AdminCredentials
    elector: Elector | None
    fence: Fence
    vitals: Vitals
    tracer: Tracer | None


def open_cluster(
    configuration: Configuration, stack: AsyncExitStack, fence: Fence = OPEN, tracer: Tracer | None = None
) -> ClusterApi:
    """Open a way to the API server, closed by `stack`; every write passes `fence`, and `tracer` follows every call."""
    if tracer:
        api: ClusterApi = TracedApi(configuration, fence, mark_alive, tracer=tracer)
    else:
        api = ClusterApi(configuration, fence, mark_alive)
    stack.push_async_callback(api.close)
    return api


def read_credentials(config: Config) -> AdminCredentials:
    """Read the operator's own credentials, and say so if they end soon.

    Raises:
        CredentialsError: They can't be used.
    """
    credentials = AdminCredentials(config.admin_client_id, build_source(config))
    credentials.report_expiry()
    if config.admin_signer and (provider := find_provider(config.admin_signer)):
        log.info("the operator's own key is held by another, who signs", signer=provider.name)
    return credentials


async def open_digdir(
    config: Config,
    credentials: AdminCredentials,
    metrics: Metrics,
    stack: AsyncExitStack,
    fence: Fence = OPEN,
    build_calls: Callable[[httpx.AsyncClient, str, Callable[[str, str, float], None]], Calls] = Calls,
) -> DigdirApis:
    """Open the way to DigDir, closed by `stack`; every write passes `fence`, and `build_calls` builds what calls."""
    plain = await stack.enter_async_context(open_http(config.ca_bundle, connections=8))
    metadata = MaskinportenMetadata(plain, str(config.maskinporten_well_known_url))
    auth = JwtGrantAuth(plain, metadata, credentials, config.admin_scopes, observe=metrics.count_token_request)
    metrics.gauge(
        "token_age_seconds", "How old the operator's own token is; absent before the first.", lambda: auth.token_age
    )
    authorized = await stack.enter_async_context(
        open_http(config.ca_bundle, connections=config.workers, auth=auth, fence=fence)
    )

    def observe_call(operation: str, status: str, seconds: float) -> None:
        metrics.observe_call(operation, status, seconds)
        mark_alive()

    calls = build_calls(authorized, str(config.digdir_base_url), observe_call)
    return DigdirApis(metadata, TokenRequests(plain, metadata), ClientApi(calls), ScopeApi(calls))


async def open_parts(config: Config, stack: AsyncExitStack) -> Parts:
    """Build the adapters, each closed by `stack`.

    Raises:
        CredentialsError: The operator's own credentials can't be used.
        ClusterUnknownError: No API server is configured.
        TracingUnavailableError: Traces are asked for, and what exports them isn't installed.
    """
    metrics = Metrics()
    credentials = read_credentials(config)
    configuration = await load_configuration()
    elector = build_elector(config, configuration, stack) if config.leader_election else None
    fence = Fence(elector.time_left if elector else None)
    tracer = open_tracer(config, stack)
    build_calls = partial(TracedCalls, tracer=tracer) if tracer else Calls
    digdir = await open_digdir(config, credentials, metrics, stack, fence, build_calls)
    metrics.gauge(
        "admin_credential_expiry_timestamp_seconds",
        "When the operator's own credentials end, in seconds since 1970: the last date of the organisation's "
        "certificate, or the member `exp` of the JWK. Absent for a JWK without `exp`, since DigDir alone knows.",
        lambda: credentials.expires,
    )
    api = open_cluster(configuration, stack, fence, tracer)
    monotonic = SystemClock().monotonic
    registrations, scopes, grants = build_indexes(config, digdir, monotonic)
    key_pool = await stack.enter_async_context(ProcessKeyPool(config.key_pool_size))
    return Parts(
        api,
        registrations,
        scopes,
        grants,
        key_pool,
        digdir.metadata,
        digdir.tokens,
        digdir.clients,
        metrics,
        credentials,
        elector,
        fence,
        Vitals(monotonic),
        tracer,
    )


def build_indexes(
    config: Config,
    digdir: DigdirApis,
    monotonic: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> tuple[DigdirRegistrationIndex, DigdirScopeIndex, DigdirGrantIndex]:
    """Build what keeps DigDir's lists."""
    lag, cluster, max_age = config.list_lag.total_seconds(), config.cluster_name, config.grant_max_age.total_seconds()
    registrations = DigdirRegistrationIndex(digdir.clients, cluster=cluster, lag=lag, monotonic=monotonic, sleep=sleep)
    scopes = DigdirScopeIndex(digdir.scopes, cluster=cluster, lag=lag, monotonic=monotonic, sleep=sleep)
    grants = DigdirGrantIndex(digdir.scopes, scopes, max_age=max_age, monotonic=monotonic, sleep=sleep)
    return registrations, scopes, grants


def build_elector(config: Config, configuration: Configuration, stack: AsyncExitStack) -> Elector:
    """Build what contends for the Lease, with connections of its own: a busy operator must not lose it for that."""
    leases = KubernetesLeases(open_cluster(configuration, stack), str(config.lease_namespace), config.lease_name)
    identity = f"{os.environ.get('HOSTNAME') or socket.gethostname()}_{SystemRandomness().hex(8)}"
    return Elector(leases, identity, boottime, SystemClock().now)


def build_source(config: Config) -> Source:
    """Take from the configuration where the operator's own credentials are.

    Raises:
        CredentialsError: What signs for the operator can't be used.
    """
    if config.admin_signer:
        return SignerSource(config.admin_signer, config.admin_key_id, config.admin_cert_chain_file)
    if config.admin_jwk_file:
        return JwkFile(config.admin_jwk_file)
    assert config.admin_cert_chain_file  # the configuration has one way or the other
    assert config.admin_key_file
    return CertificateFiles(config.admin_cert_chain_file, config.admin_key_file)
