"""`check --granted`: what DigDir has of the scopes of manifests. Nothing is written."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from maskinporten_operator.adapters.digdir.grant_index import DigdirGrantIndex
from maskinporten_operator.adapters.digdir.scope_index import DigdirScopeIndex
from maskinporten_operator.assembly.parameters import build_registration_settings
from maskinporten_operator.assembly.parts import open_digdir, read_credentials
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import RejectedError, TransientError
from maskinporten_operator.plan.granted_findings import (
    KnownScopes,
    find_granted_findings,
    find_missing,
    find_scopes,
    list_exposed,
)
from maskinporten_operator.runtime.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from maskinporten_operator.adapters.digdir.client_api import ClientApi
    from maskinporten_operator.adapters.digdir.scope_api import ScopeApi
    from maskinporten_operator.assembly.manifest_check import CheckReport
    from maskinporten_operator.config import Config
    from maskinporten_operator.plan.granted_findings import ManifestScopes
    from maskinporten_operator.plan.registration_settings import RegistrationSettings

MAX_LOOKS = 50
"""Scopes that are looked at alone, to tell what doesn't exist from what isn't granted."""


async def check_granted(report: CheckReport, config: Config, namespace: str) -> None:
    """Add to a report what DigDir has to say of the manifests' scopes, asked by the operator's own credentials.

    Args:
        report: What `check_files` found.
        config: The operator's settings.
        namespace: Where manifests are applied that don't say.

    Raises:
        CredentialsError: They can't be used.
        OperatorError: DigDir can't be read.
    """
    settings = build_registration_settings(config)
    found = [
        (name, document, scopes)
        for name, document, body in report.parsable
        if (scopes := find_scopes(body, namespace, settings))
    ]
    if not found:
        return
    manifests = [scopes for _, _, scopes in found]
    async with AsyncExitStack() as stack:
        digdir = await open_digdir(config, read_credentials(config), Metrics(), stack)
        known = await look_at_scopes(digdir.clients, digdir.scopes, manifests, settings)
    exposed = list_exposed(manifests, settings.scope_prefix, enabled_only=True)
    for name, document, scopes in found:
        report.add(name, document, find_granted_findings(scopes, known, exposed, settings))
    report.sort()


async def look_at_scopes(
    clients: ClientApi, scopes: ScopeApi, manifests: Collection[ManifestScopes], settings: RegistrationSettings
) -> KnownScopes:
    """Read what DigDir has of the scopes of manifests.

    Raises:
        OperatorError: Something can't be read.
    """
    own = DigdirScopeIndex(scopes, cluster=settings.cluster, lag=0.0, monotonic=time.monotonic)
    grants = DigdirGrantIndex(scopes, own, max_age=float("inf"), monotonic=time.monotonic)
    granted = await grants.find({name for one in manifests for name in one.consumed}, -float("inf"))
    if granted.unread:
        raise TransientError(
            Reason.DIGDIR_UNAVAILABLE, f"DigDir's list of {', '.join(granted.unread)} can't be read: see the log above"
        )
    prefix = settings.scope_prefix
    missing = find_missing(manifests, granted, list_exposed(manifests, prefix, enabled_only=True))
    named = {*missing, *list_exposed(manifests, prefix)}
    return KnownScopes(
        granted=granted,
        absent=await _find_absent(scopes, missing[:MAX_LOOKS]),
        unexamined=frozenset(missing[MAX_LOOKS:]),
        own={name: scope for name in named if (scope := own.find(name))},
        prefixes=await scopes.list_prefixes() if any(one.scopes.exposes for one in manifests) else (),
        issuers=await _find_issuers(own, (source for one in manifests for source in one.sources)),
        registered=await _find_registered(clients, {one.ownership for one in manifests}) if missing else {},
    )


async def _find_absent(scopes: ScopeApi, names: Iterable[str]) -> frozenset[str]:
    """Find scopes that don't exist; one that may not be read is another organisation's."""
    absent = set()
    for name in names:
        try:
            if await scopes.find(name) is None:
                absent.add(name)
        except RejectedError:
            continue
    return frozenset(absent)


async def _find_issuers(own: DigdirScopeIndex, sources: Iterable[str]) -> Mapping[str, str]:
    found = {source: await own.find_issuer(source) for source in dict.fromkeys(sources)}
    return {source: issuer for source, issuer in found.items() if issuer}


async def _find_registered(clients: ClientApi, ownerships: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """Find the scopes of the resources' clients: DigDir took them, whatever its lists tell."""
    listed = await clients.list_clients()
    return {one.description: one.scopes for one in listed if one.usable and one.description in ownerships}
