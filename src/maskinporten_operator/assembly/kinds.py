"""The kinds that are managed, and the wait until the API server serves them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from maskinporten_operator.adapters.cluster.discovery import find_served
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.resources import (
    APPLICATION,
    FQDN_POLICY,
    GKE_FQDN_POLICY,
    MASKINPORTEN_CLIENT,
    Kind,
)
from maskinporten_operator.plan.children import OWNED_KINDS
from maskinporten_operator.plan.platform import check_backend
from maskinporten_operator.runtime.shutdown import cancel

if TYPE_CHECKING:
    from maskinporten_operator.adapters.cluster.api import ClusterApi
    from maskinporten_operator.config import Config

CRD_POLL_SECONDS = 5.0
log = structlog.get_logger()


def watched_kinds(config: Config) -> tuple[Kind, ...]:
    """Name the kinds that are managed."""
    return (MASKINPORTEN_CLIENT, APPLICATION) if config.applications else (MASKINPORTEN_CLIENT,)


async def wait_for_kinds(api: ClusterApi, config: Config, stopping: asyncio.Event) -> frozenset[Kind] | None:
    """Wait until our kinds are served, and what egress policies need; say what else is; None if a signal came first.

    kopf would be idle indefinitely without a word, and a backend that isn't there would cut Applications off.
    """
    looking = asyncio.create_task(_look_for_kinds(api, config))
    ending = asyncio.create_task(stopping.wait())
    await asyncio.wait({looking, ending}, return_when=asyncio.FIRST_COMPLETED)
    served = looking.result() if looking.done() else None
    await cancel(looking, ending)
    return served


async def find_kinds(api: ClusterApi, config: Config) -> frozenset[Kind]:
    """Find which of our kinds, and of those that Applications need, are served."""
    served = await find_served(api, (*watched_kinds(config), *OWNED_KINDS))
    return served - {GKE_FQDN_POLICY} if FQDN_POLICY in served else served


async def _look_for_kinds(api: ClusterApi, config: Config) -> frozenset[Kind]:
    logged = None
    while True:
        try:
            served = await find_kinds(api, config)
            message = find_lack(config, served)
            if message is None:
                return served
        except OperatorError as error:
            message = str(error)
        if message != logged:
            log.warning("waiting", message=message)
            logged = message
        await asyncio.sleep(CRD_POLL_SECONDS)


def find_lack(config: Config, served: frozenset[Kind]) -> str | None:
    """Say what the API server doesn't serve that is needed; None if nothing."""
    missing = [f"{kind.plural}.{kind.group}" for kind in watched_kinds(config) if kind not in served]
    if missing:
        return f"the API server doesn't serve {' and '.join(missing)}: a cluster admin must install the CRD"
    return check_backend(config.egress, served) if config.applications else None
